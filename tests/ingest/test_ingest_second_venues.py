"""Other venues: each into its own series, compared by open time, never mixed."""

from __future__ import annotations

import dataclasses

import pytest

from candlevault import windows
from candlevault.errors import InvalidRequest, NoneDelivered, NotOffered
from candlevault.ingest import cross_validation, fallback
from candlevault.ingest.load import Market, load
from candlevault.providers import priority
from candlevault.providers.contract import Answer, Problem
from candlevault.series import Series
from candlevault.storage import candle_reads, series_registry
from candlevault.timeframe import parse as parse_timeframe
from candlevault.windows import Window
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
    values_at,
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


def ask(market_of, order=("binance", "polygon", "kraken"), symbol="BTCUSDT", window=WINDOW):
    return fallback.load_by_priority(
        market_of, "crypto", symbol, H1, window, order, lambda key: False, lambda line: None
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


class Shallow:
    """A provider that reaches back to some moment only, and maybe not up to today."""

    def __init__(self, provider, since: int, until: int | None = None) -> None:
        self._provider, self._since, self._until = provider, since, until

    def __getattr__(self, name):
        return getattr(self._provider, name)

    def candles(self, series, window, closed_before_ms):
        reach = Window(self._since, self._until or window.end_ms + 1)
        part = window.intersection(reach)
        answer = Answer() if part is None else self._provider.candles(
            series, part, closed_before_ms
        )  # fmt: skip
        for beyond in windows.subtract(window, [reach]):
            error = NotOffered(f"reaches back to {reach.start:%Y-%m-%d}", provider="kraken")
            answer.problems.append(Problem(beyond, error))
        return answer


def shallow(market_of, since: int, until: int | None = None):
    def market(venue: str, name: str) -> Market:
        made = market_of(venue, name)
        if venue == "binance":
            return made
        adapters = dataclasses.replace(
            made.venue, archive=None, witnesses=("rest",), knows_life=False,
            rest=Shallow(made.venue.rest, since, until),
        )  # fmt: skip
        return dataclasses.replace(made, venue=adapters)

    return market


def test_one_that_does_not_reach_back_is_passed_over_and_what_it_brought_stays(market_of):
    since = ms("2024-02-06")
    report = ask(shallow(market_of, since), ("kraken", "binance"))
    assert report.provider == "binance"
    [told] = report.passed_over
    assert told.startswith("kraken: ") and "reaches back to 2024-02-06" in told
    with market_of("kraken", "spot").connect() as connection:
        stored = series_registry.find(connection, kraken())
        assert len(candle_reads.account(connection, stored, WINDOW).stored) == 4 * 24


def test_what_it_brought_earlier_does_not_make_it_deliver(market_of):
    load(market_of("kraken", "spot"), kraken(), span("2024-02-01", "2024-02-02"), purpose="load")
    report = ask(shallow(market_of, ms("2024-02-09T12:00")), ("kraken", "binance"))
    assert report.provider == "binance"


def test_a_plan_that_is_a_day_late_delivers(market_of):
    window = span("2024-02-10", "2024-02-20T00:20")
    market = shallow(market_of, ms("2024-02-01"), ms("2024-02-19"))
    report = ask(market, ("kraken", "binance"), window=window)
    assert (report.provider, report.passed_over) == ("kraken", [])


def test_one_that_this_home_cannot_ask_is_passed_over_with_its_sentence(market_of):
    def market(venue: str, name: str) -> Market:
        if venue == "binance":
            raise InvalidRequest("venue", "this home keeps candles of simulated in its place")
        return market_of(venue, name)

    report = ask(market)
    assert report.provider == "kraken"
    assert "this home keeps candles of simulated" in report.passed_over[0]


def test_a_window_that_cannot_be_is_nobodys_fault(market_of):
    with pytest.raises(InvalidRequest, match="lies in the future"):
        ask(market_of, window=span("2030-01-01", "2030-01-02"))


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


@pytest.fixture
def restate(venues):
    """Lets the other exchange say other values of a candle, or (None) take it back."""
    exchange = venues[1].exchange

    def say(values: dict | None) -> None:
        entry = {"market": "spot", "symbol": "BTCUSDT", "timeframe": "1h", "open_time": FAR,
                 "values": values}  # fmt: skip
        exchange.restatements.clear()
        exchange.restatements.add({"rows": [entry]}, exchange.source, exchange.clock.now_ms())

    yield say
    exchange.restatements.clear()


AS_OURS = {"high": str(values_at(FAR)["high"])}


def states(market_db) -> list[tuple]:
    return Store(market_db, "BTCUSDT").rows(
        "SELECT state, detected_at, dag_run_id, explanation FROM market.discrepancies"
    )


def test_seen_again_it_is_not_new_and_gone_it_is_settled(market_of, stored, market_db, restate):
    compare(market_of, stored)
    before = states(market_db)
    assert compare(market_of, stored).new == 0
    assert states(market_db) == before
    restate(AS_OURS)
    report = compare(market_of, stored)
    assert (report.discrepancies, report.settled) == (0, 1)
    [(state, _, _, why)] = states(market_db)
    assert (state, why) == ("settled", "within 1.0 % of kraken/spot/BTCUSDT/1h by now")


def test_once_settled_and_apart_again_it_is_new_and_detected_now(
    market_of, stored, market_db, restate
):
    compare(market_of, stored)
    [(_, first, _, _)] = states(market_db)
    restate(AS_OURS)
    compare(market_of, stored)
    restate({"high": "600"})
    assert compare(market_of, stored).new == 1
    [(state, again, _, why)] = states(market_db)
    assert (state, why) == ("open", None)
    assert again > first


def test_what_was_not_compared_is_not_settled(market_of, stored, market_db, restate):
    compare(market_of, stored)
    restate(None)
    report = compare(market_of, stored)
    assert (report.compared, report.only_stored, report.settled) == (9 * 24 - 1, 1, 0)
    assert [row[0] for row in states(market_db)] == ["open"]


def test_what_the_source_said_first_does_not_stay_for_ever(market_of, stored, restate):
    restate({"high": "900", "low": "0.5"})
    assert compare(market_of, stored).discrepancies == 2
    restate(AS_OURS)
    assert compare(market_of, stored).discrepancies == 0


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
