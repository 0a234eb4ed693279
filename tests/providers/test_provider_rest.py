"""Binance REST: pages on a fixed grid, closed candles only, nothing that was not asked for."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from candlevault.errors import (
    BadPayload,
    GeoBlocked,
    NotPublished,
    RateLimited,
    Unavailable,
    UnknownSymbol,
)
from candlevault.providers.binance_rest import BinanceRest
from candlevault.windows import Window
from tests.support.candles import series
from tests.support.market import (
    DAY,
    HOUR,
    ReplayFiles,
    SimulatedVenue,
    client,
    grid,
    made,
    ms,
    plain,
    simulated,
    span,
    values_at,
    venue_at,
)
from tests.support.scripted_http import Reply, ScriptedServer

BTC = series("1h")
FIRST, LAST = ms("2024-01-01"), ms("2024-06-01")
HOLE = span("2024-02-03T04:00", "2024-02-03T09:00")
NOW = LAST + 20 * 60_000


@pytest.fixture(scope="module")
def replay(tmp_path_factory):
    files = ReplayFiles(tmp_path_factory.mktemp("replay"))
    hours = [t for t in range(FIRST, LAST + HOUR, HOUR) if not HOLE.contains(t)]
    files.write("BTCUSDT", hours)
    with simulated(files.root, NOW) as venue:
        yield venue


@pytest.fixture
def venue(replay: SimulatedVenue) -> SimulatedVenue:
    replay.heal()
    replay.at(NOW)
    replay.forget()
    return replay


def rest_at(base_url: str, **options) -> BinanceRest:
    return BinanceRest(base_url, "binance_rest", client("binance_rest", **options))


def ask(venue: SimulatedVenue, window: Window, closed_before_ms: int = NOW):
    return venue_at(venue.base_url).rest.candles(BTC, window, closed_before_ms)


def opened(answer) -> list[int]:
    return [t for page in answer.pages for t in page.candles["open_time"].to_pylist()]


def covered(answer) -> list[Window]:
    return [page.covers for page in answer.pages]


# -- paging ----------------------------------------------------------------------------------


def test_a_window_is_answered_candle_by_candle_in_order(venue):
    window = span("2024-01-10", "2024-01-12")
    answer = ask(venue, window)
    [page] = answer.pages
    assert plain(page.candles) == plain(made(grid(window)))
    assert (page.covers, answer.problems) == (window, [])
    assert page.fetch.rows == 48
    assert page.fetch.url.startswith(venue.base_url)


def test_a_long_window_is_cut_into_pages_of_a_thousand_on_a_fixed_grid(venue):
    window = Window(FIRST, FIRST + 3 * 1000 * HOUR)
    cuts = {page.start_ms for page in covered(ask(venue, window))} - {FIRST}
    later = Window(FIRST + 77 * HOUR, FIRST + 3 * 1000 * HOUR)
    assert {page.start_ms for page in covered(ask(venue, later))} - {later.start_ms} == cuts
    assert all(cut % (1000 * HOUR) == 0 for cut in cuts)


def test_no_candle_is_lost_or_doubled_at_the_boundary_of_a_page(venue):
    boundary = next(t for t in range(FIRST, LAST, HOUR) if t % (1000 * HOUR) == 0)
    window = Window(boundary - 2 * HOUR, boundary + 2 * HOUR)
    answer = ask(venue, window)
    assert opened(answer) == grid(window)
    assert covered(answer) == [
        Window(window.start_ms, boundary),
        Window(boundary, window.end_ms),
    ]


def test_a_hole_is_answered_by_silence_inside_a_covered_page(venue):
    window = span("2024-02-03", "2024-02-04")
    answer = ask(venue, window)
    assert covered(answer) == [window]
    assert opened(answer) == [t for t in grid(window) if not HOLE.contains(t)]


def test_an_empty_answer_is_no_error(venue):
    answer = ask(venue, Window(HOLE.start_ms, HOLE.end_ms))
    [page] = answer.pages
    assert page.candles.num_rows == 0
    assert answer.problems == []


def test_ends_between_two_open_times_are_rounded_up(venue):
    window = Window(ms("2024-01-10T00:20"), ms("2024-01-10T03:20"))
    assert opened(ask(venue, window)) == [ms(f"2024-01-10T0{h}:00") for h in (1, 2, 3)]


# -- closed and forming ----------------------------------------------------------------------


def test_the_forming_candle_is_never_answered(venue):
    answer = ask(venue, Window(LAST - 3 * HOUR, LAST + DAY))
    assert opened(answer) == [LAST - 3 * HOUR, LAST - 2 * HOUR, LAST - HOUR]
    assert covered(answer) == [Window(LAST - 3 * HOUR, LAST)]


def test_a_candle_that_closed_after_the_instant_given_is_not_answered(venue):
    answer = ask(venue, Window(LAST - 3 * HOUR, LAST), closed_before_ms=LAST - HOUR - 1)
    assert opened(answer) == [LAST - 3 * HOUR]


def test_the_future_is_not_asked_for(venue):
    assert ask(venue, Window(LAST + DAY, LAST + 2 * DAY)).pages == []
    assert venue.asked() == {}


# -- an imperfect venue ------------------------------------------------------------------------


def test_a_page_that_fails_is_a_problem_of_its_part_and_the_others_are_answered(venue):
    window = Window(FIRST, FIRST + 2500 * HOUR)
    pages = covered(ask(venue, window))
    venue.fault("500", match=f"startTime={pages[1].start_ms}&")
    answer = ask(venue, window)
    [problem] = answer.problems
    assert problem.window == pages[1]
    assert isinstance(problem.error, Unavailable)
    assert covered(answer) == [pages[0], *pages[2:]]


@pytest.mark.parametrize(
    ("kind", "error"), [("451", GeoBlocked), ("403", GeoBlocked), ("418", RateLimited)]
)
def test_what_concerns_the_whole_address_is_raised(venue, kind, error):
    more = {"retry_after": 100_000} if kind == "418" else {}
    venue.fault(kind, **more)
    with pytest.raises(error):
        ask(venue, span("2024-01-10", "2024-01-12"))


@pytest.mark.parametrize("kind", ["html", "empty", "cut_body", "503", "429"])
def test_a_passing_fault_costs_no_candle(venue, kind):
    window = span("2024-01-10", "2024-01-12")
    more = {"status": 500} if kind in ("html", "empty") else {}
    venue.fault(kind, times=2, **more)
    assert opened(ask(venue, window)) == grid(window)


@pytest.mark.parametrize("kind", ["html", "empty", "error200"])
def test_a_success_without_a_page_of_rows_is_bad_payload(venue, kind):
    venue.fault(kind)
    [problem] = ask(venue, span("2024-01-10", "2024-01-12")).problems
    assert isinstance(problem.error, BadPayload)


def test_duplicated_and_reversed_rows_are_handed_on_as_they_came(venue):
    """What to do about them is the judge's business; nothing is lost here."""
    window = span("2024-01-10", "2024-01-10T04:00")
    venue.fault("reversed")
    assert opened(ask(venue, window)) == grid(window)[::-1]
    venue.heal()
    venue.fault("duplicate_rows")
    assert opened(ask(venue, window)) == [*grid(window), grid(window)[-1]]


