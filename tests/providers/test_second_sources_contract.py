"""The contract of every second source: the same questions to all, of answers in their shapes."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from itertools import pairwise

import pytest

from candlevault.errors import (
    BadPayload,
    GeoBlocked,
    NotOffered,
    RateLimited,
    Unavailable,
    UnknownSymbol,
)
from candlevault.providers.contract import Answer
from candlevault.timeframe import ALL as TIMEFRAMES
from candlevault.windows import Window, merge
from tests.support.market import plain
from tests.support.scripted_http import Reply, scripted_server
from tests.support.second_sources import CANARY, JSON, NOW, SPEAKER, SPEAKERS, Row, Speaker

# pandas warns of what yfinance does.
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")

DAY = 86_400_000


@pytest.fixture(params=SPEAKERS, ids=lambda speaker: speaker.name)
def speaker(request) -> Speaker:
    return request.param


@pytest.fixture
def source(speaker, server):
    return speaker.make(server)


def those(*names: str):
    """Only these of the sources, where the others cannot come into the case."""
    return pytest.mark.parametrize("speaker", [SPEAKER[name] for name in names], ids=names)


def step_of(speaker: Speaker) -> int:
    return speaker.series.timeframe.step_ms


def horizon_of(speaker: Speaker) -> int:
    """The open time of the candle that is forming now."""
    return speaker.series.timeframe.floor(NOW)


def window_of(speaker: Speaker, first: int = -8, end: int = 0) -> Window:
    """The window of candles counted from the forming one."""
    step, horizon = step_of(speaker), horizon_of(speaker)
    return Window(horizon + first * step, horizon + end * step)


def made(time: int) -> Row:
    """A row of its own for each time, with more digits than are stored."""
    unit = time // 60_000 % 9973
    return Row(
        time,
        f"{unit}.500000004",
        f"{unit + 2}.123456785",
        f"{unit}.100000015",
        f"{unit + 1}.25",
        f"{unit + 3}.0",
    )


def rows_in(window: Window, step: int) -> list[Row]:
    return [made(time) for time in range(window.start_ms, window.end_ms, step)]


def expected(speaker: Speaker, rows: list[Row]) -> list[dict]:
    step = step_of(speaker)
    places = Decimal("0.00000001")
    listed = []
    for row in rows:
        values = {name: Decimal(0) for name in ("volume", "quote_volume")}
        if speaker.volume is not None:
            values[speaker.volume] = Decimal(row.volume)
        listed.append(
            {
                "open_time": row.time,
                **{n: Decimal(getattr(row, n)).quantize(places) for n in Row._fields[1:5]},
                **values,
                "taker_buy_base_volume": Decimal(0),
                "taker_buy_quote_volume": Decimal(0),
                "trades_count": 7 if speaker.name == "polygon" else 0,
                "close_time": row.time + step - 1,
            }
        )
    return listed


def rows_of(answer: Answer) -> list[dict]:
    return [row for page in answer.pages for row in plain(page.candles)]


def ask(speaker: Speaker, source, window: Window, closed_before_ms: int = NOW) -> Answer:
    return source.candles(speaker.series, window, closed_before_ms)


def covered(answer: Answer) -> list[Window]:
    return merge(page.covers for page in answer.pages)


def test_every_row_of_the_window_once_exact_and_rounded_half_even(speaker, source, server):
    window = window_of(speaker)
    rows = rows_in(window, step_of(speaker))
    speaker.say(server, speaker.encode(rows))
    answer = ask(speaker, source, window)
    assert rows_of(answer) == expected(speaker, rows)
    assert covered(answer) == [window]
    assert answer.problems == []


def test_rows_outside_the_window_are_dropped(speaker, source, server):
    window = window_of(speaker, -6, -3)
    speaker.say(server, speaker.encode(rows_in(window_of(speaker, -9), step_of(speaker))))
    answer = ask(speaker, source, window)
    assert rows_of(answer) == expected(speaker, rows_in(window, step_of(speaker)))
    assert covered(answer) == [window]


def test_a_forming_last_row_is_dropped_and_not_covered(speaker, source, server):
    speaker.say(server, speaker.encode(rows_in(window_of(speaker, -4, 1), step_of(speaker))))
    answer = ask(speaker, source, window_of(speaker, -4, 3))
    assert rows_of(answer) == expected(speaker, rows_in(window_of(speaker, -4), step_of(speaker)))
    assert covered(answer) == [window_of(speaker, -4)]


def test_a_candle_that_closed_after_the_given_instant_is_dropped(speaker, source, server):
    window = window_of(speaker, -4)
    speaker.say(server, speaker.encode(rows_in(window, step_of(speaker))))
    answer = ask(speaker, source, window, window.end_ms - 1)
    assert rows_of(answer) == expected(
        speaker, rows_in(window_of(speaker, -4, -1), step_of(speaker))
    )


def test_a_row_that_is_not_there_is_not_invented(speaker, source, server):
    window = window_of(speaker)
    rows = [row for i, row in enumerate(rows_in(window, step_of(speaker))) if i not in (3, 4)]
    speaker.say(server, speaker.encode(rows))
    answer = ask(speaker, source, window)
    assert rows_of(answer) == expected(speaker, rows)
    assert covered(answer) == [window]


def test_rows_out_of_order_and_twice_are_put_in_order_once(speaker, source, server):
    window = window_of(speaker, -5)
    rows = rows_in(window, step_of(speaker))
    speaker.say(server, speaker.encode([rows[2], rows[4], rows[0], rows[2], rows[1], rows[3]]))
    assert rows_of(ask(speaker, source, window)) == expected(speaker, rows)


def test_an_empty_answer_is_a_page_without_rows_and_no_error(speaker, source, server):
    speaker.say(server, speaker.empty)
    answer = ask(speaker, source, window_of(speaker))
    assert rows_of(answer) == []
    assert covered(answer) == [window_of(speaker)]
    assert answer.problems == []


def test_a_window_in_the_future_is_answered_by_nothing_and_nobody_is_asked(speaker, source, server):
    answer = ask(speaker, source, Window(NOW + 5 * DAY, NOW + 9 * DAY))
    assert (answer.pages, answer.problems, server.asked) == ([], [], [])


def test_an_end_between_two_open_times_excludes_what_opens_at_or_after_it(speaker, source, server):
    window = window_of(speaker, -6, -2)
    speaker.say(server, speaker.encode(rows_in(window_of(speaker), step_of(speaker))))
    wider = Window(window.start_ms - 1, window.end_ms - step_of(speaker) + 1)
    assert rows_of(ask(speaker, source, wider)) == expected(
        speaker, rows_in(window, step_of(speaker))
    )


def test_an_unknown_symbol_is_raised(speaker, source, server):
    speaker.serve(server, lambda parameters: speaker.unknown)
    symbol = speaker.unknown_symbol or speaker.series.symbol
    with pytest.raises(UnknownSymbol) as raised:
        source.candles(replace(speaker.series, symbol=symbol), window_of(speaker), NOW)
    assert raised.value.provider == speaker.name
    assert not raised.value.transient


# Any name may be a stock.
@those("polygon", "coingecko", "oanda", "yahoo", "kraken", "coinbaseexchange")
def test_a_symbol_that_cannot_be_is_unknown_before_anybody_is_asked(speaker, source, server):
    speaker.say(server, speaker.empty)
    with pytest.raises(UnknownSymbol):
        source.candles(replace(speaker.series, symbol="X1X1XX"), window_of(speaker), NOW)
    assert not any(speaker.candle_path in target for target in server.asked)


def test_a_429_with_a_long_wait_is_raised_with_the_wait(speaker, source, server):
    speaker.say(server, b"slow down", 429, **{"Retry-After": "4000"})
    with pytest.raises(RateLimited) as raised:
        ask(speaker, source, window_of(speaker))
    assert raised.value.retry_after == pytest.approx(4000, abs=5)


@pytest.mark.parametrize("status", [403, 451])
def test_a_refused_address_is_raised(speaker, source, server, status):
    speaker.say(server, b"<html>not from there</html>", status)
    with pytest.raises(GeoBlocked):
        ask(speaker, source, window_of(speaker))


def test_a_server_error_is_tried_again(speaker, source, server):
    rows = rows_in(window_of(speaker), step_of(speaker))
    replies = [Reply(b"<html>busy</html>", 503), Reply(b"<html>busy</html>", 503)]
    speaker.serve(
        server,
        lambda parameters: replies.pop() if replies else Reply(speaker.encode(rows), 200, JSON),
    )
    answer = ask(speaker, source, window_of(speaker))
    assert rows_of(answer) == expected(speaker, rows)
    assert source.traffic.retries == 2
    assert source.traffic.requests == len(server.asked)


def test_a_server_that_stays_broken_is_a_problem_of_the_window(speaker, source, server):
    speaker.say(server, b"<html>busy</html>", 502)
    answer = ask(speaker, source, window_of(speaker))
    assert answer.pages == []
    assert merge(problem.window for problem in answer.problems) == [window_of(speaker)]
    assert all(isinstance(problem.error, Unavailable) for problem in answer.problems)
    assert all(problem.error.transient for problem in answer.problems)


def test_a_server_that_is_not_there_is_a_problem_of_the_window(speaker):
    with scripted_server() as server:
        source = speaker.make(server)
    answer = ask(speaker, source, window_of(speaker))
    assert [type(problem.error) for problem in answer.problems] == [Unavailable]


HOSTILE = {
    "HTML": b"<html><body>Will you accept our cookies?</body></html>",
    "nothing": b"",
    "cut JSON": b'{"results":[',
    "a word": b'"ok"',
    "a number": b"7",
    "null": b"null",
    "deep": b"[" * 100_000,
    "not UTF-8": b'{"a":"\xff\xfe"}',
}


def refused(speaker: Speaker, answer: Answer) -> bool:
    return (
        answer.pages == []
        and [type(problem.error) for problem in answer.problems] == [BadPayload]
        and answer.problems[0].window == window_of(speaker)
        and answer.problems[0].error.provider == speaker.name
    )


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
def test_an_answer_that_is_no_answer_is_refused(speaker, source, server, body):
    speaker.say(server, body)
    assert refused(speaker, ask(speaker, source, window_of(speaker)))


SHAPES = [(one, name) for one in SPEAKERS for name in one.shapes]


@pytest.mark.parametrize(("one", "name"), SHAPES, ids=[f"{o.name}-{n}" for o, n in SHAPES])
def test_an_answer_of_another_shape_is_refused(server, one, name):
    one.say(server, one.shapes[name])
    assert refused(one, ask(one, one.make(server), window_of(one)))


# CoinGecko has no volume, OANDA's is written as a count, and yfinance makes 0 of a missing one.
COLUMNS = [
    (one, column)
    for one in SPEAKERS
    for column in ("open", "high", "low", "close", "volume")
    if column != "volume" or one.name not in ("coingecko", "oanda", "yahoo")
]
NONSENSE = ("NaN", "Infinity", "-1.5", '""', "null", "1e30", "{}")
VALUES = [(one, column, value) for one, column in COLUMNS for value in NONSENSE]
# pandas, through which Yahoo's numbers go, reads true as 1.
VALUES += [(one, column, "true") for one, column in COLUMNS if one.name != "yahoo"]


@pytest.mark.parametrize(
    ("speaker", "column", "value"), VALUES, ids=[f"{o.name}-{c}-{v}" for o, c, v in VALUES]
)
def test_a_value_that_cannot_be_is_refused(speaker, source, server, column, value):
    window = window_of(speaker, -3)
    rows = rows_in(window, step_of(speaker))
    body = speaker.encode([rows[0], rows[1]._replace(**{column: "98765.4321"}), rows[2]])
    for written in (b'"98765.4321"', b"98765.4321"):
        body = body.replace(written, value.encode())
    assert b"98765" not in body
    speaker.say(server, body)
    answer = ask(speaker, source, window)
    assert answer.pages == []
    assert [type(problem.error) for problem in answer.problems] == [BadPayload]


# A day is written as a date.
@those("polygon", "coingecko", "oanda", "kraken", "coinbaseexchange")
def test_rows_off_the_grid_are_refused(speaker, source, server):
    window = window_of(speaker, -4)
    rows = [row._replace(time=row.time + 60_000) for row in rows_in(window, step_of(speaker))]
    speaker.say(server, speaker.encode(rows))
    assert [type(p.error) for p in ask(speaker, source, window).problems] == [BadPayload]


@those("polygon", "oanda", "kraken", "coinbaseexchange")
def test_pages_meet_without_overlap_and_hold_only_what_they_cover(speaker, source, server):
    offer = source.capabilities.timeframes[speaker.series.timeframe.code]
    step = step_of(speaker)
    window = window_of(speaker, -2 * offer.rows - 5, -5)
    rows = rows_in(window, step)
    speaker.say(server, speaker.encode(rows))
    answer = ask(speaker, source, window)
    assert len(answer.pages) > 2
    for earlier, later in pairwise(answer.pages):
        assert earlier.covers.end_ms == later.covers.start_ms
    for page in answer.pages:
        assert all(page.covers.contains(time) for time in page.candles["open_time"].to_pylist())
        assert (page.covers.end_ms - page.covers.start_ms) // step <= offer.rows
    assert rows_of(answer) == expected(speaker, rows)


@those("polygon", "coingecko")
def test_a_window_beyond_the_reach_is_a_problem_that_names_it(speaker, source, server):
    days = source.capabilities.timeframes[speaker.series.timeframe.code].days
    earliest = speaker.series.timeframe.ceil(NOW - days * DAY)
    window = Window(earliest - 5 * DAY, earliest + 2 * step_of(speaker))
    rows = rows_in(window, step_of(speaker))
    speaker.say(server, speaker.encode(rows))
    answer = ask(speaker, source, window)
    assert [problem.window for problem in answer.problems] == [Window(window.start_ms, earliest)]
    assert isinstance(answer.problems[0].error, NotOffered)
    assert f"{days} days" in str(answer.problems[0].error)
    assert rows_of(answer) == expected(speaker, rows[-2:])


@those("polygon", "coingecko")
def test_nobody_is_asked_about_a_window_wholly_beyond_the_reach(speaker, source, server):
    days = source.capabilities.timeframes[speaker.series.timeframe.code].days
    window = Window(NOW - (days + 30) * DAY, NOW - (days + 20) * DAY)
    answer = ask(speaker, source, window)
    assert (answer.pages, server.asked) == ([], [])
    assert isinstance(answer.problems[0].error, NotOffered)


# OANDA has all of them.
@those("polygon", "coingecko", "alphavantage", "yahoo", "kraken", "coinbaseexchange")
def test_a_timeframe_that_it_does_not_have_is_refused_by_name(speaker, source, server):
    with pytest.raises(NotOffered, match="not 1w"):
        source.candles(replace(speaker.series, timeframe=TIMEFRAMES["1w"]), window_of(speaker), NOW)
    assert server.asked == []


def test_a_series_of_another_market_is_refused(speaker, source, server):
    """BTCUSD could be the name of a stock."""
    with pytest.raises(NotOffered, match="not its um"):
        source.candles(replace(speaker.series, market="um"), window_of(speaker), NOW)
    assert server.asked == []


def test_every_page_leads_to_its_fetch(speaker, source, server):
    body = speaker.encode(rows_in(window_of(speaker), step_of(speaker)))
    speaker.say(server, body)
    for page in ask(speaker, source, window_of(speaker)).pages:
        fetch = page.fetch
        assert fetch.provider == source.name == speaker.name
        assert (fetch.symbol, fetch.timeframe) == (
            speaker.series.symbol,
            speaker.series.timeframe.code,
        )
        assert fetch.sha256 == hashlib.sha256(body).hexdigest()
        assert (fetch.bytes, fetch.rows) == (len(body), 8)
        assert isinstance(fetch.fetched_at, datetime)
        assert fetch.fetched_at.tzinfo is not None
        assert speaker.candle_path in fetch.url


def test_an_instrument_is_described(speaker, source, server):
    speaker.say(server, speaker.encode(rows_in(window_of(speaker), step_of(speaker))))
    if speaker.name == "coingecko":
        server.serve_files({"/simple/price": b'{"bitcoin":{"usd":1}}'})
    if speaker.name == "oanda":
        speaker.say(server, speaker.encode([]).replace(b'"H1"', b'"D"'))
    facts = source.instrument(speaker.series.symbol)
    assert facts.symbol == speaker.series.symbol
    assert facts.trading
    assert facts.base_asset in ("BTC", "EUR", "AAPL")
    assert facts.quote_asset in ("USD", "")


def test_an_unknown_instrument_is_raised(speaker, source, server):
    server.answer = lambda path, parameters: (
        Reply(speaker.other[path], headers=JSON)
        if path in speaker.other and "reference" not in path
        else speaker.unknown
    )
    if speaker.name == "coingecko":
        server.serve_files({"/simple/price": b"{}"})
    symbol = "ZZZUSD" if speaker.series.market == "spot" else speaker.series.symbol
    with pytest.raises(UnknownSymbol):
        source.instrument(symbol)


# -- keys ------------------------------------------------------------------------------------

KEYED = [one for one in SPEAKERS if one.name in ("polygon", "coingecko", "alphavantage", "oanda")]


@pytest.fixture(params=KEYED, ids=lambda one: one.name)
def keyed(request) -> Speaker:
    return request.param


def texts(error: BaseException | None) -> str:
    """Everything that a log could show of an error and of those it is chained to."""
    shown = []
    while error is not None:
        shown += [str(error), repr(error), repr(vars(error))]
        error = error.__cause__ or error.__context__
    return "\n".join(shown)


def test_the_key_is_sent_and_shown_nowhere(keyed, server, caplog):
    caplog.set_level("DEBUG")
    keyed.say(server, keyed.encode(rows_in(window_of(keyed), step_of(keyed))))
    source = keyed.make(server)
    answer = ask(keyed, source, window_of(keyed))
    sent = "\n".join(server.asked) + repr(server.headers)
    assert CANARY in sent
    assert rows_of(answer)
    assert CANARY not in repr(answer)
    assert CANARY not in caplog.text
    assert keyed.candle_path in caplog.text


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<html>%b</html>"),
        (200, b'{"Information":"We have detected your API key as %b and we moved"}'),
        (200, b'{"Error Message":"the parameter apikey is invalid or missing: %b"}'),
        (400, b'{"msg":"%b","errorMessage":"%b"}'),
        (401, b'{"error":"Unknown API Key %b","errorMessage":"%b"}'),
        (401, b'{"status":{"error_code":10002,"error_message":"%b"}}'),
        (403, b'{"status":"NOT_AUTHORIZED","message":"%b"}'),
        (404, b"%b"),
        (451, b"%b"),
        (500, b"%b"),
    ],
)
def test_a_key_that_is_repeated_in_an_error_is_shown_nowhere(keyed, server, caplog, status, body):
    caplog.set_level("DEBUG")
    keyed.say(server, body.replace(b"%b", CANARY.encode()), status)
    source = keyed.make(server)
    try:
        answer = ask(keyed, source, window_of(keyed))
    except Exception as error:
        shown = texts(error)
    else:
        assert answer.pages == []
        shown = "".join(texts(problem.error) for problem in answer.problems) + repr(answer)
    assert shown
    assert CANARY not in shown
    assert CANARY not in caplog.text


def test_a_key_is_in_no_error_of_a_connection_that_breaks(keyed, caplog):
    caplog.set_level("DEBUG")
    with scripted_server() as server:
        source = keyed.make(server)
    answer = ask(keyed, source, window_of(keyed))
    shown = "".join(texts(problem.error) for problem in answer.problems)
    assert shown
    assert CANARY not in shown + caplog.text


def test_a_redirect_is_not_followed_with_the_key(keyed, server):
    with scripted_server() as elsewhere:
        keyed.say(server, b"", 302, Location=f"{elsewhere.base_url}/steal")
        answer = ask(keyed, keyed.make(server), window_of(keyed))
        assert elsewhere.asked == []
    assert [type(problem.error) for problem in answer.problems] == [BadPayload]
