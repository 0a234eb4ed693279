"""A planted defect for every expectation of `incoming_batch`: a bad row says why, all others pass.

All defects lie in one batch, each in a row of its own between good rows, and are judged
together the way a load does it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

import pytest

from candlevault.quality import suites
from candlevault.quality.judge import Judged, judge
from candlevault.timeframe import parse as timeframe
from tests.support import candles as make
from tests.support.candles import ms, window

HOUR = timeframe("1h")
SERIES = make.series("1h")
WINDOW = window("2024-02-01", "2024-02-10")
CLOSED_BEFORE = ms("2024-02-09")
SOURCES = [make.fetch(SERIES), make.fetch(SERIES, symbol="ETHUSDT"),
           make.fetch(SERIES, timeframe="4h")]  # fmt: skip
NULL = None


@dataclass(frozen=True)
class Planted:
    """A change of a good row that breaks `name`, and what else it cannot but break."""

    name: str
    changes: dict[str, object]
    trips: frozenset[str] = field(default=frozenset())

    def __str__(self) -> str:
        return f"{self.name}: {', '.join(self.changes)}"


def planted(name: str, *trips: str, **changes: object) -> Planted:
    return Planted(name, changes, frozenset(trips))


# A good row: low 99.5, open 100, close 101, high 102, volume 10.25 of which 4.125 bought.
DEFECTS = (
    planted("open_time_present", "close_time_present", open_time=NULL),
    planted("open_present", open=NULL),
    planted("high_present", high=NULL),
    planted("low_present", low=NULL),
    planted("close_present", close=NULL),
    planted("volume_present", volume=NULL),
    planted("quote_volume_present", quote_volume=NULL),
    planted("taker_base_present", taker_buy_base_volume=NULL),
    planted("taker_quote_present", taker_buy_quote_volume=NULL),
    planted("trades_count_present", trades_count=NULL),
    planted("close_time_present", close_time=NULL),
    planted("low_positive", low=0),
    planted("low_positive", low=Decimal("-0.00000001")),
    planted("high_storable", high=Decimal("999999999999.99999999")),
    planted("high_at_least_low", "high_at_least_open", "high_at_least_close", high=99),
    planted("high_at_least_low", "low_at_most_open", "low_at_most_close", low=103),
    planted("high_at_least_open", open=Decimal("102.00000001")),
    planted("high_at_least_close", close=Decimal("102.00000001")),
    planted("low_at_most_open", open=Decimal("99.49999999")),
    planted("low_at_most_close", close=Decimal("99.49999999")),
    planted("volume_not_negative", "taker_base_within_volume", volume=-1),
    planted("quote_volume_not_negative", "taker_quote_within_volume", quote_volume=-1),
    planted("taker_base_not_negative", taker_buy_base_volume=Decimal("-0.00000001")),
    planted("taker_quote_not_negative", taker_buy_quote_volume=-1),
    planted("taker_base_within_volume", taker_buy_base_volume=Decimal("10.25000001")),
    planted("taker_quote_within_volume", taker_buy_quote_volume=Decimal("1030.50000001")),
    planted("trades_countable", trades_count=-1),
    planted("trades_countable", trades_count=2**31),
    planted("open_time_on_grid", open_time=ms("2024-02-08T10:28:14.789"),
            close_time=ms("2024-02-08T11:28:14.788")),
    planted("open_time_on_grid", open_time=ms("2024-02-08T12:00") + 1,
            close_time=ms("2024-02-08T13:00") - 1),
    planted("open_time_in_window", open_time=ms("2024-01-31T23:00"),
            close_time=ms("2024-02-01") - 1),
    planted("closed", open_time=ms("2024-02-09"), close_time=ms("2024-02-09T01:00") - 1),
    planted("close_time_inside", close_time=ms("2024-02-09")),
    planted("close_time_inside", close_time=ms("2024-02-01") - 1),
    planted("right_symbol", source=1),
    planted("right_timeframe", source=2),
    planted("open_time_unique", open_time=ms("2024-02-08T14:00"), source=0, trades_count=8,
            close_time=ms("2024-02-08T15:00") - 1),
    planted("open_time_unique", open_time=ms("2024-02-08T14:00"), source=0, trades_count=9,
            close_time=ms("2024-02-08T15:00") - 1),
)  # fmt: skip


def _rows() -> list[make.Row]:
    """Defects at even hours, good candles at odd ones and to the end."""
    times = iter(range(WINDOW.start_ms, WINDOW.end_ms, HOUR.step_ms))
    made = []
    for defect in DEFECTS:
        made.append(make.row(HOUR, next(times)) | defect.changes)
        made.append(make.row(HOUR, next(times)))
    return made


@pytest.fixture(scope="module")
def judged() -> Judged:
    return judge(make.table(_rows()), SOURCES, SERIES, WINDOW, CLOSED_BEFORE)


@pytest.mark.parametrize("index", range(len(DEFECTS)), ids=[str(d) for d in DEFECTS])
def test_planted_row_is_rejected_for_its_reason_and_declared_neighbours_only(judged, index):
    defect, row = DEFECTS[index], _rows()[2 * index]
    values = make.table([row]).to_pylist()[0]
    source = values.pop("source")
    as_it_came = {name: str(value) for name, value in values.items()}
    [said] = [r for r in judged.rejected if r.row == as_it_came]
    assert set(said.reasons) == {defect.name} | defect.trips
    assert said.open_time_ms == row["open_time"]
    assert said.url == SOURCES[source].url


def test_good_rows_between_planted_ones_are_accepted_unchanged(judged):
    good = make.table(_rows()[1::2])
    assert judged.accepted.drop_columns("source").equals(good.drop_columns("source"))
    assert len(judged.rejected) == len(DEFECTS)


def test_every_expectation_has_a_planted_defect():
    assert {defect.name for defect in DEFECTS} == set(suites.suite("incoming_batch").expectations)


def test_every_declared_neighbour_is_tripped_by_a_planted_defect():
    tripped = {name: set() for name in suites.suite("incoming_batch").expectations}
    for defect in DEFECTS:
        tripped[defect.name] |= defect.trips
    declared = suites.suite("incoming_batch").neighbours
    assert tripped == {name: set(others) for name, others in declared.items()}
