"""Funding rates of a window: every event once, exact, from whoever serves it."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

import pytest

from candlevault.errors import UnknownSymbol
from candlevault.providers.binance_funding import CALLS_PER_MINUTE, BinanceFunding
from candlevault.providers.registry import home_venue
from candlevault.windows import Window
from tests.support.funding_venue import (
    BTC,
    EIGHT,
    FIRST,
    NOW,
    OLD,
    covered,
    events_of,
    expected,
    provider,
    replay,
    rest_at,
    row_of,
    venue,
)
from tests.support.market import HOUR, client, span
from tests.support.scripted_http import Reply

__all__ = ["provider", "replay", "venue"]


@pytest.mark.parametrize(
    "window",
    [
        span("2023-01-01", "2023-01-02"),
        span("2023-02-01T08:00", "2023-02-01T16:00"),
        span("2022-06-01", "2023-01-02"),
        span("2024-04-28", "2024-05-05"),
        span("2023-01-01", "2024-06-19"),
        span("2023-03-01T01:00", "2023-03-01T07:00"),
    ],
    ids=["a day", "bounds", "before the listing", "hourly", "everything", "between two"],
)
def test_every_event_of_the_window_once_ascending_and_exact(provider, window):
    pages = provider.funding("BTCUSDT", window, NOW)
    assert covered(pages) == window
    assert events_of(pages) == expected(BTC, window)


def test_an_event_at_the_start_of_the_window_is_in_it_and_one_at_its_end_is_not(provider):
    """Both bounds of the question are inclusive, and these events are told on the dot."""
    first, second = [t for t, _, _ in BTC if t % HOUR == 0][3:5]
    window = Window(first, second)
    found = [event.time_ms for event in events_of(provider.funding("BTCUSDT", window, NOW))]
    assert found[0] == first
    assert second not in found


def test_pages_are_followed_up_until_one_is_short(provider, venue):
    window = Window(FIRST, NOW)
    pages = provider.funding("BTCUSDT", window, NOW)
    # More than a hundred may always have been cut.
    assert [len(page.events) for page in pages] == [1000, len(expected(BTC, window)) - 1000, 0]
    assert covered(pages) == window
    assert venue.asked() == {"um.fundingRate": 3}


def test_an_event_at_a_page_boundary_is_in_one_page(provider):
    window = Window(FIRST, NOW)
    first, second = provider.funding("BTCUSDT", window, NOW)[:2]
    assert first.covers.end_ms == first.events[-1].time_ms + 1 == second.covers.start_ms
    assert second.events[0].time_ms > first.events[-1].time_ms


def test_a_venue_that_cuts_answers_shorter_than_asked_is_followed_up(server):
    rates = [(FIRST + n * EIGHT, f"0.{n:08d}") for n in range(450)]

    def answer(path, parameters):
        start, end = int(parameters["startTime"]), int(parameters["endTime"])
        found = [row for row in rates if start <= row[0] <= end][:100]
        return Reply(json.dumps([row_of(*row) for row in found]).encode())

    server.answer = answer
    window = Window(FIRST, FIRST + 450 * EIGHT)
    pages = rest_at(server).funding("BTCUSDT", window, NOW)
    assert [len(page.events) for page in pages] == [100, 100, 100, 100, 50]
    assert covered(pages) == window
    assert {parse_qs(urlsplit(asked).query)["limit"][0] for asked in server.asked} == {"1000"}


def test_every_page_leads_to_its_fetch(provider):
    for page in provider.funding("BTCUSDT", Window(FIRST, NOW), NOW):
        assert page.fetch.provider == "binance_um_rest"
        assert (page.fetch.symbol, page.fetch.timeframe) == ("BTCUSDT", "funding")
        assert page.fetch.rows == len(page.events)
        assert f"startTime={page.covers.start_ms}&" in page.fetch.url
        assert len(page.fetch.sha256) == 64


def test_a_window_without_events_is_believed_of_a_symbol_that_has_had_some(provider, venue):
    window = span("2022-01-01", "2022-06-01")
    [page] = provider.funding("BTCUSDT", window, NOW)
    assert (page.covers, page.events) == (window, ())
    [page] = provider.funding("OLDUSDT", span("2024-01-01", "2024-06-01"), NOW)
    assert page.events == ()
    assert venue.asked() == {"um.fundingRate": 4}


def test_silence_about_a_symbol_that_never_had_any_proves_nothing(server):
    """An answer may be empty because the symbol is not known."""
    server.answer = lambda path, parameters: Reply(b"[]")
    with pytest.raises(UnknownSymbol, match="no funding of it at any time"):
        rest_at(server).funding("NOSUCHUSDT", span("2024-01-01", "2024-01-02"), NOW)
    last = parse_qs(urlsplit(server.asked[-1]).query)
    assert last == {"symbol": ["NOSUCHUSDT"], "limit": ["1"]}


def test_every_question_to_rest_waits_for_its_turn(server):
    turns = []
    server.answer = lambda path, parameters: Reply(b"[]")
    provider = BinanceFunding(
        server.base_url, "binance_um_rest", client(), turn=lambda: turns.append(len(server.asked))
    )
    with pytest.raises(UnknownSymbol):
        provider.funding("BTCUSDT", span("2024-01-01", "2024-01-02"), NOW)
    assert turns == [0, 1]
    # 500 calls in five minutes are allowed.
    assert 5 * CALLS_PER_MINUTE < 500


# -- who serves it ------------------------------------------------------------------------------


def test_the_home_venue_has_funding_for_perpetual_futures_only(monkeypatch, venue):
    monkeypatch.setenv("CANDLEVAULT_BINANCE_FUTURES_URL", venue.base_url)
    monkeypatch.setenv("CANDLEVAULT_BINANCE_ARCHIVE_URL", f"{venue.base_url}/archive")
    monkeypatch.setenv("CANDLEVAULT_BINANCE_LISTING_URL", f"{venue.base_url}/archive-listing")
    assert home_venue("binance", "spot").funding is None
    provider = home_venue("binance", "um").funding
    window = span("2023-02-01", "2023-02-03")
    for symbol, rates, marks in (("BTCUSDT", BTC, True), ("GONEUSDT", OLD, False)):
        pages = provider.funding(symbol, window, NOW)
        assert events_of(pages) == expected(rates, window, marks)


def test_rest_rows_and_file_rows_are_the_same_events(provider):
    window = span("2023-02-01", "2023-07-01")
    rest = events_of(provider.funding("OLDUSDT", window, NOW))
    files = events_of(provider._archive.funding("um", "OLDUSDT", window, NOW))
    assert [(e.time_ms, e.rate) for e in rest] == [(e.time_ms, e.rate) for e in files]
    assert len(rest) > 400