def rows(*open_times: int) -> Reply:
    found = []
    for time in open_times:
        row = values_at(time)
        amounts = [str(row[n]) for n in ("open", "high", "low", "close", "volume")]
        rest = [str(row[n]) for n in ("taker_buy_base_volume", "taker_buy_quote_volume")]
        found.append([time, *amounts, row["close_time"], str(row["quote_volume"]), 5, *rest, "0"])
    return Reply(json.dumps(found).encode())


@pytest.mark.parametrize("outside", [FIRST - HOUR, FIRST + 4 * HOUR, 0, 10**15])
def test_rows_outside_the_window_refuse_the_page(server, outside):
    server.answer = lambda path, parameters: rows(FIRST, outside)
    window = Window(FIRST, FIRST + 4 * HOUR)
    answer = rest_at(server.base_url).candles(BTC, window, NOW)
    assert answer.pages == []
    [problem] = answer.problems
    assert isinstance(problem.error, BadPayload)
    assert problem.window == window


@pytest.mark.parametrize("cap", [1, 40, 499])
def test_a_silent_cap_below_the_limit_asked_for_is_followed_up(server, cap):
    def answer(path, parameters):
        start, end = int(parameters["startTime"]), int(parameters["endTime"])
        inside = [t for t in range(FIRST, LAST, HOUR) if start <= t <= end]
        return rows(*inside[: min(cap, int(parameters["limit"]))])

    server.answer = answer
    window = Window(FIRST, FIRST + (20 if cap == 1 else 900) * HOUR)
    found = rest_at(server.base_url).candles(BTC, window, NOW)
    assert opened(found) == grid(window)
    assert found.problems == []
    parts = covered(found)
    assert (parts[0].start_ms, parts[-1].end_ms) == (window.start_ms, window.end_ms)
    assert all(a.end_ms == b.start_ms for a, b in pairwise(parts))


