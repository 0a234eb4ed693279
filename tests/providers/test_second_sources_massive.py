"""Massive: what is asked, answers that go on, plans without today, and unknown tickers."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from candlevault.errors import BadPayload, KeyMissing, NotOffered, UnknownSymbol
from candlevault.providers.capabilities import POLYGON
from candlevault.providers.massive import Massive, ticker_of
from candlevault.series import parse as parse_series
from candlevault.timeframe import ALL as TIMEFRAMES
from candlevault.windows import Window
from tests.support.candles import ms
from tests.support.candles import window as span
from tests.support.scripted_http import Reply, scripted_server
from tests.support.second_sources import NOW, SPEAKER, Row, client, polygon_answer

HOUR = 3_600_000
SERIES = SPEAKER["polygon"].series
REFUSED = b'{"status":"NOT_AUTHORIZED","message":"Your plan doesn\'t include this data timeframe."}'
UNKNOWN = Reply(b'{"status":"NOT_FOUND","message":"Ticker not found."}', 404)


@pytest.fixture
def source(server) -> Massive:
    return SPEAKER["polygon"].make(server)


def row(time: int, price: str = "10") -> Row:
    return Row(time, price, price, price, price, "1")


def hours(window: Window) -> list[Row]:
    return [row(time) for time in range(window.start_ms, window.end_ms, HOUR)]


def range_of(target: str) -> tuple[int, int]:
    """First and last instant that a question asks for."""
    return tuple(int(part) for part in urlsplit(target).path.split("/")[-2:])


@pytest.mark.parametrize(
    ("market", "symbol", "ticker"),
    [
        ("crypto", "BTCUSD", "X:BTCUSD"),
        ("crypto", "DOTUSD", "X:DOTUSD"),
        ("crypto", "1INCHUSD", "X:1INCHUSD"),
        ("forex", "EURUSD", "C:EURUSD"),
        ("stocks", "AAPL", "AAPL"),
    ],
)
def test_symbols_become_tickers(market, symbol, ticker):
    assert ticker_of(market, symbol) == ticker


@pytest.mark.parametrize("quote", ["USDT", "USDC", "FDUSD"])
def test_a_coin_in_a_stablecoin_is_refused_and_told_what_it_is_called_here(quote):
    with pytest.raises(UnknownSymbol, match=rf"in USD, not in {quote}: its series is BTCUSD"):
        ticker_of("crypto", f"BTC{quote}")


@pytest.mark.parametrize("symbol", ["USD", "USDT", "BTC", "BTCEUR"])
def test_a_coin_without_dollars_is_refused(symbol):
    with pytest.raises(UnknownSymbol):
        ticker_of("crypto", symbol)


@pytest.mark.parametrize("symbol", ["EUR", "EURUSDX", "EURUS1"])
def test_what_is_no_pair_of_currencies_is_refused(symbol):
    with pytest.raises(UnknownSymbol):
        ticker_of("forex", symbol)


@pytest.mark.parametrize("code", [code for code in POLYGON.timeframes if code != "1d"])
def test_no_question_needs_more_bars_than_the_limit_counts(source, server, code):
    """The limit counts minutes, whatever the timeframe: 4h would be cut after 208 candles."""
    server.answer = lambda path, parameters: Reply(polygon_answer([row(ms("2026-01-01"))]))
    series = replace(SERIES, timeframe=TIMEFRAMES[code])
    source.candles(series, span("2025-11-03", "2026-03-01"), NOW)
    asked = [range_of(target) for target in server.asked]
    assert all((last + 1 - first) / 60_000 <= 43_200 for first, last in asked)
    assert asked[0][0] == ms("2025-11-03")
    assert asked[-1][1] == ms("2026-03-01") - 1
    assert [first for first, _ in asked[1:]] == [last + 1 for _, last in asked[:-1]]
    assert all("limit=50000" in target and "adjusted=false" in target for target in server.asked)


def test_an_answer_that_goes_on_is_asked_anew_from_its_last_row(source, server):
    """The last row of such an answer may be cut; the address of the rest may lead anywhere."""
    window = span("2026-03-01", "2026-03-01T08:00")
    with scripted_server() as elsewhere:

        def answer(path: str, parameters: dict) -> Reply:
            first, last = range_of(path)
            rows = hours(Window(first, last + 1))
            if len(rows) <= 3:
                return Reply(polygon_answer(rows))
            cut = [*rows[:2], row(rows[2].time, "9")]
            return Reply(polygon_answer(cut, next_url=f"{elsewhere.base_url}/v2/aggs/next"))

        server.answer = answer
        answered = source.candles(SERIES, window, NOW)
        assert elsewhere.asked == []
    prices = [price for page in answered.pages for price in page.candles["open"].to_pylist()]
    assert prices == [10] * 8
    assert answered.problems == []
    starts = [page.covers.start_ms for page in answered.pages]
    assert starts == [window.start_ms + step * HOUR for step in (0, 2, 4, 6)]


@pytest.mark.parametrize("rows", [[], [row(ms("2026-03-01"))], [row(ms("2026-02-01"))]])
def test_an_answer_that_goes_on_without_getting_on_is_refused(source, server, rows):
    server.answer = lambda path, parameters: Reply(
        polygon_answer(rows, next_url="https://api.massive.com/x")
    )
    answered = source.candles(SERIES, span("2026-03-01", "2026-03-02"), NOW)
    assert [type(problem.error) for problem in answered.problems] == [BadPayload]
    assert len(server.asked) == 1


def test_a_plan_without_today_gives_the_days_before_and_a_problem_for_today(source, server):
    today = ms("2026-03-15")

    def answer(path: str, parameters: dict) -> Reply:
        first, last = range_of(path)
        if last >= today:
            return Reply(REFUSED, 403)
        return Reply(polygon_answer(hours(Window(first, last + 1))))

    server.answer = answer
    answered = source.candles(SERIES, span("2026-03-14T20:00", "2026-03-15T12:00"), NOW)
    assert [page.covers for page in answered.pages] == [span("2026-03-14T20:00", "2026-03-15")]
    assert [len(page.candles) for page in answered.pages] == [4]
    assert [problem.window for problem in answered.problems] == [
        span("2026-03-15", "2026-03-15T12:00")
    ]
    assert isinstance(answered.problems[0].error, NotOffered)
    assert "doesn't include this data timeframe" in str(answered.problems[0].error)


def test_before_five_in_the_morning_utc_it_is_still_yesterday_in_new_york(server):
    now = ms("2026-03-15T04:30")
    source = Massive("crypto", client("polygon"), base_url=server.base_url, clock=lambda: now)

    def answer(path: str, parameters: dict) -> Reply:
        first, last = range_of(path)
        if last >= ms("2026-03-14"):
            return Reply(REFUSED, 403)
        return Reply(polygon_answer(hours(Window(first, last + 1))))

    server.answer = answer
    answered = source.candles(SERIES, span("2026-03-13", "2026-03-15T04:00"), now)
    assert [page.covers for page in answered.pages] == [span("2026-03-13", "2026-03-14")]


def test_what_the_plan_does_not_have_at_all_is_a_problem_and_asked_once(source, server):
    server.answer = lambda path, parameters: Reply(REFUSED, 403)
    answered = source.candles(SERIES, span("2025-03-20", "2025-03-21"), NOW)
    assert [type(problem.error) for problem in answered.problems] == [NotOffered]
    assert len(server.asked) == 1


def test_no_rows_of_a_ticker_that_is_not_listed_are_an_unknown_symbol(source, server):
    empty = SPEAKER["polygon"].empty
    server.answer = lambda path, parameters: Reply(empty) if "/aggs/" in path else UNKNOWN
    with pytest.raises(UnknownSymbol):
        source.candles(SERIES, span("2026-03-01", "2026-03-02"), NOW)


def test_the_list_is_asked_once_for_a_ticker_without_trades(source, server):
    speaker = SPEAKER["polygon"]
    speaker.say(server, speaker.empty)
    for day in ("2026-03-01", "2026-03-05", "2026-03-08"):
        start = ms(day)
        assert source.candles(SERIES, Window(start, start + 5 * HOUR), NOW).problems == []
    assert sum("/reference/" in target for target in server.asked) == 1


def test_a_list_that_does_not_answer_leaves_the_question_open(source, server):
    """Without it, silence about an unknown ticker would look like hours without trades."""
    empty = SPEAKER["polygon"].empty
    server.answer = lambda path, parameters: (
        Reply(empty) if "/aggs/" in path else Reply(b"<html>", 200)
    )
    answered = source.candles(SERIES, span("2026-03-01", "2026-03-02"), NOW)
    assert answered.pages == []
    assert [type(problem.error) for problem in answered.problems] == [BadPayload]


def test_an_inactive_ticker_does_not_trade(source, server):
    server.answer = lambda path, parameters: Reply(
        b'{"status":"OK","results":{"ticker":"X:BTCUSD","active":false,'
        b'"base_currency_symbol":"BTC","currency_symbol":"USD"}}'
    )
    facts = source.instrument("BTCUSD")
    assert (facts.status, facts.trading, facts.venue_symbol) == ("INACTIVE", False, "X:BTCUSD")


def test_numbers_with_exponents_and_delayed_answers_are_read(source, server):
    body = polygon_answer(
        [Row(ms("2026-03-01"), "1e4", "1.00000000055e4", "9.9e3", "1E4", "1.5e-7")]
    )
    server.answer = lambda path, parameters: Reply(body.replace(b'"OK"', b'"DELAYED"'))
    answered = source.candles(SERIES, span("2026-03-01", "2026-03-01T01:00"), NOW)
    values = answered.pages[0].candles.to_pylist()[0]
    assert [str(values[name]) for name in ("open", "high", "low", "volume")] == [
        "10000.00000000",
        "10000.00000550",
        "9900.00000000",
        "1.5E-7",
    ]


def test_a_refused_key_names_the_connection(source, server):
    server.answer = lambda path, parameters: Reply(
        b'{"status":"ERROR","error":"Unknown API Key"}', 401
    )
    with pytest.raises(
        KeyMissing, match=r"Unknown API Key.*Connection candlevault_polygon"
    ) as raised:
        source.candles(SERIES, span("2026-03-01", "2026-03-02"), NOW)
    assert raised.value.connection == "candlevault_polygon"
    assert not raised.value.transient


def test_the_key_goes_into_a_header(source, server):
    server.answer = lambda path, parameters: Reply(polygon_answer([row(ms("2026-03-01"))]))
    source.candles(SERIES, span("2026-03-01", "2026-03-01T01:00"), NOW)
    assert server.headers[0]["Authorization"].startswith("Bearer CaNaRy")
    assert "apiKey" not in server.asked[0]


def test_days_of_stocks_are_asked_for_by_date(server):
    source = Massive("stocks", client("polygon"), base_url=server.base_url, clock=lambda: NOW)
    server.answer = lambda path, parameters: Reply(
        b'{"ticker":"AAPL","status":"OK","results":[{"o":1,"h":1,"l":1,"c":1,"v":1,"t":1772514000000}]}'
    )
    series = parse_series("polygon", "stocks", "AAPL", "1d")
    answered = source.candles(series, span("2026-03-02", "2026-03-07"), NOW)
    assert urlsplit(server.asked[0]).path.endswith("/AAPL/range/1/day/2026-03-02/2026-03-06")
    # 05:00 UTC is midnight in New York.
    assert answered.pages[0].candles["open_time"].to_pylist() == [ms("2026-03-03")]


def test_minutes_of_stocks_keep_their_instant(server):
    source = Massive("stocks", client("polygon"), base_url=server.base_url, clock=lambda: NOW)
    start = ms("2026-03-03T14:30")
    server.answer = lambda path, parameters: Reply(
        b'{"ticker":"AAPL","status":"OK","results":[{"o":1,"h":1,"l":1,"c":1,"v":1,"t":%d}]}'
        % start
    )
    series = parse_series("polygon", "stocks", "AAPL", "1m")
    answered = source.candles(series, span("2026-03-03", "2026-03-04"), NOW)
    assert answered.pages[0].candles["open_time"].to_pylist() == [start]
