"""Years of real Binance candles pass the judge to the last row."""

from __future__ import annotations

import csv
import gzip
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


def klines(file: Path, frame: Timeframe) -> pa.Table:
    """A shared candle file through the archive's parser; columns that it lacks are 0."""
    lines = []
    with gzip.open(file, "rt", encoding="ascii", newline="") as text:
        for row in list(csv.reader(text))[1:]:
            row[6] = row[6] or str(int(row[0]) + frame.step_ms - 1)
            lines.append(",".join([*(value or "0" for value in row), "0"]))
    return binance_rows.from_csv("\n".join([*lines, ""]).encode())


@pytest.mark.parametrize(
    ("name", "code", "rows"),
    [("1h", "1h", 50_368), ("1m_2023-03-16_2023-05-01", "1m", 66_087)],
)
def test_years_of_real_candles_are_accepted_to_the_last_row(shared_data, name, code, rows):
    file = shared_data / "klines" / "spot" / "BTCUSDT" / f"{name}.csv.gz"
    frame, series = timeframe(code), make.series(code)
    table = klines(file, frame)
    times = candles.open_times(table)
    span = Window(int(times.min()), int(times.max()) + frame.step_ms)
    outcome = judge(table, [make.fetch(series)], series, span, span.end_ms)
    assert (outcome.rejected, outcome.repeated) == ([], ())
    assert outcome.accepted.equals(table)
    assert outcome.accepted.num_rows == rows
