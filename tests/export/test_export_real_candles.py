"""Real candles around a real outage, exported and compared with the digits the venue gave."""

from __future__ import annotations

import csv
import gzip
import zipfile
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from candlevault.export import CandleSet, read, write
from candlevault.windows import Window
from tests.support.market import HOUR, Store, absence, span, table
from tests.support.postgres import PostgresServer

DAY = 24 * HOUR
NAMES = {
    "open": "open",
    "high": "high",
    "low": "low",
    "close": "close",
    "volume": "volume",
    "quote_volume": "quote_volume",
    "taker_buy_base_volume": "taker_buy_volume",
    "taker_buy_quote_volume": "taker_buy_quote_volume",
}
YEAR = span("2023-01-01", "2024-01-01")
OUTAGE = span("2023-03-24T13:00", "2023-03-24T14:00")
MINUTES = span("2023-03-24", "2023-03-26")
MINUTE_OUTAGE = span("2023-03-24T12:40", "2023-03-24T14:00")


def rows_of(file: Path, window: Window) -> list[dict[str, str]]:
    with gzip.open(file, "rt") as text:
        return [row for row in csv.DictReader(text) if window.contains(int(row["open_time"]))]


def publish(url: str, code: str, rows: list[dict[str, str]], window: Window, hole: Window) -> None:
    """Files of minutes lack some columns: 0 and the regular close stand in for them."""
    store = Store(url, "BTCUSDT", code)
    made = table(
        {ours: Decimal(row[theirs] or 0) for ours, theirs in NAMES.items()}
        | {
            "open_time": int(row["open_time"]),
            "close_time": int(row["close_time"] or int(row["open_time"]) + store.step_ms - 1),
            "trades_count": int(row["count"] or 0),
        }
        for row in rows
    )
    store.publish(made, window, absences=[absence(hole)])


@pytest.fixture(scope="module")
def spot(shared_data: Path) -> Path:
    return shared_data / "klines" / "spot" / "BTCUSDT"


@pytest.fixture(scope="module")
def real(postgres_server: PostgresServer, market_template: str, spot: Path):
    with postgres_server.database(market_template) as url:
        publish(url, "1h", rows_of(spot / "1h.csv.gz", YEAR), YEAR, OUTAGE)
        minutes = rows_of(spot / "1m_2023-03-16_2023-05-01.csv.gz", MINUTES)
        publish(url, "1m", minutes, MINUTES, MINUTE_OUTAGE)
        yield url


@pytest.fixture(scope="module")
def year(real) -> CandleSet:
    return read("BTC", "1h", YEAR.start, YEAR.end, database=real)


def test_a_year_of_hours_comes_back_digit_for_digit(year, spot, tmp_path):
    """An export that refuses lost candles, so the outage is all that is missing."""
    source = rows_of(spot / "1h.csv.gz", YEAR)
    assert len(source) == 365 * 24 - 1
    write(year, "csv", tmp_path)
    with (tmp_path / "BTCUSDT__1h.csv").open(newline="") as file:
        back = list(csv.DictReader(file))
    assert [{name: row[name] for name in NAMES} for row in back] == [
        {ours: row[theirs] for ours, theirs in NAMES.items()} for row in source
    ]
    write(year, "parquet", tmp_path)
    exact = pq.read_table(tmp_path / "BTCUSDT__1h.parquet")
    for ours, theirs in NAMES.items():
        assert exact[ours].to_pylist() == [Decimal(row[theirs]) for row in source]
    closes = exact["close_time"].cast(pa.int64()).to_pylist()
    assert closes == [int(row["close_time"]) for row in source]
    write(year, "freqtrade", tmp_path)
    loose = feather.read_table(tmp_path / "BTC_USDT-1h.feather")
    for name in ("open", "high", "low", "close", "volume"):
        assert loose[name].to_pylist() == [float(row[name]) for row in source]


def test_the_outage_is_marked(year):
    assert [(one.window, one.reason) for one in year.absences] == [(OUTAGE, "not_published")]
    assert year.lost == ()


def test_minutes_of_the_outage_lie_in_their_days(real, spot, tmp_path):
    found = read("BTC", "1m", MINUTES.start, MINUTES.end, database=real)
    assert [one.window for one in found.absences] == [MINUTE_OUTAGE]
    files = write(found, "lean", tmp_path).files
    lines = []
    for path, midnight in zip(files, (MINUTES.start_ms, MINUTES.start_ms + DAY), strict=True):
        with zipfile.ZipFile(path) as archive:
            text = archive.read(archive.namelist()[0]).decode()
        for time, *numbers in csv.reader(text.splitlines()):
            lines.append([midnight + int(time), *map(Decimal, numbers)])
    assert lines == [
        [int(row["open_time"])]
        + [Decimal(row[name]) for name in ("open", "high", "low", "close", "volume")]
        for row in rows_of(spot / "1m_2023-03-16_2023-05-01.csv.gz", MINUTES)
    ]
    assert len(lines) == 2 * 1440 - 80
