"""Instruments, series and providers: one row each, small ids not burned, facts kept fresh."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from candlevault import identities
from candlevault.errors import ConfigurationError, InvalidRequest
from candlevault.instruments import InstrumentFacts
from candlevault.storage import instruments, series_registry, settings
from candlevault.storage.database import connector
from tests.support.candles import series, window
from tests.support.market import Store, new_symbol, span


def facts(symbol: str, status: str = "TRADING") -> InstrumentFacts:
    return InstrumentFacts(symbol, symbol, "X", "USDT", status, trading=status == "TRADING")


def instrument(store: Store, columns: str) -> tuple:
    [row] = store.rows(
        f"SELECT {columns} FROM market.instruments WHERE symbol = %(symbol)s",
        symbol=store.series.symbol,
    )
    return row


def test_registering_again_changes_nothing_but_the_facts(store):
    again = series_registry.register(
        store.connect, store.series, facts(store.series.symbol, "BREAK")
    )
    assert again == store.stored
    assert instrument(store, "status, base_asset") == ("BREAK", "X")


def test_two_timeframes_share_an_instrument(store):
    days = Store(store.url, store.series.symbol, "1d")
    assert days.stored.series_id != store.stored.series_id
    ids = store.rows(
        "SELECT count(DISTINCT instrument_id), count(*) FROM market.series_names"
        " WHERE symbol = %(symbol)s",
        symbol=store.series.symbol,
    )
    assert ids == [(1, 2)]


def test_registering_at_every_sync_burns_no_small_id(store):
    for _ in range(5):
        series_registry.register(store.connect, store.series, facts(store.series.symbol))
    assert Store(store.url).stored.series_id == store.stored.series_id + 1


def test_many_registering_at_once_get_the_same_row(database):
    symbol = new_symbol()
    connect = connector(database)
    with ThreadPoolExecutor(6) as pool:
        found = list(
            pool.map(
                lambda _: series_registry.register(connect, series("1h", symbol), facts(symbol)),
                range(6),
            )
        )
    assert len({one.series_id for one in found}) == 1


def test_a_series_never_loaded_is_not_found(database):
    connect = connector(database)
    with connect() as connection:
        assert series_registry.find(connection, series("1h", "NEVERUSDT")) is None
    with pytest.raises(InvalidRequest, match="ever loaded"):
        series_registry.get(connect, series("1h", "NEVERUSDT"))


def test_a_revision_is_part_of_what_is_found(store):
    store.publish_made(span("2024-01-01", "2024-01-02"))
    assert series_registry.get(store.connect, store.series).revision == 1
    assert store.series in [one.series for one in series_registry.everything(store.connect)]


def moment(day: int) -> datetime:
    return datetime(2024, 1, day, tzinfo=UTC)


def test_the_latest_first_candle_and_the_earliest_end_of_all_series_are_the_life(store):
    record = instruments.record_life
    record(store.connect, store.stored.series_id, moment(5), None)
    record(store.connect, store.stored.series_id, moment(3), moment(20))
    record(store.connect, store.stored.series_id, None, moment(25))
    assert instrument(store, "listed_time, ended_time") == (moment(5), moment(20))


def test_an_instrument_that_trades_again_has_no_end(store):
    instruments.record_life(store.connect, store.stored.series_id, None, moment(20))
    series_registry.register(store.connect, store.series, facts(store.series.symbol, "BREAK"))
    assert instrument(store, "ended_time") == (moment(20),)
    series_registry.register(store.connect, store.series, facts(store.series.symbol))
    assert instrument(store, "ended_time") == (None,)


def test_providers_are_numbered_once(database):
    with connector(database)() as connection:
        ask = series_registry.provider_ids
        first = ask(connection, ["b_rest", "b_archive", "b_rest"], "binance", "spot")
        again = ask(connection, ["b_archive"], "binance", "spot")
        assert set(first) == {"b_rest", "b_archive"}
        assert again == {"b_archive": first["b_archive"]}
        assert ask(connection, [], "binance", "spot") == {}


def test_a_database_of_one_venue_is_never_continued_from_another(market_db, monkeypatch):
    connect = connector(market_db)
    settings.adopt_exchange(connect)
    monkeypatch.setenv("CANDLEVAULT_VENUE", "simulated")
    with pytest.raises(ConfigurationError, match="default_venue 'binance', not 'simulated'"):
        settings.adopt_exchange(connect)


@pytest.mark.parametrize("order", [("MKRUSDT", "SKYUSDT"), ("SKYUSDT", "MKRUSDT")])
def test_a_successor_is_tied_whichever_comes_first(market_db, order):
    connect = connector(market_db)
    for symbol in order:
        [lifetime] = identities.lifetimes("binance", "spot", symbol)
        series_registry.register(connect, series("1h", symbol), facts(symbol), lifetime)
    with connect() as connection:
        row = connection.execute(
            "SELECT o.symbol, n.symbol, o.successor_ratio FROM market.instruments o"
            " JOIN market.instruments n ON n.instrument_id = o.successor_id"
        ).fetchone()
    assert row == ("MKRUSDT", "SKYUSDT", 24_000)


def test_a_source_can_serve_two_markets_under_one_name(market_db):
    with connector(market_db)() as connection:
        stocks = series_registry.provider_ids(connection, ["polygon"], "polygon", "stocks")
        crypto = series_registry.provider_ids(connection, ["polygon"], "polygon", "crypto")
        again = series_registry.provider_ids(connection, ["polygon"], "polygon", "stocks")
    assert stocks == again
    assert stocks != crypto


def test_a_symbol_used_twice_has_two_series(market_db):
    connect = connector(market_db)
    luna = series("1h", "LUNAUSDT")
    for lifetime in identities.lifetimes("binance", "spot", "LUNAUSDT"):
        series_registry.register(connect, luna, facts("LUNAUSDT"), lifetime)
    with connect() as connection:
        old, new = series_registry.lives(connection, luna)
        assert series_registry.find(connection, luna) == new
        assert old.share.end_ms == new.share.start_ms
        inside = window("2022-06-01", "2022-06-02")
        assert series_registry.resolve(connection, luna, inside) == new
        with pytest.raises(InvalidRequest, match="2 instruments here"):
            series_registry.resolve(connection, luna, window("2022-05-01", "2022-06-02"))
        shown = connection.execute(
            "SELECT symbol, timeframe, lifetime FROM market.sync_status"
        ).fetchall()
    assert shown == [("LUNAUSDT", "1h", 2)], "one line per symbol and timeframe"
