"""Other venues: each into its own series, compared by open time, never mixed."""

from __future__ import annotations

import dataclasses

import pytest

from candlevault.errors import NoneDelivered
from candlevault.ingest import cross_validation, fallback
from candlevault.ingest.load import Market, load
from candlevault.providers import priority
from candlevault.series import Series
from candlevault.storage import series_registry
from candlevault.timeframe import parse as parse_timeframe
from tests.support.candles import series
from tests.support.market import (
    HOUR,
    ReplayFiles,
    Store,
    made,
    market_at,
    ms,
    plain,
    simulated,
    span,
    venue_at,
)

NOW = ms("2024-02-20T00:20")
WINDOW = span("2024-02-01", "2024-02-10")
HOURS = range(ms("2024-01-01"), NOW, HOUR)
H1, H4 = parse_timeframe("1h"), parse_timeframe("4h")
FAR = ms("2024-02-05T07:00")


@pytest.fixture(scope="module")
def venues(tmp_path_factory):
    """Binance, and another exchange that is 1 % higher once and knows one symbol less."""
    ours = ReplayFiles(tmp_path_factory.mktemp("ours"))
    ours.write("BTCUSDT", HOURS)
    theirs = ReplayFiles(tmp_path_factory.mktemp("theirs"))
    theirs.write("BTCUSDT", HOURS, changes={FAR: {"high": 500}})
    with simulated(ours.root, NOW) as one, simulated(theirs.root, NOW) as other:
        yield one, other


@pytest.fixture
def market_of(market_db, venues):
    """Markets by venue, as a task would be given them."""
    ours, other = venues
    ours.heal()
    other.heal()

    def market(venue: str, name: str) -> Market:
        assert name == "spot"
        if venue == "binance":
            return market_at(market_db, ours.base_url)
        adapters = dataclasses.replace(venue_at(other.base_url), venue=venue)
        return dataclasses.replace(market_at(market_db, other.base_url), venue=adapters)

    return market


def kraken(symbol: str = "BTCUSDT") -> Series:
    return Series("kraken", "spot", symbol, H1)


def ask(market_of, order=("binance", "polygon", "kraken"), symbol="BTCUSDT"):
    return fallback.load_by_priority(
        market_of, "crypto", symbol, H1, WINDOW, order, lambda key: False, lambda line: None
    )


def test_the_first_that_delivers_fills_its_own_series(market_of, market_db):
    report = ask(market_of)
    assert (report.provider, report.passed_over) == ("binance", [])
    assert report.series == "binance/spot/BTCUSDT/1h"


def test_the_next_is_asked_when_one_fails_and_nothing_is_mixed(market_of, market_db, venues):
    venues[0].fault("503")
    report = ask(market_of)
    assert report.provider == "kraken"
    assert report.series == "kraken/spot/BTCUSDT/1h"
    assert [told.split(":")[0] for told in report.passed_over] == ["binance", "polygon"]
    assert "no key" in report.passed_over[1]
    with market_of("kraken", "spot").connect() as connection:
        stored = series_registry.find(connection, kraken())
        counts = dict(
            connection.execute(
                "SELECT venue, count(*) FROM market.ohlcv_data_all GROUP BY venue"
            ).fetchall()
        )
    assert stored is not None
    assert counts == {"kraken": 9 * 24}


def test_when_nobody_delivers_everybodys_reason_is_told(market_of, venues):
    for venue in venues:
        venue.fault("503")
    with pytest.raises(NoneDelivered, match=r"binance: .*polygon: skipped: no key.*kraken: "):
        ask(market_of)


def test_sources_without_a_market_quote_dollars():
    assert str(fallback.series_at("coingecko", "crypto", "BTCUSDT", H4)) == (
        "coingecko/crypto/BTCUSD/4h"
    )
    assert str(fallback.series_at("oanda", "forex", "EURUSD", H1)) == "oanda/forex/EURUSD/1h"
    assert priority.DEFAULT_ORDER["crypto"][0] == "binance"


# -- comparing -------------------------------------------------------------------------------


@pytest.fixture
def stored(market_of, market_db):
    load(market_of("binance", "spot"), series("1h"), WINDOW, purpose="backfill")
    return Store(market_db, "BTCUSDT").stored


def compare(market_of, stored, **more):
    return cross_validation.against_source(
        market_of("binance", "spot"),
        stored,
        market_of("kraken", "spot"),
        kraken(),
        WINDOW,
        **more,
    )


def test_what_is_further_apart_than_the_tolerance_is_recorded(market_of, stored, market_db):
    before = Store(market_db, "BTCUSDT").touched()
    report = compare(market_of, stored)
    assert (report.compared, report.discrepancies, report.new) == (9 * 24, 1, 1)
    rows = Store(market_db, "BTCUSDT").rows(
        "SELECT symbol, field, kind, other, other_value FROM market.open_discrepancies"
    )
    assert rows == [("BTCUSDT", "high", "second_source", "kraken/spot/BTCUSDT/1h", 500)]
    assert Store(market_db, "BTCUSDT").touched() == before


def test_seen_again_it_is_not_new_and_gone_it_is_settled(market_of, stored, market_db):
    compare(market_of, stored)
    assert compare(market_of, stored).new == 0
    theirs = Store(market_db, "BTCUSDT")
    with theirs.connect() as connection:
        other = series_registry.find(connection, kraken())
        connection.execute(
            "UPDATE market.candles_1h c SET high = o.high FROM market.candles_1h o"
            " WHERE c.series_id = %s AND o.series_id = %s AND o.open_time = c.open_time",
            (other.series_id, stored.series_id),
        )
    assert compare(market_of, stored).discrepancies == 0
    assert theirs.rows("SELECT state FROM market.discrepancies") == [("settled",)]


def test_coarser_sources_are_compared_with_rolled_up_candles():
    fine = made(range(ms("2024-02-01"), ms("2024-02-02"), HOUR))
    coarse = plain(cross_validation.roll_up(fine, H1, H4))
    rows = plain(fine)
    assert [c["open_time"] for c in coarse] == [r["open_time"] for r in rows[::4]]
    first = rows[:4]
    assert coarse[0] == {
        "open_time": first[0]["open_time"],
        "open": first[0]["open"],
        "high": max(r["high"] for r in first),
        "low": min(r["low"] for r in first),
        "close": first[3]["close"],
        **{
            name: sum(r[name] for r in first)
            for name in ("volume", "quote_volume", "taker_buy_base_volume",
                         "taker_buy_quote_volume", "trades_count")
        },
        "close_time": first[3]["close_time"],
    }  # fmt: skip


def test_a_candle_without_volume_supplies_no_price_and_a_bucket_with_a_hole_none():
    times = list(range(ms("2024-02-01"), ms("2024-02-01T08:00"), HOUR))
    empty = dict.fromkeys(("open", "high", "low", "close"), 900) | {"volume": 0}
    fine = made(times[:7], changes={times[0]: empty})
    [coarse] = plain(cross_validation.roll_up(fine, H1, H4))
    assert coarse["open"] == plain(fine)[1]["open"]
    assert coarse["high"] < 900


def test_the_tolerance_is_a_percentage_of_ours():
    ours = made([FAR])
    close = plain(ours)[0]["close"]
    for factor, apart in ((101, []), (102, ["close"]), (98, ["close"])):
        theirs = made([FAR], changes={FAR: {"close": close * factor / 100}})
        found = cross_validation.differences(ours, theirs, "x", 1.0, ("close",))
        assert [one.field for one in found] == apart, factor
