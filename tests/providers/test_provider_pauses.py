"""A pause: months without any file between months with files are answered by the listing."""

from __future__ import annotations

import hashlib

import pytest

from candlevault.errors import BadPayload, GeoBlocked, NotPublished, RateLimited, Unavailable
from candlevault.providers.binance_archive import LATE_MS
from candlevault.series import Series, parse
from candlevault.windows import Window, merge
from tests.support.candles import series
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

HOURS, WEEKS = series("1h"), series("1w")
FUTURES = parse("binance", "um", "BTCUSDT", "1h")
FIRST, LAST = ms("2022-08-10"), ms("2023-06-01")
PAUSE = span("2022-09-29T07:00", "2023-03-12T05:00")
SILENT = span("2022-10-01", "2023-03-01")
"""The months without a candle."""
NOW = ms("2023-06-20")


@pytest.fixture(scope="module")
def replay(tmp_path_factory):
    files = ReplayFiles(tmp_path_factory.mktemp("replay"))
    hours = [t for t in range(FIRST, LAST, HOUR) if not PAUSE.contains(t)]
    files.write("BTCUSDT", hours)
    files.write("BTCUSDT", hours, market="um")
    weeks = grid(span("2022-08-15", "2023-05-29"), 7 * DAY)
    files.write("BTCUSDT", [t for t in weeks if not PAUSE.contains(t)], "1w")
    with simulated(files.root, NOW) as venue:
        yield venue


@pytest.fixture
def venue(replay: SimulatedVenue) -> SimulatedVenue:
    replay.heal()
    replay.exchange.restatements.clear()
    replay.at(NOW)
    replay.forget()
    return replay


def ask(venue: SimulatedVenue, window: Window, of: Series = HOURS, closed_before_ms: int = NOW):
    return venue_at(venue.base_url, of.market).archive.candles(of, window, closed_before_ms)


def empty_pages(answer) -> list:
    return [page for page in answer.pages if not page.candles.num_rows]


def opened(answer) -> list[int]:
    return [t for page in answer.pages for t in page.candles["open_time"].to_pylist()]


@pytest.mark.parametrize("of", [HOURS, FUTURES], ids=["spot", "um"])
def test_the_months_of_a_pause_are_one_empty_page_whose_source_is_the_listing(venue, of):
    answer = ask(venue, Window(FIRST, LAST), of)
    [page] = empty_pages(answer)
    assert page.covers == SILENT
    assert answer.problems == []
    assert merge(page.covers for page in answer.pages) == [Window(FIRST, LAST)]
    rows = [row for page in answer.pages for row in plain(page.candles)]
    assert rows == plain(made(t for t in range(FIRST, LAST, HOUR) if not PAUSE.contains(t)))
    fetch = page.fetch
    assert (fetch.provider, fetch.rows) == (
        venue_at("", of.market).archive.name,
        0,
    )
    assert fetch.url.startswith(f"{venue.base_url}/archive-listing?")
    assert (fetch.symbol, fetch.timeframe) == ("BTCUSDT", "1h")


def test_the_source_is_the_hash_and_size_of_all_pages_of_the_listing(venue):
    [page] = empty_pages(ask(venue, span("2022-12-01", "2023-01-01")))
    bodies = b""
    at = venue_at(venue.base_url).archive
    for kind in ("monthly", "daily"):
        prefix = f"data/spot/{kind}/klines/BTCUSDT/1h/"
        params = {"delimiter": "/", "prefix": prefix}
        bodies += at._http.get(f"{venue.base_url}/archive-listing", params).body
    assert page.fetch.sha256 == hashlib.sha256(bodies).hexdigest()
    assert page.fetch.bytes == len(bodies)


def test_the_listing_is_asked_for_once_however_many_months_are_silent(venue):
    ask(venue, Window(FIRST, LAST))
    days = (SILENT.end_ms - SILENT.start_ms) // DAY
    # August to May are ten months, of which five are silent and asked by days; two kinds of
    # files to list.
    assert venue.asked() == {
        "archive.listing": 2,
        "archive.zip": 10 + days,
        "archive.checksum": 5,
    }


def test_where_nothing_is_silent_the_listing_is_not_asked_for(venue):
    answer = ask(venue, span("2023-04-01", "2023-05-01"))
    assert answer.problems == []
    assert "archive.listing" not in venue.asked()


def test_only_the_part_of_the_window_is_covered(venue):
    window = span("2022-11-10T05:00", "2022-12-24T17:00")
    answer = ask(venue, window)
    assert [page.covers for page in answer.pages] == [window]


def test_weeks_are_silent_by_months(venue):
    answer = ask(venue, span("2022-10-01", "2023-03-01"), WEEKS)
    [page] = answer.pages
    assert (page.covers, page.candles.num_rows, answer.problems) == (SILENT, 0, [])
    assert venue.asked() == {"archive.listing": 1, "archive.zip": 5}


