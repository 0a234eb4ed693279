"""Funding rates as a simulated or a scripted venue tells them, and as a provider must give them.

A file of tests imports all the fixtures that those it uses need; the simulated venue is its own.
"""

from __future__ import annotations

import itertools
from decimal import Decimal

import pytest

from candlevault.funding import FundingEvent, FundingPage
from candlevault.providers.binance_funding import BinanceFunding
from candlevault.windows import Window
from tests.support.market import (
    DAY,
    HOUR,
    ReplayFiles,
    SimulatedVenue,
    client,
    grid,
    ms,
    simulated,
    venue_at,
)

FIRST = ms("2023-01-01")
EIGHT = 8 * HOUR
NOW = ms("2024-06-20")
HOURLY = Window(ms("2024-05-01"), ms("2024-05-03"))


def times_of_btc() -> list[int]:
    """Every eight hours; hourly for two days; a little late each, and one told on the dot."""
    times = set(range(FIRST, NOW + 10 * DAY, EIGHT)) | set(grid(HOURLY))
    return [time + time // HOUR % 13 for time in sorted(times)]


def told(times: list[int]) -> list[tuple[int, str, str]]:
    """What the venue tells of these times: time, rate, mark price."""
    return [
        (t, f"{(t // HOUR % 2001 - 1000) / 1e7:.8f}", "" if t < FIRST + DAY else "61440.20000000")
        for t in times
    ]


BTC = told(times_of_btc())
OLD = told(list(range(FIRST + 4 * HOUR, ms("2023-08-10"), EIGHT)))


@pytest.fixture(scope="module")
def replay(tmp_path_factory):
    files = ReplayFiles(tmp_path_factory.mktemp("replay"))
    for symbol, rates in (("BTCUSDT", BTC), ("OLDUSDT", OLD), ("GONEUSDT", OLD)):
        files.write(symbol, grid(Window(FIRST, FIRST + DAY)), market="um")
        files.write_funding(symbol, rates)
    files.end("OLDUSDT", "2023-08-10T00:00:00Z", "um")
    files.end("GONEUSDT", "2023-08-10T00:00:00Z", "um", forgotten=True)
    with simulated(files.root, NOW) as venue:
        yield venue


@pytest.fixture
def venue(replay: SimulatedVenue) -> SimulatedVenue:
    replay.exchange.reset()
    return replay


@pytest.fixture
def provider(venue) -> BinanceFunding:
    return venue_at(venue.base_url, "um").funding


def events_of(pages: list[FundingPage]) -> list[FundingEvent]:
    """The events of all pages."""
    return [event for page in pages for event in page.events]


def expected(rates, window: Window, marks: bool = True) -> list[FundingEvent]:
    """The events of `rates` in `window`; the archive tells them without `marks`."""
    return [
        FundingEvent(t, Decimal(rate), Decimal(mark) if mark and marks else None)
        for t, rate, mark in rates
        if window.contains(t)
    ]


def covered(pages: list[FundingPage]) -> Window:
    """What the pages cover, which follow each other without a hole."""
    for earlier, later in itertools.pairwise(pages):
        assert earlier.covers.end_ms == later.covers.start_ms
    for page in pages:
        assert all(page.covers.contains(event.time_ms) for event in page.events)
    return Window(pages[0].covers.start_ms, pages[-1].covers.end_ms)


def rest_at(server) -> BinanceFunding:
    """The provider of a server that answers by script; it has no archive."""
    return BinanceFunding(server.base_url, "binance_um_rest", client())


def row_of(time_ms: object = FIRST, rate: object = "0.00010000", **more: object) -> dict:
    """One event as REST tells it."""
    return {"symbol": "BTCUSDT", "fundingTime": time_ms, "fundingRate": rate} | more


DAY_ONE = Window(FIRST, FIRST + DAY)
