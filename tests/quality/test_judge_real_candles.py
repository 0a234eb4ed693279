"""Real Binance candles pass the judge, and what is irregular among them is told apart."""

from __future__ import annotations

import csv
import gzip
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from candlevault import candles
from candlevault.providers import binance_rows
from candlevault.quality.judge import judge
from candlevault.timeframe import Timeframe
from candlevault.timeframe import parse as timeframe
from candlevault.windows import Window
from tests.support import candles as make
from tests.support.candles import ms, window

HOUR = timeframe("1h")


def klines(file: Path, frame: Timeframe) -> pa.Table:
    """A shared candle file through the archive's parser; columns that it lacks are 0."""
    lines = []
    with gzip.open(file, "rt", encoding="ascii", newline="") as text:
        for row in list(csv.reader(text))[1:]:
            row[6] = row[6] or str(int(row[0]) + frame.step_ms - 1)
            lines.append(",".join([*(value or "0" for value in row), "0"]))
    return binance_rows.from_csv("\n".join([*lines, ""]).encode())


def judged(table: pa.Table, code: str, span: Window | None = None):
    times = candles.open_times(table)
    frame, series = timeframe(code), make.series(code)
    span = span or Window(int(times.min()), int(times.max()) + frame.step_ms)
    return judge(table, [make.fetch(series)], series, span, span.end_ms)


@pytest.fixture
def irregular(shared_data):
    """Reads a file of the irregular ones as dicts."""

    def read(name: str) -> list[dict[str, str]]:
        with (shared_data / "irregular" / name).open(encoding="utf-8", newline="") as text:
            return list(csv.DictReader(text))

    return read


@pytest.mark.parametrize(
    ("name", "code", "rows"),
    [("1h", "1h", 50_368), ("1m_2023-03-16_2023-05-01", "1m", 66_087)],
)
def test_years_of_real_candles_are_accepted_to_the_last_row(shared_data, name, code, rows):
    file = shared_data / "klines" / "spot" / "BTCUSDT" / f"{name}.csv.gz"
    table = klines(file, timeframe(code))
    outcome = judged(table, code)
    assert outcome.rejected == []
    assert outcome.accepted.equals(table)
    assert outcome.accepted.num_rows == rows


def test_hours_that_opened_off_the_grid_after_an_outage_are_rejected_and_only_those(irregular):
    rows = [
        make.row(
            HOUR,
            ms(line["timestamp"]),
            **{name: Decimal(line[name]) for name in (*candles.PRICES, "volume")},
            quote_volume=Decimal(line["quote_av"]),
            taker_buy_base_volume=Decimal(line["tb_base_av"]),
            taker_buy_quote_volume=Decimal(line["tb_quote_av"]),
            trades_count=int(float(line["trades"])),
            close_time=int(float(line["close_time"])),
        )
        for line in irregular("BTCUSDT_1h_2018-02_misaligned.csv")
    ]
    outcome = judged(make.table(rows), "1h", window("2018-02-07", "2018-02-14"))
    assert len(outcome.rejected) == 43
    assert {row.reasons for row in outcome.rejected} == {("open_time_on_grid",)}
    assert {row.open_time_ms % HOUR.step_ms for row in outcome.rejected} == {28 * 60_000 + 14_789}
    assert outcome.accepted.num_rows == len(rows) - 43


def of_prices(line: dict[str, str], code: str) -> make.Row:
    """The row of a line that has prices and volume only."""
    given = {name: Decimal(line[name]) for name in (*candles.PRICES, "volume")}
    bare = dict.fromkeys((*candles.AMOUNTS, "trades_count"), 0)
    return make.row(timeframe(code), int(line["open_time"]), **(bare | given))


def test_row_that_two_downloads_both_brought_is_accepted_once(irregular):
    rows = [of_prices(line, "5m") for line in irregular("BTCUSDT_5m_duplicate_row.csv")]
    opened = sorted({row["open_time"] for row in rows})
    assert len(opened) == len(rows) - 1
    outcome = judged(make.table(rows), "5m")
    assert candles.open_times(outcome.accepted).tolist() == opened
    assert outcome.rejected == []


def test_hours_that_differ_between_two_copies_are_rejected_from_both(irregular):
    copies: dict[str, list[make.Row]] = {}
    for line in irregular("restated_candles_1h.csv"):
        if line["symbol"] == "BTCUSDT" and line["open"]:
            copies.setdefault(line["open_time"], []).append(of_prices(line, "1h"))
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


def test_partial_candle_that_froze_is_rejected_once_the_final_one_is_in_the_batch(irregular):
    frozen, final = [], []
    for line in irregular("MATICUSDT_1h_frozen_partial_candles.csv"):
        for kind, rows in (("frozen", frozen), ("final", final)):
            values = {name: line[f"{kind}_{name}"] for name in (*candles.PRICES, "volume")}
            rows.append(of_prices(values | {"open_time": line["open_time"]}, "1h"))
    outcome = judged(make.table(frozen + final), "1h")
    assert outcome.accepted.num_rows == 0
    assert len(outcome.rejected) == 2 * len(final) == 26