def test_before_the_first_and_after_the_last_file_nothing_is_said(venue):
    for window in (span("2022-05-01", "2022-07-01"), span("2022-05-01", "2022-06-15")):
        answer = ask(venue, window)
        assert answer.pages == []
        assert all(isinstance(problem.error, NotPublished) for problem in answer.problems)
        assert merge(problem.window for problem in answer.problems) == [window]
    venue.at("2023-12-20")
    after = ask(venue, span("2023-07-01", "2023-09-01"), closed_before_ms=ms("2023-12-20"))
    assert after.pages == []
    assert merge(p.window for p in after.problems) == [span("2023-07-01", "2023-09-01")]


def test_silence_before_the_first_file_and_a_pause_are_told_apart(venue):
    answer = ask(venue, span("2022-07-01", "2022-11-01"))
    assert [page.covers for page in empty_pages(answer)] == [span("2022-10-01", "2022-11-01")]
    # The days of August before the listing lie in a month that has a file.
    assert merge(problem.window for problem in answer.problems) == [
        span("2022-07-01", "2022-08-01")
    ]


@pytest.mark.parametrize(("late_ms", "believed"), [(LATE_MS + 1, True), (LATE_MS, False)])
def test_a_month_counts_as_never_published_only_long_after_its_end(venue, late_ms, believed):
    """Asked at that time, the archive had files after February: a month may come late."""
    window = span("2023-02-01", "2023-03-01")
    closed_before_ms = window.end_ms + late_ms
    answer = ask(venue, window, closed_before_ms=closed_before_ms)
    assert bool(answer.pages) == believed
    assert bool(answer.problems) != believed
    assert ("archive.listing" in venue.asked()) == believed


def test_days_that_have_files_are_read_where_only_the_monthly_file_is_missing(venue):
    window = span("2023-04-01", "2023-05-01")
    venue.fault("drop_rows", match="monthly", start="2023-04-01T00:00Z", end="2023-05-01T00:00Z")
    answer = ask(venue, window)
    assert opened(answer) == grid(window)
    assert len(answer.pages) == 30
    assert [(p.window, type(p.error)) for p in answer.problems] == [(window, NotPublished)]
    assert "archive.listing" not in venue.asked()


def test_of_a_month_that_has_files_for_some_days_only_the_others_are_silent(venue):
    window = span("2023-04-01", "2023-05-01")
    venue.fault("drop_rows", match="monthly", start="2023-04-01T00:00Z", end="2023-05-01T00:00Z")
    venue.fault("drop_rows", match="daily", start="2023-04-10T00:00Z", end="2023-04-20T00:00Z")
    answer = ask(venue, window)
    [page] = empty_pages(answer)
    assert page.covers == span("2023-04-10", "2023-04-20")
    assert opened(answer) == [t for t in grid(window) if not page.covers.contains(t)]
    assert [page.covers for page in answer.pages] == sorted(page.covers for page in answer.pages)
    assert [problem.window for problem in answer.problems] == [window]


def test_a_file_that_is_listed_but_not_served_is_no_silence(venue):
    venue.fault("html", match=r"archive/.*2023-04", status=404)
    answer = ask(venue, span("2023-04-01", "2023-05-01"))
    assert answer.pages == []
    assert venue.asked()["archive.listing"] == 2
    assert {type(problem.error) for problem in answer.problems} == {NotPublished}


@pytest.mark.parametrize("kind", ["bad_checksum", "503"])
def test_a_file_that_cannot_be_read_is_no_silence(venue, kind):
    """Its month or its days may be missing; only when both are, the listing is asked."""
    venue.fault(kind, match=r"archive/.*monthly.*2023-04")
    venue.fault("html", match=r"archive/.*daily.*2023-04", status=404)
    answer = ask(venue, span("2023-04-01", "2023-05-01"))
    assert answer.pages == []
    assert "archive.listing" not in venue.asked()


def test_a_day_whose_file_was_not_answered_for_is_left_open_in_a_pause(venue):
    venue.fault("503", match=r"archive/.*daily.*2022-11-05")
    window = span("2022-11-01", "2022-12-01")
    answer = ask(venue, window)
    assert [page.covers for page in answer.pages] == [
        span("2022-11-01", "2022-11-05"),
        span("2022-11-06", "2022-12-01"),
    ]
    assert [(type(p.error), p.window) for p in answer.problems] == [
        (NotPublished, window),
        (Unavailable, span("2022-11-05", "2022-11-06")),
    ]


@pytest.mark.parametrize(
    ("kind", "error"), [("503", Unavailable), ("html", BadPayload), ("403", GeoBlocked)]
)
def test_without_a_listing_a_pause_stays_a_problem_with_its_cause(venue, kind, error):
    venue.fault(kind, match="archive-listing")
    answer = ask(venue, Window(FIRST, LAST))
    assert empty_pages(answer) == []
    causes = [problem for problem in answer.problems if type(problem.error) is error]
    assert [problem.window for problem in causes] == [SILENT]
    unpublished = [p.window for p in answer.problems if isinstance(p.error, NotPublished)]
    assert merge(unpublished) == [SILENT]


def test_a_long_pause_of_the_listing_is_raised(venue):
    venue.fault("429", match="archive-listing", retry_after=100_000)
    with pytest.raises(RateLimited):
        ask(venue, Window(FIRST, LAST))
