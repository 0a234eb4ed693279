"""Yahoo through yfinance: sessions of stocks, live prices, and its reasons for no rows."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from candlevault.errors import (
    BadPayload,
    GeoBlocked,
    NotOffered,
    RateLimited,
    UnknownSymbol,
)
from candlevault.providers.pace import Pace
from candlevault.providers.yahoo import Yahoo, ticker_of
from candlevault.series import Series
from candlevault.series import parse as parse_series
from candlevault.timeframe import ALL as TIMEFRAMES
from candlevault.windows import Window
from tests.support.candles import ms
from tests.support.candles import window as span
from tests.support.scripted_http import Reply
from tests.support.second_sources import JSON, NOW, SPEAKER, Row, no_sleep, session_to, yahoo_answer

# pandas warns of what yfinance does.
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")

MINUTE = 60_000
HOUR = 60 * MINUTE
SERIES = SPEAKER["yahoo"].series
# 2026-03-13 is a Friday in daylight saving time.
OPENS, CLOSES = ms("2026-03-13T13:30"), ms("2026-03-13T20:00")


def yahoo(server, market: str = "stocks", pace: Pace | None = None) -> Yahoo:
    return Yahoo(
        market,
        pace or Pace(10**6),
        session=session_to(server),
        clock=lambda: NOW,
        sleep=no_sleep,
    )


def stock(code: str) -> Series:
    return parse_series("yahoo", "stocks", "AAPL", code)


def row(time: int, price: int = 10) -> Row:
    return Row(time, str(price), str(price + 2), str(price - 1), str(price + 1), "100")


def session_answer(rows: list[Row]) -> Reply:
    """An answer with the hours of trading, as Yahoo gives them with anything below a day."""
    period = {"timezone": "EDT", "start": OPENS // 1000, "end": CLOSES // 1000, "gmtoffset": -14400}
    body = yahoo_answer(
        rows,
        symbol="AAPL",
        instrumentType="EQUITY",
        exchangeTimezoneName="America/New_York",
        tradingPeriods=[[period]],
    )
    return Reply(body, headers=JSON)


def times(answer) -> list[int]:
    return [time for page in answer.pages for time in page.candles["open_time"].to_pylist()]


@pytest.mark.parametrize(
    ("market", "symbol", "ticker"),
    [("crypto", "BTCUSD", "BTC-USD"), ("forex", "EURUSD", "EURUSD=X"), ("stocks", "AAPL", "AAPL")],
)
def test_symbols_become_tickers(market, symbol, ticker):
    assert ticker_of(market, symbol) == ticker


def test_a_coin_in_usdt_is_refused_and_told_what_it_is_called_here():
    with pytest.raises(UnknownSymbol, match="its series is BTCUSD"):
        ticker_of("crypto", "BTCUSDT")


def test_minutes_before_and_after_the_session_are_left_out(server):
    rows = [row(time) for time in range(OPENS - 10 * MINUTE, CLOSES + 10 * MINUTE, 5 * MINUTE)]
    server.answer = lambda path, parameters: session_answer(rows)
    answer = yahoo(server).candles(stock("5m"), span("2026-03-13", "2026-03-14"), NOW)
    assert times(answer) == list(range(OPENS, CLOSES, 5 * MINUTE))
    assert answer.problems == []


def test_half_hours_are_made_of_quarters(server):
    """Yahoo answers a question for 30 minutes with hours."""
    seen = []
    rows = [row(OPENS + i * 15 * MINUTE, 10 + i) for i in range(4)]

    def answer(path: str, parameters: dict) -> Reply:
        seen.append(parameters["interval"])
        return session_answer(rows)

    server.answer = answer
    answered = yahoo(server).candles(stock("30m"), span("2026-03-13", "2026-03-14"), NOW)
    assert seen == ["15m"]
    listed = answered.pages[0].candles.to_pylist()
    assert [one["open_time"] for one in listed] == [OPENS, OPENS + 30 * MINUTE]
    assert [(one["open"], one["high"], one["low"], one["close"]) for one in listed] == [
        (10, 13, 9, 12),
        (12, 15, 11, 14),
    ]
    assert [one["volume"] for one in listed] == [200, 200]


def test_hours_of_stocks_begin_at_half_past_and_are_not_offered(server):
    with pytest.raises(NotOffered, match="of stocks, not 1h"):
        yahoo(server).candles(stock("1h"), span("2026-03-13", "2026-03-14"), NOW)


def test_hours_of_coins_are_offered(server):
    hour = ms("2026-03-13T05:00")
    period = {"timezone": "UTC", "start": ms("2026-03-13") // 1000, "gmtoffset": 0}
    period["end"] = period["start"] + 86_400
    rows = [row(hour), row(hour + HOUR)]
    server.answer = lambda path, parameters: Reply(
        yahoo_answer(rows, tradingPeriods=[[period]]), headers=JSON
    )
    series = replace(SERIES, timeframe=TIMEFRAMES["1h"])
    answer = yahoo(server, "crypto").candles(series, Window(hour, hour + 2 * HOUR), NOW)
    assert times(answer) == [hour, hour + HOUR]


def test_a_live_price_past_the_end_is_no_candle(server):
    days = [row(ms(f"2026-03-{day}")) for day in (11, 12, 13)]
    live = row(ms("2026-03-15T12:31:07"))
    server.answer = lambda path, parameters: Reply(yahoo_answer([*days, live]), headers=JSON)
    answer = yahoo(server, "crypto").candles(SERIES, span("2026-03-11", "2026-03-20"), NOW)
    assert times(answer) == [one.time for one in days]
    assert answer.pages[0].covers == span("2026-03-11", "2026-03-15")


def test_days_are_asked_for_with_a_neighbour_on_each_side(server):
    """In summer a day of a currency begins at 23:00 UTC of the day before."""
    seen = []

    def answer(path: str, parameters: dict) -> Reply:
        seen.append((int(parameters["period1"]) * 1000, int(parameters["period2"]) * 1000))
        rows = [row(ms("2025-07-01T23:00")), row(ms("2025-07-02T23:00"))]
        body = yahoo_answer(
            rows, symbol="EURUSD=X", exchangeTimezoneName="Europe/London", instrumentType="CURRENCY"
        )
        return Reply(body, headers=JSON)

    server.answer = answer
    series = parse_series("yahoo", "forex", "EURUSD", "1d")
    answered = yahoo(server, "forex").candles(series, span("2025-07-02", "2025-07-04"), NOW)
    assert seen == [(ms("2025-07-01"), ms("2025-07-05"))]
    assert times(answered) == [ms("2025-07-02"), ms("2025-07-03")]


def test_a_day_with_nothing_in_it_is_left_out(server):
    rows = [row(ms("2026-03-11")), row(ms("2026-03-12"))]
    body = yahoo_answer(rows)
    for number in (b"[10,10]", b"[12,12]", b"[9,9]", b"[11,11]", b"[100,100]"):
        body = body.replace(number, number.split(b",")[0] + b",null]")
    server.answer = lambda path, parameters: Reply(body, headers=JSON)
    answer = yahoo(server, "crypto").candles(SERIES, span("2026-03-11", "2026-03-13"), NOW)
    assert times(answer) == [ms("2026-03-11")]


def error(description: str) -> bytes:
    chart = {"result": None, "error": {"code": "Bad Request", "description": description}}
    return json.dumps({"chart": chart}).encode()


@pytest.mark.parametrize("status", [200, 400, 422])
def test_a_window_before_the_first_day_is_an_empty_answer(server, status):
    body = error("Data doesn't exist for startDate = 1565740800, endDate = 1596067200")
    server.answer = lambda path, parameters: Reply(body, status, JSON)
    answer = yahoo(server, "crypto").candles(SERIES, span("2010-01-01", "2010-02-01"), NOW)
    assert times(answer) == []
    assert [page.covers for page in answer.pages] == [span("2010-01-01", "2010-02-01")]
    assert answer.problems == []


def test_a_window_that_yahoo_finds_too_old_is_a_problem(server):
    body = error("5m data not available. The requested range must be within the last 60 days.")
    server.answer = lambda path, parameters: Reply(body, 422, JSON)
    series = replace(SERIES, timeframe=TIMEFRAMES["5m"])
    answer = yahoo(server, "crypto").candles(series, span("2026-03-10", "2026-03-11"), NOW)
    assert [type(problem.error) for problem in answer.problems] == [NotOffered]
    assert "within the last 60 days" in str(answer.problems[0].error)


@pytest.mark.parametrize(("code", "days"), [("1m", 7), ("5m", 60), ("30m", 60), ("1h", 730)])
def test_the_reach_of_short_timeframes_is_named_without_asking(server, code, days):
    series = replace(SERIES, timeframe=TIMEFRAMES[code])
    window = span("2020-01-01", "2020-01-02")
    problems = yahoo(server, "crypto").candles(series, window, NOW).problems
    assert [type(problem.error) for problem in problems] == [NotOffered]
    assert f"reaches back {days} days for {code} candles" in str(problems[0].error)
    assert server.asked == []


@pytest.mark.parametrize("status", [429, 999])
def test_too_many_requests_are_a_rate_limit(server, status):
    server.answer = lambda path, parameters: Reply(b"Too Many Requests\r\n", status)
    with pytest.raises(RateLimited) as raised:
        yahoo(server, "crypto").candles(SERIES, span("2026-03-10", "2026-03-12"), NOW)
    assert raised.value.retry_after == 60
    assert len(server.asked) == 1


def test_a_refused_browser_is_a_refused_address(server):
    server.answer = lambda path, parameters: Reply(b'{"finance":{"error":{}}}', 401)
    with pytest.raises(GeoBlocked):
        yahoo(server, "crypto").candles(SERIES, span("2026-03-10", "2026-03-12"), NOW)


def test_a_past_window_is_asked_for_every_time(server):
    """yfinance by itself would answer it from memory."""
    server.answer = lambda path, parameters: Reply(yahoo_answer([]), headers=JSON)
    source = yahoo(server, "crypto")
    for _ in range(3):
        source.candles(SERIES, span("2026-01-10", "2026-01-12"), NOW)
    assert len(server.asked) == 3
    assert all("/v8/finance/chart/" in target for target in server.asked)


def test_every_call_keeps_the_pace(server):
    waits: list[float] = []
    moments = iter(range(100))
    pace = Pace(2, clock=lambda: float(next(moments)), sleep=waits.append)
    server.answer = lambda path, parameters: Reply(yahoo_answer([]), headers=JSON)
    source = yahoo(server, "crypto", pace)
    for _ in range(3):
        source.candles(SERIES, span("2026-01-10", "2026-01-12"), NOW)
    assert len(waits) > 0


def test_what_yfinance_stumbles_over_is_a_bad_payload(server):
    body = yahoo_answer([row(ms("2026-03-11"))]).replace(b'"currency"', b'"money"')
    server.answer = lambda path, parameters: Reply(body, headers=JSON)
    problems = (
        yahoo(server, "crypto").candles(SERIES, span("2026-03-11", "2026-03-12"), NOW).problems
    )
    assert [type(problem.error) for problem in problems] == [BadPayload]
    assert "yfinance cannot read it: KeyError" in str(problems[0].error)
