"""The contract of every provider of both markets: the same questions, the same answers."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise

import pytest

from candlevault.errors import GeoBlocked, ProviderError, RateLimited
from candlevault.series import Series, parse
from candlevault.windows import Window, merge
from tests.support.market import (
    DAY,
    HOUR,
    ReplayFiles,
    SimulatedVenue,
    grid,
    made,
    ms,
    plain,
    simulated,
    span,
    venue_at,
)

FIRST, LAST = ms("2024-01-01"), ms("2024-05-10T10:00")
NOW = LAST + 20 * 60_000
HOLE = span("2024-02-03T04:00", "2024-02-03T09:00")
STEPS = {"1h": HOUR, "1d": DAY}


@pytest.fixture(scope="module")
def replay(tmp_path_factory):
    files = ReplayFiles(tmp_path_factory.mktemp("replay"))
    hours = [t for t in range(FIRST, LAST + HOUR, HOUR) if not HOLE.contains(t)]
    for market in ("spot", "um"):
        files.write("BTCUSDT", hours, market=market)
        files.write("BTCUSDT", range(FIRST, LAST, DAY), "1d", market=market)
    with simulated(files.root, NOW) as venue:
        yield venue


@pytest.fixture
def venue(replay: SimulatedVenue) -> SimulatedVenue:
    replay.heal()
    replay.forget()
    return replay


@pytest.fixture(params=["spot", "um"])
def market(request) -> str:
    return request.param


@pytest.fixture(params=["archive", "rest"])
def provider(request, venue, market):
    return getattr(venue_at(venue.base_url, market), request.param)


@pytest.fixture
def hours(market) -> Series:
    return parse("binance", market, "BTCUSDT", "1h")


def rows(answer) -> list[dict]:
    return [row for page in answer.pages for row in plain(page.candles)]


@pytest.mark.parametrize("code", STEPS)
@pytest.mark.parametrize(
    "window",
    [
        span("2024-01-10", "2024-01-11"),
        span("2024-01-31", "2024-02-02"),
        span("2024-02-03", "2024-02-04"),
        span("2024-01-01", "2024-05-01"),
        span("2023-12-20", "2024-01-03"),
    ],
    ids=["a day", "two months", "a hole", "everything", "before the listing"],
)
def test_every_candle_of_the_window_once_ascending_and_exact(provider, market, window, code):
    step = STEPS[code]
    answer = provider.candles(parse("binance", market, "BTCUSDT", code), window, NOW)
    expected = [
        t for t in grid(window, step) if t >= FIRST and not (code == "1h" and HOLE.contains(t))
    ]
    assert rows(answer) == plain(made(expected, step))


def test_an_end_between_two_open_times_excludes_what_opens_at_or_after_it(provider, hours):
    window = Window(ms("2024-01-10T00:00"), ms("2024-01-10T03:00") + 1)
    times = [row["open_time"] for row in rows(provider.candles(hours, window, NOW))]
    assert times == [ms(f"2024-01-10T0{h}:00") for h in range(4)]


def test_pages_do_not_overlap_and_hold_only_what_they_cover(provider, hours):
    answer = provider.candles(hours, span("2024-01-15", "2024-04-15"), NOW)
    for earlier, later in pairwise(answer.pages):
        assert earlier.covers.end_ms <= later.covers.start_ms
    for page in answer.pages:
        assert all(page.covers.contains(t) for t in page.candles["open_time"].to_pylist())
    assert merge(page.covers for page in answer.pages) == [span("2024-01-15", "2024-04-15")]


def test_a_forming_candle_is_never_answered(provider, hours):
    answer = provider.candles(hours, Window(LAST - 30 * HOUR, LAST + DAY), NOW)
    assert all(row["open_time"] + HOUR <= NOW for row in rows(answer))
    assert all(page.covers.end_ms <= NOW for page in answer.pages)


def test_a_window_in_the_future_is_answered_by_nothing(provider, venue, hours):
    answer = provider.candles(hours, Window(NOW + DAY, NOW + 2 * DAY), NOW)
    assert (answer.pages, answer.problems) == ([], [])


def test_every_page_leads_to_its_fetch(provider, hours):
    for page in provider.candles(hours, span("2024-01-30", "2024-02-05"), NOW).pages:
        fetch = page.fetch
        assert fetch.provider == provider.name
        assert (fetch.symbol, fetch.timeframe) == ("BTCUSDT", "1h")
        assert fetch.rows >= page.candles.num_rows
        assert isinstance(fetch.fetched_at, datetime)
        assert fetch.fetched_at.tzinfo is not None
        assert int(fetch.sha256, 16)


def test_a_failure_is_a_problem_of_its_part_never_a_shorter_answer(provider, venue, hours):
    venue.fault("503")
    window = span("2024-01-10", "2024-01-12")
    answer = provider.candles(hours, window, NOW)
    assert answer.pages == []
    assert merge(problem.window for problem in answer.problems) == [window]
    assert all(isinstance(problem.error, ProviderError) for problem in answer.problems)


@pytest.mark.parametrize(("kind", "error"), [("451", GeoBlocked), ("429", RateLimited)])
def test_what_concerns_the_whole_address_is_raised(provider, venue, kind, error, hours):
    venue.fault(kind, **({"retry_after": 100_000} if kind == "429" else {}))
    with pytest.raises(error):
        provider.candles(hours, span("2024-01-10", "2024-01-12"), NOW)


def test_a_429_is_waited_out_and_the_retry_is_counted(provider, venue, hours):
    venue.fault("429", times=1, retry_after=1)
    window = span("2024-01-10", "2024-01-12")
    assert len(rows(provider.candles(hours, window, NOW))) == 48
    assert provider.traffic.retries == 1


def test_requests_are_counted(provider, venue, hours):
    provider.candles(hours, span("2024-01-10", "2024-01-12"), NOW)
    assert provider.traffic.requests == sum(venue.asked().values())
