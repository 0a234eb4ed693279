"""Irregular real candles, and by which check each kind of them is caught."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pytest

from candlevault import candles
from candlevault.errors import CheckFailed
from candlevault.quality import rollups
from candlevault.quality.check import check
from candlevault.quality.judge import judge
from candlevault.series import parse
from candlevault.timeframe import parse as timeframe
from candlevault.windows import Window
from tests.quality import real_candles as real
from tests.support import candles as make
from tests.support.candles import ms, window

HOUR, DAY = timeframe("1h"), timeframe("1d")


def judged(table: pa.Table, code: str, span: Window | None = None):
    times = candles.open_times(table)
    frame, series = timeframe(code), make.series(code)
    span = span or Window(int(times.min()), int(times.max()) + frame.step_ms)
    return judge(table, [make.fetch(series)], series, span, span.end_ms)


def cut(shared_data, symbol: str, code: str, span: Window) -> pa.Table:
    """The real candles of a window."""
    path = shared_data / "klines" / "spot" / symbol / f"{code}.csv.gz"
    return candles.within(real.read(path, timeframe(code)), span.start_ms, span.end_ms)


def put(connect, symbol: str, code: str, table: pa.Table, absences=()):
    """Publish candles of a symbol; returns the series."""
    stored = make.register(connect, parse("binance", "spot", symbol, code))
    real.put(connect, stored, table, absences)
    return stored


def replaced(table: pa.Table, rows: list[make.Row]) -> pa.Table:
    """The table with other rows at their open times."""
    times = {row["open_time"] for row in rows}
    kept = [row for row in table.to_pylist() if row["open_time"] not in times]
    return make.table(sorted([*kept, *rows], key=lambda row: row["open_time"]))


def held(connect) -> list[tuple[str, str, str]]:
    """Day, column and state of every discrepancy of daily candles."""
    with connect() as connection:
        rows = connection.execute(
            "SELECT to_char(d.open_time, 'YYYY-MM-DD'), d.field, d.state"
            " FROM market.discrepancies d JOIN market.series_names n USING (series_id)"
            " WHERE n.timeframe = '1d' ORDER BY 1, 2"
        ).fetchall()
    return [tuple(row) for row in rows]


# -- opened off the grid after an outage -----------------------------------------------------


def test_hours_that_opened_off_the_grid_are_refused_in_words_and_only_those(shared_data):
    rows = [
        make.row(
            HOUR,
            ms(line["timestamp"]),
            **{name: Decimal(line[name]) for name in real.TOLD},
            quote_volume=Decimal(line["quote_av"]),
            taker_buy_base_volume=Decimal(line["tb_base_av"]),
            taker_buy_quote_volume=Decimal(line["tb_quote_av"]),
            trades_count=int(float(line["trades"])),
            close_time=int(float(line["close_time"])),
        )
        for line in real.irregular(shared_data, "BTCUSDT_1h_2018-02_misaligned.csv")
    ]
    outcome = judged(make.table(rows), "1h", window("2018-02-07", "2018-02-14"))
    assert len(outcome.rejected) == 43
    assert {row.reasons for row in outcome.rejected} == {("open_time_on_grid",)}
    assert {row.open_time_ms % HOUR.step_ms for row in outcome.rejected} == {28 * 60_000 + 14_789}
    assert outcome.accepted.num_rows == len(rows) - 43


# -- the same row twice ----------------------------------------------------------------------


def test_row_that_two_downloads_both_brought_is_accepted_once_and_told(shared_data):
    lines = real.irregular(shared_data, "BTCUSDT_5m_duplicate_row.csv")
    rows = [real.of_prices(line, timeframe("5m")) for line in lines]
    opened = sorted({row["open_time"] for row in rows})
    assert len(opened) == len(rows) - 1
    outcome = judged(make.table(rows), "5m")
    assert candles.open_times(outcome.accepted).tolist() == opened
    assert outcome.rejected == []
    assert outcome.repeated == (ms("2020-03-08T10:40"),)


# -- restated by the venue -------------------------------------------------------------------


def test_hours_that_differ_between_two_copies_are_rejected_from_both(shared_data):
    copies: dict[str, list[make.Row]] = {}
    for line in real.irregular(shared_data, "restated_candles_1h.csv"):
        if line["symbol"] == "BTCUSDT" and line["open"]:
            copies.setdefault(line["open_time"], []).append(real.of_prices(line, HOUR))
    rows = [row for versions in copies.values() for row in versions]
    differing = {
        int(time)
        for time, versions in copies.items()
        if len({make.table([row]).to_pylist()[0].__repr__() for row in versions}) > 1
    }
    assert differing
    outcome = judged(make.table(rows), "1h")
    assert {row.reasons for row in outcome.rejected} == {("open_time_unique",)}
    assert {row.open_time_ms for row in outcome.rejected} == differing


def test_hours_that_were_restated_break_the_law_until_both_sides_are_new(connect, shared_data):
    """LUNAUSDT 1d is a copy with old values; its hours were restated later."""
    span = window("2022-03-06", "2022-03-12")
    final = cut(shared_data, "LUNAUSDT", "1h", span)
    earlier = real.restated(shared_data)[parse("binance", "spot", "LUNAUSDT", "1h")]
    rows = [row for row in earlier.to_pylist() if span.contains(row["open_time"])]
    stored = put(connect, "LUNAUSDT", "1h", replaced(final, rows))
    put(connect, "LUNAUSDT", "1d", cut(shared_data, "LUNAUSDT", "1d", span))
    assert rollups.examine(connect, stored, span).open == 0
    put(connect, "LUNAUSDT", "1h", final)
    report = rollups.examine(connect, stored, span)
    assert (report.compared["1d = 1h"], report.open, report.explained) == (6, 0, 3)
    assert held(connect) == [
        (day, "volume", "explained") for day in ("2022-03-07", "2022-03-08", "2022-03-10")
    ]


# -- stored while it was forming -------------------------------------------------------------


@pytest.fixture
def frozen(shared_data) -> tuple[list[make.Row], list[make.Row]]:
    """Thirteen hours of MATICUSDT as a downloader left them, and as they should be."""
    versions = []
    for kind in ("frozen", "final"):
        rows = []
        for line in real.irregular(shared_data, "MATICUSDT_1h_frozen_partial_candles.csv"):
            values = {name: line[f"{kind}_{name}"] for name in real.TOLD}
            rows.append(real.of_prices(values | {"open_time": line["open_time"]}, HOUR))
        versions.append(rows)
    return versions[0], versions[1]


def test_partial_candle_that_froze_is_rejected_once_the_final_one_is_in_the_batch(frozen):
    partial, final = frozen
    outcome = judged(make.table(partial + final), "1h")
    assert outcome.accepted.num_rows == 0
    assert len(outcome.rejected) == 2 * len(final) == 26


def test_partial_candles_that_froze_break_the_law_on_exactly_their_days(
    connect, shared_data, frozen
):
    span = window("2022-03-01", "2022-07-01")
    final = cut(shared_data, "MATICUSDT", "1h", span)
    put(connect, "MATICUSDT", "1d", cut(shared_data, "MATICUSDT", "1d", span))
    stored = put(connect, "MATICUSDT", "1h", replaced(final, frozen[0]))
    report = rollups.examine(connect, stored, span)
    days = sorted({f"{DAY.floor(row['open_time'])}" for row in frozen[0]})
    volumes = [day for day, name, _ in held(connect) if name == "volume"]
    assert [f"{ms(day)}" for day in volumes] == days
    assert len(days) == 8
    assert (report.compared, report.open) == ({"1d = 1h": 122}, len(held(connect)))
    # Fetching them again repairs all of it.
    put(connect, "MATICUSDT", "1h", final)
    assert rollups.examine(connect, stored, span).settled == report.open
    assert {state for _, _, state in held(connect)} == {"settled"}


# -- invented by a third party ---------------------------------------------------------------


@pytest.fixture
def invented(shared_data) -> list[make.Row]:
    """Hours of two days in which a third party has filled the outages by interpolation.

    Their prices have passed through floating point and are rounded to what can be stored.
    """
    rows = []
    for line in real.irregular(shared_data, "BTCUSDT_1h_third_party_interpolated.csv"):
        told = {name: f"{Decimal(line[name.capitalize()]):.8f}" for name in real.TOLD}
        opened = {"open_time": str(ms(line["DateTime"]))}
        rows.append(real.of_prices(told | opened, HOUR))
    return rows


OUTAGES = [ms("2021-02-11T04:00"), ms("2023-03-24T13:00")]
CUT_OFF = [ms("2021-02-11T03:00"), ms("2023-03-24T12:00")]


def two_days(shared_data, code: str) -> pa.Table:
    days = [window("2021-02-11", "2021-02-12"), window("2023-03-24", "2023-03-25")]
    return candles.concat([cut(shared_data, "BTCUSDT", code, day) for day in days])


def test_interpolated_hours_differ_from_the_real_ones_or_lie_in_known_absences(
    shared_data, invented
):
    table = two_days(shared_data, "1h")
    real_hours = {row["open_time"]: row for row in table.to_pylist()}
    given = {row["open_time"]: row for row in make.table(invented).to_pylist()}
    assert sorted(given.keys() - real_hours.keys()) == OUTAGES
    differing = [
        time
        for time, row in real_hours.items()
        if any(row[name] != given[time][name] for name in real.TOLD)
    ]
    assert differing == CUT_OFF
    assert {real_hours[time]["volume"] for time in CUT_OFF} == {0}


def test_interpolated_hours_break_the_law_of_their_days(connect, shared_data, invented):
    put(connect, "BTCUSDT", "1d", two_days(shared_data, "1d"))
    stored = put(connect, "BTCUSDT", "1h", make.table(invented))
    report = rollups.examine(connect, stored, window("2021-02-11", "2023-03-25"))
    assert report.compared["1d = 1h"] == 2
    assert [row[:2] for row in held(connect)] == [
        ("2021-02-11", "volume"),
        ("2023-03-24", "volume"),
    ]


@pytest.mark.parametrize("outage", OUTAGES)
def test_interpolated_hour_slipped_into_an_outage_fails_the_check(
    connect, shared_data, invented, outage
):
    span = Window(DAY.floor(outage), DAY.floor(outage) + DAY.step_ms)
    table = cut(shared_data, "BTCUSDT", "1h", span)
    stored = put(connect, "BTCUSDT", "1h", table, real.absences(table, HOUR))
    row = next(row for row in invented if row["open_time"] == outage)
    with connect() as connection:
        connection.execute(
            "INSERT INTO market.candles_1h SELECT series_id, to_timestamp(%s), %s, %s, %s, %s, %s,"
            " 0, 0, 0, 0, NULL, fetch_id, revision FROM market.candles_1h LIMIT 1",
            (outage // 1000, *(row[name] for name in real.TOLD)),
        )
    report = check(connect, stored, span, span.end_ms + 1)
    assert "assert_no_candle_in_known_absence" in {found.check for found in report.failures}
    with pytest.raises(CheckFailed, match="assert_no_candle_in_known_absence: 1 "):
        report.raise_on_failure()
