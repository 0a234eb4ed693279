"""A small market with everything in it that is right and could be taken for wrong.

BTCUSDT in 15m, 1h and 1d from 2024-01-30 to 2024-02-03: listed at 06:00 of the first day, an
outage with cut close_times, candles without trades, a restated hour, an absence that was
withdrawn in part, refused rows whose candles came by another way, and a month that went cold.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from candlevault.quality import months
from candlevault.quality.sql_tests import Outcome, project_tests, run
from candlevault.storage import freezing
from candlevault.storage.database import Connect, connector
from candlevault.storage.series_registry import StoredSeries
from candlevault.timeframe import from_ms
from candlevault.timeframe import parse as timeframe
from candlevault.windows import Window
from tests.support import candles as make
from tests.support.candles import ms, window
from tests.support.postgres import PostgresServer

WINDOW = window("2024-01-30", "2024-02-03")
VENUE_TIME = ms("2024-02-03T00:01")
OUTAGE = {"15m": window("2024-01-31T10:30", "2024-01-31T13:00"),
          "1h": window("2024-01-31T11:00", "2024-01-31T13:00")}  # fmt: skip
# One candle is cut off by the outage, one by an hour without trades.
CUT_OFF = (ms("2024-01-31T10:20:12.345"), ms("2024-02-01T02:50:00.500"))
# The first quarter of an hour repeats a price that nobody paid in that hour.
QUIET = {ms("2024-02-01T05:00")} | {ms(f"2024-02-01T03:{m}") for m in ("00", "15", "30", "45")}
RESTATED = ms("2024-02-01T08:15")
HALVES = (window("2024-01-30", "2024-02-01"), window("2024-02-01", "2024-02-03"))


@dataclass(frozen=True)
class Market:
    """The stored series by timeframe, and how to reach them."""

    connect: Connect
    series: dict[str, StoredSeries]
    window: Window
    venue_time_ms: int

    def ids(self) -> dict[str, int]:
        """The ids of the series, as planted statements name them."""
        names = {"m15": "15m", "h1": "1h", "d1": "1d"}
        return {name: self.series[code].series_id for name, code in names.items()}

    def plant(self, statements: str) -> None:
        """Run SQL statements with `;` between them; each must touch something."""
        with self.connect() as connection:
            for statement in statements.split(";"):
                touched = connection.execute(statement, self.ids()).rowcount
                assert touched != 0, f"planted nothing: {statement}"

    def outcomes(self) -> list[tuple[str, Outcome]]:
        """What every SQL test says of every series: (timeframe, outcome)."""
        with self.connect() as connection:
            return [
                (code, outcome)
                for code, stored in self.series.items()
                for outcome in run(
                    connection,
                    project_tests(),
                    stored.series_id,
                    self.window,
                    from_ms(self.venue_time_ms),
                )
            ]


def _quarters() -> list[make.Row]:
    """The 15m candles as they are today."""
    made = make.walk(timeframe("15m"), window("2024-01-30T06:00", "2024-02-03"))
    last = Decimal(0)
    for i, candle in enumerate(made):
        if candle["open_time"] in QUIET:
            made[i] = make.quiet(candle, last)
        last = made[i]["close"]
    return [candle for candle in made if not OUTAGE["15m"].contains(candle["open_time"])]


def _as_first_told(today: list[make.Row]) -> list[make.Row]:
    """The candles before the venue restated one of them."""
    return [c | {"volume": c["volume"] + 5} if c["open_time"] == RESTATED else c for c in today]


def _candles(quarters: list[make.Row], code: str) -> list[make.Row]:
    made = quarters if code == "15m" else make.resample(quarters, timeframe(code))
    step = timeframe(code).step_ms
    for candle in made:
        for moment in CUT_OFF if code != "1d" else ():
            if candle["open_time"] <= moment < candle["open_time"] + step:
                candle["close_time"] = moment
    return made


def _within(made: list[make.Row], span: Window) -> list[make.Row]:
    return [candle for candle in made if span.contains(candle["open_time"])]


def _load(connect: Connect, code: str) -> StoredSeries:
    series = make.series(code)
    today = _candles(_quarters(), code)
    before = _candles(_as_first_told(_quarters()), code)
    absences = []
    if code != "1d":
        step = timeframe(code).step_ms
        outage = OUTAGE[code]
        # First the candle after the outage was held to be absent, too.
        late = Window(outage.end_ms, outage.end_ms + step)
        absences = [
            make.absence("2024-01-30", "2024-01-30T06:00", "before_listing"),
            make.absence(f"{outage.start:%FT%T}", f"{late.end:%FT%T}"),
        ]
        early = [c for c in _within(before, HALVES[0]) if not late.contains(c["open_time"])]
        make.store(connect, series, early, HALVES[0], absences=absences)
        make.store(connect, series, _within(before, late), late, provider="binance_rest")
    else:
        make.store(connect, series, _within(before, HALVES[0]), HALVES[0])
    refused = [
        make.rejected(series, ms("2024-02-01T08:28:14.789"), "open_time_on_grid"),
        make.rejected(series, ms("2024-02-01"), "archive_disagrees_with_rest"),
    ]
    make.store(connect, series, _within(before, HALVES[1]), HALVES[1], refused=refused)
    stored, restated = make.store(
        connect, series, _within(today, HALVES[1]), HALVES[1], reason="correction"
    )
    assert restated.changed == 1
    with connect() as connection:
        months.record(connection, stored, months.profile(connection, stored, WINDOW))
    return stored


@pytest.fixture(scope="session")
def loaded_market(
    postgres_server: PostgresServer, market_template: str, tmp_path_factory
) -> Iterator[tuple[str, dict[str, StoredSeries], Path]]:
    """The name of a database that holds the market, its series by timeframe, its cold tier."""
    cold: Path = tmp_path_factory.mktemp("cold")
    with postgres_server.database(market_template) as url:
        connect = connector(url)
        # Only while it is loaded: the fixture stays for all files, which have a tier of theirs.
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CANDLEVAULT_COLD_URL", str(cold))
            series = {code: _load(connect, code) for code in ("15m", "1h", "1d")}
            assert freezing.freeze(connect, series["15m"], date(2024, 1, 1)) == 2 * 96 - 24 - 10
        yield url.rsplit("/", 1)[1], series, cold


@pytest.fixture
def market(postgres_server: PostgresServer, loaded_market, monkeypatch) -> Iterator[Market]:
    """A copy of the market for one test, to plant defects in."""
    name, series, cold = loaded_market
    monkeypatch.setenv("CANDLEVAULT_COLD_URL", str(cold))
    with postgres_server.database(name) as url:
        yield Market(connector(url), series, WINDOW, VENUE_TIME)
