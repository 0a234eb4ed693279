"""Exchanges through ccxt: which there are, their markets, pages, reach, digits and errors."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import ClassVar

import ccxt
import pytest

from candlevault.errors import (
    BadPayload,
    GeoBlocked,
    NotOffered,
    RateLimited,
    Unavailable,
    UnknownSymbol,
)
from candlevault.providers import ccxt_library
from candlevault.providers.ccxt_exchange import CcxtExchange
from candlevault.providers.ccxt_library import Heard, error_of, exchange_ids, market_of
from candlevault.windows import Window
from tests.support.candles import ms
from tests.support.candles import window as span
from tests.support.scripted_http import Reply
from tests.support.second_sources import JSON, NOW, SPEAKER, Row, no_sleep, session_to

HOUR = 3_600_000
KRAKEN, COINBASE = SPEAKER["kraken"], SPEAKER["coinbaseexchange"]
WINDOW = span("2026-03-14", "2026-03-15")


@pytest.fixture
def kraken(server) -> CcxtExchange:
    return KRAKEN.make(server)


@pytest.fixture
def coinbase(server) -> CcxtExchange:
    return COINBASE.make(server)


def row(time: int) -> Row:
    return Row(time, "10.5", "12", "9", "11", "3")


def hours(start: int, count: int) -> list[Row]:
    return [row(start + i * HOUR) for i in range(count)]


def times(answer) -> list[int]:
    return [time for page in answer.pages for time in page.candles["open_time"].to_pylist()]


# -- which exchanges -------------------------------------------------------------------------


def test_exchanges_with_candles_of_their_own_are_known():
    ids = exchange_ids()
    assert {"kraken", "coinbase", "okx", "bitstamp"} <= set(ids)
    assert list(ids) == sorted(ids)
    for name in ids:
        assert getattr(ccxt, name)().has["fetchOHLCV"] is True


@pytest.mark.parametrize(
    ("candles", "spot", "known"),
    [(True, True, True), ("emulated", True, False), (None, True, False), (True, False, False)],
)
def test_exchanges_without_candles_of_their_own_are_not(monkeypatch, candles, spot, known):
    """What ccxt would make of trades is not what the exchange published."""

    class Made:
        has: ClassVar = {"fetchOHLCV": candles, "spot": spot}

    monkeypatch.setattr(ccxt, "exchanges", ["made"])
    monkeypatch.setattr(ccxt, "made", Made, raising=False)
    ccxt_library._publishing.cache_clear()
    try:
        assert exchange_ids() == (("made",) if known else ())
    finally:
        ccxt_library._publishing.cache_clear()


def test_an_exchange_offers_what_it_publishes_with_its_own_page_size(coinbase, kraken):
    # Coinbase has neither half hours nor four hours, as the reference of its API says.
    assert list(coinbase.capabilities.timeframes) == ["1m", "5m", "15m", "1h", "1d"]
    assert {offer.rows for offer in coinbase.capabilities.timeframes.values()} == {300}
    assert {offer.rows for offer in kraken.capabilities.timeframes.values()} == {720}
    assert "1w" not in kraken.capabilities.timeframes
    assert kraken.name == kraken.capabilities.provider == "kraken"


# -- markets ---------------------------------------------------------------------------------


def market(base: str, quote: str, **more: object) -> dict:
    name = f"{base}/{quote}"
    return {"symbol": name, "base": base, "quote": quote, "spot": True, "id": name} | more


class Listed:
    """Stands for an exchange with these markets."""

    id = "test"

    def __init__(self, *markets: dict) -> None:
        self.markets = {one["symbol"]: one for one in markets}


def test_a_symbol_is_the_spot_market_written_like_it():
    future = market("BTC", "USDT", symbol="BTC/USDT:USDT", spot=False)
    dark = market("BTC", "USDT", symbol="BTCUSDT:DARK")
    found = market_of(Listed(future, market("BTC", "USDT"), dark, market("ETH", "USDT")), "BTCUSDT")
    assert found["symbol"] == "BTC/USDT"


def test_a_symbol_that_could_be_two_markets_is_unknown():
    listed = Listed(market("AB", "CUSD"), market("ABC", "USD"))
    with pytest.raises(UnknownSymbol, match="it is AB/CUSD, ABC/USD"):
        market_of(listed, "ABCUSD")


def test_a_symbol_that_is_no_market_is_unknown(kraken, server):
    KRAKEN.say(server, KRAKEN.empty)
    with pytest.raises(UnknownSymbol, match="it is no market"):
        kraken.candles(replace(KRAKEN.series, symbol="BTCEUR"), WINDOW, NOW)


def test_kraken_calls_bitcoin_by_another_name(kraken, server):
    KRAKEN.say(server, KRAKEN.encode(hours(WINDOW.start_ms, 2)))
    facts = kraken.instrument("BTCUSDT")
    assert (facts.venue_symbol, facts.base_asset, facts.quote_asset) == ("XBTUSDT", "BTC", "USDT")
    assert facts.trading
    assert not kraken.instrument("ETHUSD").trading


def test_the_markets_are_asked_for_once(kraken, server):
    KRAKEN.say(server, KRAKEN.empty)
    for _ in range(3):
        kraken.candles(KRAKEN.series, WINDOW, NOW)
    assert sum("AssetPairs" in target for target in server.asked) == 1


# -- pages -----------------------------------------------------------------------------------


def test_an_answer_that_stops_early_is_asked_for_again_from_there(coinbase, server):
    """An exchange that gives fewer rows than ccxt says must not look as if it had no more."""
    start = WINDOW.start_ms
    everything = hours(start, 24)

    def reply(parameters: dict) -> Reply:
        since = ms(parameters["start"].replace("Z", "+00:00"))
        return Reply(COINBASE.encode([r for r in everything if r.time >= since][:10]), 200, JSON)

    COINBASE.serve(server, reply)
    answer = coinbase.candles(COINBASE.series, WINDOW, NOW)
    assert times(answer) == [r.time for r in everything]
    assert sum(COINBASE.candle_path in target for target in server.asked) == 3
    assert answer.problems == []


def test_hours_without_trades_at_the_end_cost_one_more_question(coinbase, server):
    everything = hours(WINDOW.start_ms, 5)

    def reply(parameters: dict) -> Reply:
        since = ms(parameters["start"].replace("Z", "+00:00"))
        return Reply(COINBASE.encode([r for r in everything if r.time >= since]), 200, JSON)

    COINBASE.serve(server, reply)
    answer = coinbase.candles(COINBASE.series, WINDOW, NOW)
    assert times(answer) == [r.time for r in everything]
    assert [page.covers.end_ms for page in answer.pages][-1] == WINDOW.end_ms
    assert sum(COINBASE.candle_path in target for target in server.asked) == 2


def test_an_exchange_that_ignores_since_says_nothing_of_older_time(kraken, server):
    newest = hours(ms("2026-03-14T06:00"), 29)
    KRAKEN.say(server, KRAKEN.encode(newest))
    answer = kraken.candles(KRAKEN.series, WINDOW, NOW)
    assert [problem.window for problem in answer.problems] == [
        span("2026-03-14", "2026-03-14T06:00")
    ]
    assert isinstance(answer.problems[0].error, NotOffered)
    assert [page.covers for page in answer.pages] == [span("2026-03-14T06:00", "2026-03-15")]
    assert len(times(answer)) == 18


def test_a_window_wholly_before_what_an_exchange_sends_has_no_page(kraken, server):
    KRAKEN.say(server, KRAKEN.encode(hours(ms("2026-03-15"), 10)))
    answer = kraken.candles(KRAKEN.series, span("2026-02-01", "2026-02-02"), NOW)
    assert answer.pages == []
    assert [problem.window for problem in answer.problems] == [span("2026-02-01", "2026-02-02")]


def test_an_hour_without_trades_at_the_start_is_told_by_a_row_before_it(kraken, server):
    """Kraken sends the row before `since` too, when it reaches that far."""
    rows = [row(WINDOW.start_ms - HOUR), *hours(WINDOW.start_ms + 2 * HOUR, 30)]
    KRAKEN.say(server, KRAKEN.encode(rows))
    answer = kraken.candles(KRAKEN.series, WINDOW, NOW)
    assert answer.problems == []
    assert [page.covers for page in answer.pages] == [WINDOW]
    assert len(times(answer)) == 22


def test_digits_are_kept_as_the_exchange_wrote_them(kraken, server):
    digits = "12345678901.12345678"
    KRAKEN.say(
        server, KRAKEN.encode([Row(WINDOW.start_ms, digits, digits, digits, digits, digits)])
    )
    answer = kraken.candles(KRAKEN.series, WINDOW, NOW)
    assert answer.pages[0].candles["open"].to_pylist() == [Decimal(digits)]
    assert answer.pages[0].candles["volume"].to_pylist() == [Decimal(digits)]


# -- errors ----------------------------------------------------------------------------------


def kraken_error(words: str) -> bytes:
    return json.dumps({"error": [words]}).encode()


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("EAPI:Rate limit exceeded", RateLimited),
        ("EGeneral:Too many requests", RateLimited),
        ("EQuery:Invalid asset pair", UnknownSymbol),
    ],
)
def test_errors_under_200_that_concern_everything_are_raised(kraken, server, words, error):
    KRAKEN.say(server, kraken_error(words))
    with pytest.raises(error, match=words):
        kraken.candles(KRAKEN.series, WINDOW, NOW)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("EService:Unavailable", Unavailable),
        ("EService:Busy", Unavailable),
        ("EGeneral:Invalid arguments", BadPayload),
        ("EWhatever:New", BadPayload),
        ("EGeneral:Permission denied", NotOffered),
    ],
)
def test_other_errors_under_200_are_problems(kraken, server, words, error):
    KRAKEN.say(server, kraken_error(words))
    answer = kraken.candles(KRAKEN.series, WINDOW, NOW)
    assert [type(problem.error) for problem in answer.problems] == [error]
    assert words in str(answer.problems[0].error)


def test_a_market_list_that_cannot_be_had_is_a_problem(kraken, server):
    server.answer = lambda path, parameters: Reply(b"<html>busy</html>", 503)
    answer = kraken.candles(KRAKEN.series, WINDOW, NOW)
    assert [type(problem.error) for problem in answer.problems] == [Unavailable]


@pytest.mark.parametrize(
    ("raised", "status", "expected"),
    [
        (ccxt.RateLimitExceeded, 200, RateLimited),
        (ccxt.DDoSProtection, 418, RateLimited),
        (ccxt.ExchangeError, 429, RateLimited),
        (ccxt.ExchangeNotAvailable, 451, GeoBlocked),
        (ccxt.ExchangeNotAvailable, 403, GeoBlocked),
        (ccxt.RestrictedLocation, 200, GeoBlocked),
        (ccxt.ExchangeNotAvailable, 503, Unavailable),
        (ccxt.OnMaintenance, 200, Unavailable),
        (ccxt.RequestTimeout, None, Unavailable),
        (ccxt.NetworkError, None, Unavailable),
        (ccxt.BadSymbol, 400, UnknownSymbol),
        (ccxt.NotSupported, None, NotOffered),
        (ccxt.AuthenticationError, 401, NotOffered),
        (ccxt.BadRequest, 400, BadPayload),
        (ccxt.BadResponse, 200, BadPayload),
        (ccxt.ExchangeError, 200, BadPayload),
        (KeyError, 200, BadPayload),
        (TypeError, 200, BadPayload),
    ],
)
def test_every_error_of_ccxt_is_one_of_ours(raised, status, expected):
    error = error_of(raised("words"), Heard(status), "kraken", "BTCUSD")
    assert type(error) is expected
    assert (error.provider, error.symbol, error.status) == ("kraken", "BTCUSD", status)
    assert "words" in str(error)


def test_the_pace_of_ccxt_is_kept(server):
    source = CcxtExchange("kraken", session=session_to(server), clock=lambda: NOW, sleep=no_sleep)
    assert source._exchange.enableRateLimit is True
    assert source.capabilities.requests_per_minute == 60


def test_a_window_is_one_question_for_as_many_rows_as_it_has_hours(coinbase, server):
    COINBASE.say(server, COINBASE.encode(hours(WINDOW.start_ms, 24)))
    coinbase.candles(COINBASE.series, Window(WINDOW.start_ms, WINDOW.end_ms), NOW)
    asked = [target for target in server.asked if COINBASE.candle_path in target]
    assert len(asked) == 1
    assert "granularity=3600" in asked[0]
