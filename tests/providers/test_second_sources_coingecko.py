"""CoinGecko: how many days are asked for, which coin is meant, and its refusals."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from candlevault.errors import BadPayload, KeyMissing, NotOffered, UnknownSymbol
from candlevault.providers.coingecko import COIN_IDS, CoinGecko
from candlevault.timeframe import ALL as TIMEFRAMES
from candlevault.windows import Window
from tests.support.scripted_http import Reply
from tests.support.second_sources import NOW, SPEAKER, client

HOUR = 3_600_000
DAY = 24 * HOUR
SERIES = SPEAKER["coingecko"].series


@pytest.fixture
def source(server) -> CoinGecko:
    return SPEAKER["coingecko"].make(server)


def rows(step: int, first: int, count: int) -> list[list[float]]:
    """Rows of a candle each `step`, stamped with their ends as CoinGecko stamps them."""
    return [[first + (i + 1) * step, 1, 2, 0.5, 1.5] for i in range(count)]


def body(listed: list) -> Reply:
    return Reply(json.dumps(listed).encode())


@pytest.mark.parametrize(
    ("code", "age_hours", "days"),
    [
        ("30m", 5, "1"),
        ("30m", 23, "1"),
        ("30m", 30, "2"),
        ("30m", 47, "2"),
        ("4h", 8, "7"),
        ("4h", 160, "7"),
        ("4h", 180, "14"),
        ("4h", 350, "30"),
        ("4h", 700, "30"),
    ],
)
def test_as_few_days_are_asked_for_as_give_this_timeframe(source, server, code, age_hours, days):
    """`days` decides how long a candle is; one day of 4h would be half hours."""
    seen = []

    def answer(path: str, parameters: dict) -> Reply:
        seen.append(parameters)
        return body([])

    server.answer = answer
    start = NOW - age_hours * HOUR
    source.candles(replace(SERIES, timeframe=TIMEFRAMES[code]), Window(start, NOW), NOW)
    assert [one["days"] for one in seen] == [days]
    assert seen[0]["vs_currency"] == "usd"


def test_the_time_of_a_row_is_the_end_of_its_candle(source, server):
    frame = SERIES.timeframe
    first = frame.floor(NOW) - 4 * frame.step_ms
    server.answer = lambda path, parameters: body(rows(frame.step_ms, first, 4))
    answer = source.candles(SERIES, Window(first, NOW), NOW)
    assert answer.pages[0].candles["open_time"].to_pylist() == [
        first + i * frame.step_ms for i in range(4)
    ]


def test_a_last_row_stamped_with_the_present_is_the_forming_one(source, server):
    frame = SERIES.timeframe
    first = frame.floor(NOW) - 4 * frame.step_ms
    listed = [*rows(frame.step_ms, first, 4), [NOW - 600_000, 1, 2, 0.5, 1.5]]
    server.answer = lambda path, parameters: body(listed)
    answer = source.candles(SERIES, Window(first, NOW), NOW)
    assert len(answer.pages[0].candles) == 4
    assert answer.problems == []


def test_a_row_stamped_in_between_is_refused(source, server):
    frame = SERIES.timeframe
    first = frame.floor(NOW) - 6 * frame.step_ms
    listed = rows(frame.step_ms, first, 6)
    listed[2][0] += 1_000
    server.answer = lambda path, parameters: body(listed)
    problems = source.candles(SERIES, Window(first, NOW), NOW).problems
    assert [type(problem.error) for problem in problems] == [BadPayload]


@pytest.mark.parametrize("step_hours", [1, 96])
def test_candles_of_another_length_are_never_taken_for_these(source, server, step_hours):
    """Candles of four days lie on the grid of four hours too."""
    listed = rows(step_hours * HOUR, SERIES.timeframe.floor(NOW) - 20 * DAY, 4)
    server.answer = lambda path, parameters: body(listed)
    problems = source.candles(SERIES, Window(NOW - 25 * DAY, NOW), NOW).problems
    assert [type(problem.error) for problem in problems] == [BadPayload]
    assert "where 4h were asked for" in str(problems[0].error)


# -- which coin ------------------------------------------------------------------------------

COINS = [
    {"id": "pepe", "symbol": "pepe", "name": "Pepe"},
    {"id": "turbo", "symbol": "turbo", "name": "Turbo"},
    {"id": "another-turbo", "symbol": "turbo", "name": "Turbo too"},
    {"id": "bridged-bitcoin", "symbol": "btc", "name": "Bitcoin of another chain"},
]


def with_list(server, listed: object = COINS) -> None:
    server.answer = lambda path, parameters: body(listed if path == "/coins/list" else [])


def test_a_common_coin_is_known_without_asking(source, server):
    assert source.coin_id("BTCUSD") == "bitcoin"
    assert server.asked == []


def test_another_coin_is_looked_up_once(source, server):
    with_list(server)
    assert [source.coin_id("PEPEUSD") for _ in range(3)] == ["pepe"] * 3
    assert server.asked == ["/coins/list"]


@pytest.mark.parametrize(
    ("symbol", "why"),
    [("TURBOUSD", "2 coins are called TURBO"), ("ZZZUSD", "no coin is called ZZZ")],
)
def test_a_coin_that_cannot_be_told_is_unknown(source, server, symbol, why):
    with_list(server)
    with pytest.raises(UnknownSymbol, match=why):
        source.candles(replace(SERIES, symbol=symbol), Window(NOW - DAY, NOW), NOW)


def test_a_coin_in_usdt_is_refused_and_told_what_it_is_called_here(source):
    with pytest.raises(UnknownSymbol, match="its series is BTCUSD"):
        source.candles(replace(SERIES, symbol="BTCUSDT"), Window(NOW - DAY, NOW), NOW)


@pytest.mark.parametrize("listed", [{}, [1], "x"])
def test_a_list_of_another_shape_is_refused(source, server, listed):
    with_list(server, listed)
    with pytest.raises(BadPayload):
        source.coin_id("PEPEUSD")


def test_the_ids_of_the_table_are_of_one_coin_each():
    assert len(set(COIN_IDS.values())) == len(COIN_IDS)
    assert all(name.isupper() or name.isdigit() for name in COIN_IDS)


# -- refusals --------------------------------------------------------------------------------


def refusal(code: int, nested: bool = False) -> Reply:
    status = {"status": {"timestamp": "x", "error_code": code, "error_message": "Words."}}
    return Reply(json.dumps({"error": status} if nested else status).encode(), 401)


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(
    ("code", "error"),
    [(10002, KeyMissing), (10010, KeyMissing), (10011, KeyMissing), (None, KeyMissing)],
)
def test_a_refused_key_names_the_connection(source, server, code, error, nested):
    server.answer = lambda path, parameters: refusal(code, nested)
    with pytest.raises(error, match=r"Words\..*Connection candlevault_coingecko"):
        source.candles(SERIES, Window(NOW - DAY, NOW), NOW)


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("code", [10005, 10012])
def test_what_the_plan_does_not_have_is_a_problem(source, server, code, nested):
    server.answer = lambda path, parameters: refusal(code, nested)
    problems = source.candles(SERIES, Window(NOW - DAY, NOW), NOW).problems
    assert [type(problem.error) for problem in problems] == [NotOffered]


def test_without_a_key_none_is_sent(server):
    source = CoinGecko("crypto", client("coingecko"), base_url=server.base_url, clock=lambda: NOW)
    server.answer = lambda path, parameters: body([])
    source.candles(SERIES, Window(NOW - DAY, NOW), NOW)
    assert "x-cg-demo-api-key" not in server.headers[0]


def test_with_a_key_it_goes_into_a_header(source, server):
    server.answer = lambda path, parameters: body([])
    source.candles(SERIES, Window(NOW - DAY, NOW), NOW)
    assert server.headers[0]["x-cg-demo-api-key"].startswith("CaNaRy")