def test_a_page_that_ends_in_a_hole_is_asked_once_more_and_then_believed(server):
    server.answer = lambda path, parameters: (
        rows(FIRST) if int(parameters["startTime"]) == FIRST else Reply(b"[]")
    )
    window = Window(FIRST, FIRST + 10 * HOUR)
    found = rest_at(server.base_url).candles(BTC, window, NOW)
    assert covered(found) == [Window(FIRST, FIRST + HOUR), Window(FIRST + HOUR, window.end_ms)]
    assert len(server.asked) == 2


def test_a_venue_that_repeats_a_page_for_ever_is_refused(server):
    server.answer = lambda path, parameters: rows(FIRST)
    found = rest_at(server.base_url).candles(BTC, Window(FIRST, FIRST + 10 * HOUR), NOW)
    assert isinstance(found.problems[0].error, BadPayload)
    assert len(server.asked) == 2


def test_limit_is_always_sent(server):
    server.answer = lambda path, parameters: Reply(b"[]")
    rest_at(server.base_url).candles(BTC, Window(FIRST, FIRST + HOUR), NOW)
    [target] = server.asked
    assert target == (
        f"/api/v3/klines?symbol=BTCUSDT&interval=1h&startTime={FIRST}"
        f"&endTime={FIRST + HOUR - 1}&limit=1000"
    )


# -- facts -------------------------------------------------------------------------------------


def test_the_venues_clock(venue):
    assert venue_at(venue.base_url).server_time_ms() == NOW


@pytest.mark.parametrize(
    "body",
    [b"{}", b"[]", b"null", b'{"serverTime": "1"}', b'{"serverTime": true}', b"<html>",
     b'{"serverTime": 0}', b'{"serverTime": 1.5}', b'{"serverTime": ' + b"9" * 5000 + b"}",
     b"[" * 100_000],
)  # fmt: skip
def test_a_clock_that_is_not_a_positive_whole_number_is_refused(server, body):
    server.answer = lambda path, parameters: Reply(body)
    with pytest.raises(BadPayload):
        rest_at(server.base_url).server_time_ms()


def test_an_unknown_symbol_is_said_so(venue):
    with pytest.raises(UnknownSymbol):
        venue_at(venue.base_url).instrument("NOSUCHUSDT")
    with pytest.raises(UnknownSymbol):
        venue_at(venue.base_url).rest.candles(
            series("1h", "NOSUCHUSDT"), span("2024-01-10", "2024-01-12"), NOW
        )


def test_an_instrument_is_described(venue):
    facts = venue_at(venue.base_url).instrument("BTCUSDT")
    assert (facts.symbol, facts.base_asset, facts.quote_asset) == ("BTCUSDT", "BTC", "USDT")
    assert (facts.status, facts.trading) == ("TRADING", True)


def test_an_exchange_info_about_another_symbol_is_not_believed(server):
    body = json.dumps({"symbols": [{"symbol": "ETHUSDT", "status": "TRADING"}, "BTCUSDT", None]})
    server.answer = lambda path, parameters: Reply(body.encode())
    with pytest.raises(UnknownSymbol):
        rest_at(server.base_url).instrument("BTCUSDT")


def test_a_wrong_path_is_not_an_unknown_symbol(server):
    with pytest.raises(NotPublished):
        rest_at(server.base_url).instrument("BTCUSDT")


def test_the_first_and_last_candle_and_the_nearest_ones(venue):
    at = venue_at(venue.base_url)
    assert at.first_candle(BTC).open_time_ms == FIRST
    assert at.last_candle(BTC).open_time_ms == LAST
    assert at.first_candle(BTC, HOLE.start_ms).open_time_ms == HOLE.end_ms
    assert at.last_candle(BTC, HOLE.end_ms).open_time_ms == HOLE.start_ms - HOUR
    assert at.first_candle(BTC, NOW + DAY).open_time_ms is None
    assert at.last_candle(BTC, FIRST).open_time_ms is None


def test_more_than_the_one_row_asked_for_is_refused(server: ScriptedServer):
    server.answer = lambda path, parameters: rows(FIRST, FIRST + HOUR)
    with pytest.raises(BadPayload, match="not the one row"):
        rest_at(server.base_url).first_candle(BTC)
    server.answer = lambda path, parameters: rows(FIRST)
    for ask_for in (
        lambda rest: rest.first_candle(BTC, FIRST + HOUR),
        lambda rest: rest.last_candle(BTC, FIRST),
    ):
        with pytest.raises(BadPayload, match="not the one row"):
            ask_for(rest_at(server.base_url))
