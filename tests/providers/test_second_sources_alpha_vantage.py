"""Alpha Vantage: what its words mean, how far a free key reaches, and its three markets."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from candlevault.errors import (
    BadPayload,
    KeyMissing,
    NotOffered,
    RateLimited,
    UnknownSymbol,
)
from candlevault.providers.alpha_vantage import AlphaVantage, query_of
from candlevault.series import parse as parse_series
from candlevault.timeframe import to_ms
from candlevault.windows import Window
from tests.support.candles import ms
from tests.support.candles import window as span
from tests.support.scripted_http import Reply
from tests.support.second_sources import CANARY, NOW, SPEAKER, client

DAY = 86_400_000
SERIES = SPEAKER["alphavantage"].series
WINDOW = span("2026-03-01", "2026-03-10")


@pytest.fixture
def source(server) -> AlphaVantage:
    return SPEAKER["alphavantage"].make(server)


def days(count: int, last: str = "2026-03-13") -> dict[str, dict[str, str]]:
    """That many days of trading up to `last`, newest first as they are written."""
    moment = datetime.fromisoformat(last).replace(tzinfo=UTC)
    found: dict[str, dict[str, str]] = {}
    while len(found) < count:
        if moment.weekday() < 5:
            found[f"{moment:%Y-%m-%d}"] = {
                "1. open": "1.5",
                "2. high": "2.0",
                "3. low": "1.0",
                "4. close": "1.25",
                "5. volume": "1000",
            }
        moment -= timedelta(days=1)
    return found


def series_of(name: str, listed: dict, zone: str = "US/Eastern") -> Reply:
    return Reply(json.dumps({"Meta Data": {"5. Time Zone": zone}, name: listed}).encode())


TOO_FAST = (
    "Thank you for using Alpha Vantage! Please consider spreading out your free API requests "
    "more sparingly (1 request per second). You may subscribe to any of the premium plans to "
    "lift the free key rate limit (25 requests per day)"
)
MINUTE_SPENT = (
    "Thank you for using Alpha Vantage! Our standard API call frequency is 5 calls per minute "
    "and 25 calls per day. Please visit our premium page."
)
DAY_SPENT = (
    "We have detected your API key as ABC and our standard API rate limit is 25 requests per "
    "day. Please subscribe to any of the premium plans"
)
NO_KEY = "the parameter apikey is invalid or missing. Please claim your free API key."
NO_SYMBOL = "Invalid API call. Please retry or visit the documentation for TIME_SERIES_DAILY."


@pytest.mark.parametrize(
    ("key", "words", "error", "wait_s"),
    [
        ("Information", TOO_FAST, RateLimited, 2),
        ("Note", MINUTE_SPENT, RateLimited, 60),
        ("Information", DAY_SPENT, RateLimited, 3600),
        ("Note", DAY_SPENT, RateLimited, 3600),
        ("Error Message", NO_KEY, KeyMissing, None),
        ("Information", NO_KEY, KeyMissing, None),
        ("Error Message", NO_SYMBOL, UnknownSymbol, None),
    ],
)
def test_words_under_200_are_the_errors_that_they_mean(server, key, words, error, wait_s):
    http = client("alphavantage", max_wait_s=1)
    source = AlphaVantage("stocks", http, base_url=server.base_url, clock=lambda: NOW)
    server.answer = lambda path, parameters: Reply(json.dumps({key: words}).encode())
    with pytest.raises(error) as raised:
        source.candles(SERIES, WINDOW, NOW)
    assert words[:40] in str(raised.value)
    if wait_s is not None:
        assert raised.value.retry_after == pytest.approx(wait_s, abs=0.5)


@pytest.mark.parametrize(
    "words",
    [
        "Thank you for using Alpha Vantage! This is a premium endpoint. You may subscribe",
        "the outputsize=full parameter value is a premium feature for the endpoint",
    ],
)
def test_what_only_a_premium_key_gets_is_a_problem(source, server, words):
    server.answer = lambda path, parameters: Reply(json.dumps({"Information": words}).encode())
    problems = source.candles(SERIES, WINDOW, NOW).problems
    assert [type(problem.error) for problem in problems] == [NotOffered]


def test_a_call_too_soon_after_another_is_made_again(source, server):
    server.replies += [Reply(b'{"Information":"more sparingly (1 request per second)"}')]
    server.answer = lambda path, parameters: series_of("Time Series (Daily)", days(5))
    assert len(source.candles(SERIES, WINDOW, NOW).pages) == 1
    assert source.traffic.retries == 1


def test_a_hundred_rows_are_all_that_a_free_key_gets_and_older_days_a_problem(source, server):
    listed = days(100)
    server.answer = lambda path, parameters: series_of("Time Series (Daily)", listed)
    oldest = ms(min(listed))
    answer = source.candles(SERIES, Window(oldest - 50 * DAY, ms("2026-03-14")), NOW)
    assert [problem.window for problem in answer.problems] == [Window(oldest - 50 * DAY, oldest)]
    assert isinstance(answer.problems[0].error, NotOffered)
    assert "latest 100 days" in str(answer.problems[0].error)
    assert [page.covers for page in answer.pages] == [Window(oldest, ms("2026-03-14"))]
    assert len(answer.pages[0].candles) == 100
    assert oldest < NOW - 130 * DAY


def test_a_window_wholly_before_the_hundred_rows_is_only_a_problem(source, server):
    server.answer = lambda path, parameters: series_of("Time Series (Daily)", days(100))
    window = span("2024-01-01", "2024-02-01")
    answer = source.candles(SERIES, window, NOW)
    assert answer.pages == []
    assert [problem.window for problem in answer.problems] == [window]


def test_fewer_rows_are_all_that_there_is_of_a_young_stock(source, server):
    server.answer = lambda path, parameters: series_of("Time Series (Daily)", days(99))
    window = span("2024-01-01", "2026-03-14")
    answer = source.candles(SERIES, window, NOW)
    assert answer.problems == []
    assert [page.covers for page in answer.pages] == [window]


def test_one_call_answers_any_window(source, server):
    server.answer = lambda path, parameters: series_of("Time Series (Daily)", days(99))
    source.candles(SERIES, span("2020-01-01", "2026-03-14"), NOW)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("market", "symbol", "query"),
    [
        ("stocks", "AAPL", {"function": "TIME_SERIES_DAILY", "symbol": "AAPL"}),
        ("forex", "EURUSD", {"function": "FX_DAILY", "from_symbol": "EUR", "to_symbol": "USD"}),
        (
            "crypto",
            "BTCUSD",
            {"function": "DIGITAL_CURRENCY_DAILY", "symbol": "BTC", "market": "USD"},
        ),
    ],
)
def test_each_market_has_a_function_of_its_own(market, symbol, query):
    asked = query_of(market, symbol)
    assert query.items() <= asked.items()
    # The whole history is not free.
    assert asked.get("outputsize", "compact") == "compact"


@pytest.mark.parametrize(
    ("market", "symbol", "name"),
    [
        ("forex", "EURUSD", "Time Series FX (Daily)"),
        ("crypto", "BTCUSD", "Time Series (Digital Currency Daily)"),
    ],
)
def test_days_of_another_time_zone_are_refused(server, market, symbol, name):
    source = AlphaVantage(
        market, client("alphavantage"), base_url=server.base_url, clock=lambda: NOW
    )
    series = parse_series("alphavantage", market, symbol, "1d")
    server.answer = lambda path, parameters: series_of(name, days(9), "UTC")
    assert len(source.candles(series, WINDOW, NOW).pages[0].candles) == 5
    server.answer = lambda path, parameters: series_of(name, days(9), "GMT+8")
    problems = source.candles(series, WINDOW, NOW).problems
    assert [type(problem.error) for problem in problems] == [BadPayload]


def test_a_day_without_volume_has_none(server):
    source = AlphaVantage(
        "forex", client("alphavantage"), base_url=server.base_url, clock=lambda: NOW
    )
    listed = {date: {k: v for k, v in one.items() if k[0] != "5"} for date, one in days(9).items()}
    server.answer = lambda path, parameters: series_of("Time Series FX (Daily)", listed, "UTC")
    series = parse_series("alphavantage", "forex", "EURUSD", "1d")
    table = source.candles(series, WINDOW, NOW).pages[0].candles
    assert set(table["volume"].to_pylist()) == {0}
    assert table["open_time"].to_pylist()[0] == to_ms(datetime(2026, 3, 3, tzinfo=UTC))


def test_the_key_goes_into_the_query_and_into_no_url_that_is_shown(source, server):
    server.answer = lambda path, parameters: series_of("Time Series (Daily)", days(9))
    answer = source.candles(SERIES, WINDOW, NOW)
    assert f"apikey={CANARY}" in server.asked[0]
    assert CANARY not in answer.pages[0].fetch.url
    assert "apikey" not in answer.pages[0].fetch.url
    assert "function=TIME_SERIES_DAILY" in answer.pages[0].fetch.url
