"""The relations people query: exactly the columns promised, and what stands in them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from candlevault.storage import ledger
from candlevault.storage.database import connector
from candlevault.storage.ledger import SyncTotals
from tests.support.market import Store, absence, grid, made, ms, span, values_at

DAY_ONE = span("2024-01-01", "2024-01-02")


def columns(database: str, view: str) -> dict[str, str]:
    with connector(database)() as connection:
        return dict(
            connection.execute(
                "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
                " WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum",
                (f"market.{view}",),
            ).fetchall()
        )


def test_ohlcv_data_offers_exactly_the_promised_columns(database):
    price, amount = "numeric(20,8)", "numeric(30,8)"
    assert columns(database, "ohlcv_data") == {
        "time": "timestamp with time zone",
        "symbol": "text",
        "timeframe": "text",
        "open": price,
        "high": price,
        "low": price,
        "close": price,
        "volume": amount,
        "quote_volume": amount,
        "taker_buy_base_volume": amount,
        "taker_buy_quote_volume": amount,
        "trades_count": "integer",
        "provider": "text",
        "created_at": "timestamp with time zone",
    }


def test_ohlcv_data_all_adds_venue_market_and_instrument(database):
    extra = list(columns(database, "ohlcv_data_all"))[-3:]
    assert extra == ["venue", "market", "instrument_id"]


PROMISED = {
    "sync_status": """symbol timeframe sync_status last_sync_time total_candles newest_data_time
        oldest_data_time error_message""",
    "historical_data_range": """symbol timeframe earliest_date latest_date total_records
        is_complete last_synced""",
    "data_quality": """symbol timeframe date_range_start date_range_end expected_records
        actual_records missing_records completeness_percentage raw_percentage has_gaps
        has_anomalies checked_at""",
}


@pytest.mark.parametrize("view", PROMISED)
def test_the_status_views_offer_the_promised_columns(database, view):
    names = PROMISED[view].split()
    assert list(columns(database, view))[: len(names)] == names


def test_a_candle_reads_the_same_in_ohlcv_data(store):
    store.publish_made(DAY_ONE)
    [row] = store.rows(
        "SELECT symbol, timeframe, open, high, low, close, volume, quote_volume,"
        " taker_buy_base_volume, taker_buy_quote_volume, trades_count, provider"
        " FROM market.ohlcv_data WHERE symbol = %(symbol)s AND time = '2024-01-01 12:00Z'",
        symbol=store.series.symbol,
    )
    expected = values_at(ms("2024-01-01T12:00"))
    del expected["open_time"], expected["close_time"]
    assert row == (store.series.symbol, "1h", *expected.values(), "binance_archive")


def test_ohlcv_data_shows_the_default_venue_only(database, store):
    other = Store(database)
    other.publish_made(DAY_ONE)
    with connector(database)() as connection:
        connection.execute(
            "UPDATE market.instruments SET venue = 'elsewhere' WHERE symbol = %s",
            (other.series.symbol,),
        )
        count = "SELECT count(*) FROM market.{} WHERE symbol = %s"
        found = [
            connection.execute(count.format(view), (other.series.symbol,)).fetchone()[0]
            for view in ("ohlcv_data", "ohlcv_data_all")
        ]
    assert found == [0, 24]


def finish(store: Store, error: str | None = None, lost: int = 0) -> tuple:
    sync = ledger.start_sync(store.connect, store.stored.series_id, "backfill", DAY_ONE, "run")
    ledger.finish_sync(
        store.connect, sync, store.stored.series_id, SyncTotals(lost=lost), ["p"], error
    )
    return store.rows(
        "SELECT sync_status, error_message, is_complete FROM market.sync_status s"
        " JOIN market.historical_data_range r USING (symbol, timeframe) WHERE symbol = %(symbol)s",
        symbol=store.series.symbol,
    )[0]


def test_a_series_without_candles_is_pending_and_incomplete(store):
    found = store.rows(
        "SELECT sync_status, total_candles, oldest_data_time FROM market.sync_status"
        " WHERE symbol = %(symbol)s",
        symbol=store.series.symbol,
    )
    assert found == [("pending", 0, None)]
    assert finish(store) == ("completed", None, False)


def test_a_range_is_complete_when_every_open_time_is_stored_or_absent(store):
    hole = span("2024-01-01T08:00", "2024-01-01T12:00")
    store.publish_made(DAY_ONE, grid(hole), absences=[absence(hole)])
    before_listing = span("2023-12-01", "2024-01-01")
    store.publish(made([]), before_listing, absences=[absence(before_listing, "before_listing")])
    assert finish(store) == ("completed", None, True)


def test_a_range_with_a_hole_is_not_complete_though_the_last_sync_went_well(store):
    store.publish_made(span("2024-01-01", "2024-01-02"))
    store.publish_made(span("2024-01-05", "2024-01-06"))
    assert finish(store) == ("completed", None, False)
    store.publish_made(span("2024-01-02", "2024-01-05"))
    assert finish(store) == ("completed", None, True)


def test_an_error_and_a_loss_are_told_and_mean_incomplete(store):
    store.publish_made(DAY_ONE)
    assert finish(store, error="boom") == ("error", "boom", False)
    assert finish(store, lost=3) == ("error", "3 candles lost", False)
    assert finish(store) == ("completed", None, True)


def test_percentages_are_of_the_obtainable_and_of_all(store):
    with store.connect() as connection:
        connection.execute(
            "INSERT INTO market.quality_checks (series_id, date_range_start, date_range_end,"
            " expected_records, actual_records, known_absent, missing_records, has_anomalies,"
            " failures) VALUES (%s, '2024-01-01', '2024-02-01', 744, 740, 3, 1, false, '[]')",
            (store.stored.series_id,),
        )
    [row] = store.rows(
        "SELECT completeness_percentage, raw_percentage, has_gaps FROM market.data_quality"
        " WHERE symbol = %(symbol)s",
        symbol=store.series.symbol,
    )
    assert row == (Decimal("99.8650"), Decimal("99.4624"), True)
