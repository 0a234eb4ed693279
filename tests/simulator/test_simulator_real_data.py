"""The simulator over real candles answers what Binance answered and published."""

from __future__ import annotations

import io
import json
import zipfile

import pytest

from candlevault import timeframe
from candlevault.simulator import build_exchange

RECORDED = (
    "BTCUSDT_15m_2025-04-07",
    "BTCUSDT_1d_2022-01-01",
    "BTCUSDT_1h_2023-03-01",
    "ETHUSDT_1h_2025-01-01",
    "SOLUSDT_1d_2020-01-01",
)
WITH_HEADER = ("2023-01", "2023-02", "2023-03", "2023-04", "2023-05")
"""These kept copies begin with a header line that spot files do not have when published."""
MONTHS = (
    *WITH_HEADER,
    *("2024-11", "2024-12", "2025-01", "2025-02", "2025-03", "2025-04", "2025-05"),
)
BTC = "data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-"


@pytest.fixture(scope="module")
def exchange(shared_data):
    return build_exchange(f"replay:{shared_data / 'klines'}", end="2025-10-01")


@pytest.fixture
def venue(exchange, serve):
    exchange.reset()
    return serve(exchange)


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_answer_is_repeated(venue, shared_data, name):
    path = shared_data / "responses" / "binance_spot" / f"klines_{name}.json"
    recorded = json.loads(path.read_text())
    symbol, interval, _ = name.split("_")
    first, last = recorded[0][0], recorded[-1][0]
    assert len(recorded) > 20
    answers = venue.klines(symbol, interval, start=first, end=last, limit=1000)
    for answer, row in zip(answers, recorded, strict=True):
        differing = [i for i in range(12) if answer[i] != row[i]]
        # Some files keep the six first columns only; what both carry must agree.
        assert all(i >= 7 and answer[i] in ("0", 0) for i in differing), (answer, row)
    full = [a for a, row in zip(answers, recorded, strict=True) if a == row]
    assert len(full) == len(recorded)


def test_a_request_before_the_listing_is_answered_from_the_listing_on(venue, shared_data):
    path = shared_data / "responses" / "binance_spot" / "klines_SOLUSDT_1d_2020-01-01.json"
    recorded = json.loads(path.read_text())
    start = 1_577_836_800_000
    assert venue.klines("SOLUSDT", "1d", start=start, limit=len(recorded)) == recorded
    assert venue.klines("SOLUSDT", "1d", start=start, end=recorded[0][0] - 1) == []


@pytest.mark.parametrize("month", MONTHS)
def test_a_generated_month_equals_the_published_one_byte_for_byte(venue, shared_data, month):
    published = (shared_data / "archives" / f"{BTC}{month}.csv").read_bytes()
    if month in WITH_HEADER:
        header, _, published = published.partition(b"\n")
        assert header.startswith(b"open_time,")
    response = venue.archive(f"{BTC}{month}.zip")
    with zipfile.ZipFile(io.BytesIO(response.content)) as bundle:
        assert bundle.read(f"BTCUSDT-1h-{month}.csv") == published


def test_published_zips_are_served_untouched_where_they_are_kept(shared_data, serve):
    venue = serve(build_exchange(f"replay:{shared_data}", end="2025-10-01"))
    key = "data/spot/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2020-01-01.zip"
    kept = (shared_data / "archives" / key).read_bytes()
    assert venue.archive(key).content == kept
    assert venue.archive(key + ".CHECKSUM").text.startswith("dd579c62368ded93")


def test_the_32_missing_hours_are_missing(venue):
    opened, cursor, end = [], 1_577_836_800_000, 1_759_276_800_000
    while page := venue.opened(start=cursor, end=end - 1, limit=1000):
        opened += page
        cursor = page[-1] + 3_600_000
    assert len(opened) == 50_368
    assert (end - 1_577_836_800_000) // 3_600_000 - len(opened) == 32


def test_a_series_that_ended_early_errs_until_a_manifest_explains_it(venue):
    answer = venue.get("/api/v3/klines", symbol="USTUSDT", interval="1h")
    assert answer.status_code == 503
    assert "ends at 2022-05-13T01:00:00Z" in answer.json()["msg"]


def test_every_main_series_loads_and_pages_to_its_last_candle(venue, exchange):
    source = exchange.source
    for symbol in source.symbols("spot"):
        for code in source.timeframes("spot", symbol):
            series = source.series("spot", symbol, code)
            assert venue.klines(symbol, code, start=series.last_ms, end=series.last_ms)
            first = venue.klines(symbol, code, start=0, limit=1)[0]
            assert first[0] == series.first_ms
            assert timeframe.parse(code).is_aligned(first[0])
