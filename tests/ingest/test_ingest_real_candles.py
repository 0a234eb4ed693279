"""Real candles of BTCUSDT, replayed over the venue's own surfaces, full window."""

from __future__ import annotations

import csv
import gzip
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from candlevault import timeframe
from candlevault.ingest.load import load
from candlevault.simulator import build_exchange, running
from candlevault.windows import runs
from tests.support.candles import series
from tests.support.market import SimulatedVenue, Store, grid, market_at, span

FULL = span("2020-01-01", "2025-10-01")
# Our column, and the file's.
COLUMNS = {
    "open": "open",
    "high": "high",
    "low": "low",
    "close": "close",
    "volume": "volume",
    "quote_volume": "quote_volume",
    "taker_buy_base_volume": "taker_buy_volume",
    "taker_buy_quote_volume": "taker_buy_quote_volume",
}


@pytest.fixture(scope="module")
def venue(shared_data: Path):
    exchange = build_exchange(f"replay:{shared_data}", end="2025-10-01", symbols=("BTCUSDT",))
    with running(exchange) as simulator:
        yield SimulatedVenue(simulator.base_url, simulator.exchange)


@pytest.fixture(scope="module")
def loaded(database, venue):
    """The reports of the first loads, by timeframe."""
    market = market_at(database, venue.base_url)
    return {
        code: load(market, series(code), FULL, purpose="backfill").as_dict()
        for code in ("1d", "1h")
    }


def file_rows(shared_data: Path, code: str) -> list[dict[str, str]]:
    path = shared_data / "klines" / "spot" / "BTCUSDT" / f"{code}.csv.gz"
    with gzip.open(path, "rt") as text:
        return list(csv.DictReader(text))


def test_every_hour_is_stored_or_known_absent_and_none_is_lost(loaded):
    report = loaded["1h"]
    assert (report["stored"], report["known_absent"], report["lost"]) == (50_368, 32, 0)
    assert report["status"] == "completed"
    assert report["quarantined"] == 0


def test_the_absent_hours_are_the_fifteen_outages(loaded, database):
    store = Store(database, "BTCUSDT")
    absences = store.absences(FULL)
    hours = np.array(sorted(t for a in absences for t in grid(a)))
    assert len(runs(hours, timeframe.parse("1h"))) == 15
    assert [str(a)[1:11] for a in absences] == [
        "2020-02-09", "2020-02-19", "2020-03-04", "2020-04-25", "2020-06-28", "2020-11-30",
        "2020-12-21", "2020-12-25", "2021-02-11", "2021-03-06", "2021-04-20", "2021-04-25",
        "2021-08-13", "2021-09-29", "2023-03-24",
    ]  # fmt: skip


def test_every_day_is_stored(loaded):
    report = loaded["1d"]
    assert (report["stored"], report["known_absent"], report["lost"]) == (2_100, 0, 0)


@pytest.mark.parametrize("code", ["1d", "1h"])
def test_every_stored_value_is_the_files_decimal(loaded, database, shared_data, code):
    stored = Store(database, "BTCUSDT", code).read(FULL)
    frame = timeframe.parse(code)
    rows = file_rows(shared_data, code)
    assert len(stored) == len(rows)
    for candle, row in zip(stored, rows, strict=True):
        assert candle["open_time"] == int(row["open_time"])
        for ours, theirs in COLUMNS.items():
            assert candle[ours] == Decimal(row[theirs] or 0), (row["open_time"], ours)
        assert candle["trades_count"] == int(row["count"] or 0)
        regular = int(row["open_time"]) + frame.step_ms - 1
        assert candle["close_time"] == int(row["close_time"] or regular)


def test_the_irregular_close_times_before_outages_are_kept(loaded, database):
    store = Store(database, "BTCUSDT")
    found = store.rows(
        "SELECT to_char(close_time AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.MS')"
        " FROM market.candles_1h WHERE series_id = %(id)s AND close_time IS NOT NULL"
    )
    moments = {moment for (moment,) in found}
    assert {
        "2020-02-19 11:35:32.286", "2020-03-04 09:21:46.694", "2023-03-24 12:39:41.646",
    } <= moments  # fmt: skip


@pytest.mark.parametrize("code", ["1d", "1h"])
def test_loading_again_asks_for_no_candle_and_changes_no_row(loaded, database, venue, code):
    store = Store(database, "BTCUSDT", code)
    before, revision = store.touched(), store.revision
    venue.forget()
    report = load(market_at(database, venue.base_url), series(code), FULL, purpose="backfill")
    assert venue.asked_for_candles() == 0
    assert report.candles_added == report.candles_changed == 0
    assert (store.touched(), store.revision) == (before, revision)
