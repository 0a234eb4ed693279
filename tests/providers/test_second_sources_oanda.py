"""OANDA: alignment to UTC in every question, and its errors."""

from __future__ import annotations

from dataclasses import replace

import pytest

from candlevault.errors import BadPayload, KeyMissing, UnknownSymbol
from candlevault.providers.capabilities import OANDA
from candlevault.providers.oanda import Oanda, instrument_of
from candlevault.timeframe import ALL as TIMEFRAMES
from candlevault.windows import Window
from tests.support.candles import ms
from tests.support.candles import window as span
from tests.support.scripted_http import Reply
from tests.support.second_sources import NOW, SPEAKER, Row

SERIES = SPEAKER["oanda"].series
WINDOW = span("2026-03-02", "2026-03-03")


@pytest.fixture
def source(server) -> Oanda:
    return SPEAKER["oanda"].make(server)


@pytest.mark.parametrize("code", TIMEFRAMES)
def test_every_question_is_aligned_to_utc(source, server, code):
    """Otherwise days begin at 17:00 in New York and weeks on Friday."""
    seen = []

    def answer(path: str, parameters: dict) -> Reply:
        seen.append(parameters)
        return Reply(b"{}")

    server.answer = answer
    source.candles(
        replace(SERIES, timeframe=TIMEFRAMES[code]), span("2026-02-02", "2026-02-09"), NOW
    )
    assert seen
    for parameters in seen:
        assert parameters["dailyAlignment"] == "0"
        assert parameters["alignmentTimezone"] == "UTC"
        assert parameters["weeklyAlignment"] == "Monday"
        assert parameters["price"] == "M"
        assert "count" not in parameters
    assert seen[0]["from"] == "2026-02-02T00:00:00Z"
    assert seen[-1]["to"] == "2026-02-09T00:00:00Z"
    assert {one["granularity"] for one in seen} == {OANDA.timeframes[code].name}


def test_a_week_begins_on_monday(source, server):
    monday = ms("2026-02-02")
    rows = [Row(monday, "1.1", "1.2", "1.0", "1.15", "10")]
    body = SPEAKER["oanda"].encode(rows).replace(b'"H1"', b'"W"')
    server.answer = lambda path, parameters: Reply(body)
    week = replace(SERIES, timeframe=TIMEFRAMES["1w"])
    answer = source.candles(week, span("2026-02-01", "2026-02-10"), NOW)
    assert answer.pages[0].candles["open_time"].to_pylist() == [monday]


def test_a_week_that_begins_on_friday_is_refused(source, server):
    rows = [Row(ms("2026-02-06"), "1.1", "1.2", "1.0", "1.15", "10")]
    body = SPEAKER["oanda"].encode(rows).replace(b'"H1"', b'"W"')
    server.answer = lambda path, parameters: Reply(body)
    week = replace(SERIES, timeframe=TIMEFRAMES["1w"])
    problems = source.candles(week, span("2026-02-02", "2026-02-16"), NOW).problems
    assert [type(problem.error) for problem in problems] == [BadPayload]


def test_an_incomplete_candle_is_dropped_even_if_the_clock_says_it_closed(source, server):
    time = WINDOW.start_ms
    rows = [Row(time + i * 3_600_000, "1.1", "1.2", "1.0", "1.15", "10") for i in range(3)]
    body = SPEAKER["oanda"].encode(rows)
    server.answer = lambda path, parameters: Reply(
        body.replace(b'"complete": true', b'"complete": false', 1)
    )
    page = source.candles(SERIES, WINDOW, NOW).pages[0]
    assert page.candles["open_time"].to_pylist() == [time + 3_600_000, time + 7_200_000]


def test_the_volume_counts_ticks(source, server):
    body = SPEAKER["oanda"].encode([Row(WINDOW.start_ms, "1.1", "1.2", "1.0", "1.15", "132")])
    server.answer = lambda path, parameters: Reply(body)
    assert source.candles(SERIES, WINDOW, NOW).pages[0].candles["volume"].to_pylist() == [132]


def test_no_question_can_be_answered_by_more_than_5000_candles(source, server):
    server.answer = lambda path, parameters: Reply(b"{}")
    minutes = replace(SERIES, timeframe=TIMEFRAMES["1m"])
    answer = source.candles(minutes, span("2026-01-01", "2026-02-01"), NOW)
    for problem in answer.problems:
        assert problem.window.end_ms - problem.window.start_ms < 5_000 * 60_000


@pytest.mark.parametrize("symbol", ["EUR", "EURUSDT", "BTCUSDT", "AAPL"])
def test_what_is_no_pair_of_currencies_is_unknown(symbol):
    with pytest.raises(UnknownSymbol):
        instrument_of(symbol)


def test_a_refused_key_names_the_connection(source, server):
    server.answer = lambda path, parameters: Reply(
        b'{"errorMessage":"Insufficient authorization to perform request."}', 401
    )
    with pytest.raises(KeyMissing, match=r"Insufficient.*Connection candlevault_oanda"):
        source.candles(SERIES, WINDOW, NOW)


def test_another_refusal_is_a_problem_with_its_words(source, server):
    server.answer = lambda path, parameters: Reply(
        b'{"errorMessage":"Maximum value for \'count\' exceeded"}', 400
    )
    problems = source.candles(SERIES, Window(WINDOW.start_ms, WINDOW.end_ms), NOW).problems
    assert [type(problem.error) for problem in problems] == [BadPayload]
    assert "Maximum value" in str(problems[0].error)
