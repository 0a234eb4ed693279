"""Loads of funding against a real store and a simulated venue: what it tells, and what is stored.

A file of tests imports all the fixtures that those it uses need; venue and database are its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import pytest

from candlevault.ingest.market import Market
from candlevault.series import Series, parse
from candlevault.storage import funding as store
from candlevault.storage.database import connector
from candlevault.windows import Window
from tests.support.market import (
    DAY,
    HOUR,
    ReplayFiles,
    SimulatedVenue,
    grid,
    ms,
    no_sleep,
    simulated,
    venue_at,
)

FIRST = ms("2023-01-01")
NOW = ms("2024-06-20T12:30")
EIGHT = 8 * HOUR
ALL = Window(FIRST, ms("2024-06-20"))
SILENT = Window(ms("2023-05-01T16:00"), ms("2023-05-03T08:00"))
# Taken one by one, by all files of tests that run in this process.
SYMBOLS = [f"F{i:03}USDT" for i in range(60)]


def rates() -> list[tuple[int, str, str]]:
    """Every eight hours a few milliseconds late, but for one pause; a mark price but at first."""
    return [
        (t + t // HOUR % 13, f"{(t // HOUR % 2001 - 1000) / 1e7:.8f}", "" if t < FIRST + DAY
         else "61440.20000000")
        for t in range(FIRST, NOW + DAY, EIGHT)
        if not SILENT.start_ms < t < SILENT.end_ms
    ]  # fmt: skip


RATES = rates()
SECOND_PAGE = f"fundingRate.*startTime=(?!{FIRST}&)"


@pytest.fixture(scope="module")
def replay(tmp_path_factory) -> Iterator[SimulatedVenue]:
    files = ReplayFiles(tmp_path_factory.mktemp("replay"))
    files.write(SYMBOLS[0], grid(Window(FIRST, FIRST + 40 * DAY)), market="um")
    files.write_funding(SYMBOLS[0], RATES)
    first = files.root / "um_futures" / SYMBOLS[0]
    for symbol in (*SYMBOLS[1:], "GONEUSDT"):
        (files.root / "um_futures" / symbol).symlink_to(first)
    files.end("GONEUSDT", "2023-02-10T00:00:00Z", "um", forgotten=True)
    files.write("BTCUSDT", grid(Window(FIRST, FIRST + DAY)))
    with simulated(files.root, NOW) as running:
        yield running


@pytest.fixture
def venue(replay: SimulatedVenue) -> SimulatedVenue:
    replay.exchange.reset()
    return replay


@pytest.fixture
def series() -> Series:
    """A symbol that no other test uses, all with the same funding."""
    return parse("binance", "um", SYMBOLS.pop(), "1h")


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def market(database: str, venue: SimulatedVenue, said: list[str]) -> Market:
    at = venue_at(venue.base_url, "um")
    return Market(connector(database), at, say=said.append, sleep=no_sleep)


def stored(
    market: Market, series: Series, window: Window = ALL, as_of: datetime | None = None
) -> store.Funding:
    with market.connect() as connection:
        return store.read_series(connection, series, window, as_of)


def pairs(found: store.Funding) -> list[tuple[int, float]]:
    """The times and rates that were found."""
    return list(zip(found.events.times.tolist(), found.events.rates.tolist(), strict=True))


def expected(window: Window = ALL) -> list[tuple[int, float]]:
    """The times and rates that the venue tells of `window`."""
    return [(t, float(rate)) for t, rate, _ in RATES if window.contains(t)]


def rows(market: Market, statement: str, *values: object) -> list[tuple]:
    """The rows of a statement."""
    with market.connect() as connection:
        return connection.execute(statement, values).fetchall()


def database_now(market: Market) -> datetime:
    """The time by the clock of the database."""
    return rows(market, "SELECT clock_timestamp()")[0][0]


def instrument_of(market: Market, series: Series) -> int | None:
    """The id of the instrument with the symbol of `series`, None if there is none."""
    found = rows(
        market, "SELECT instrument_id FROM market.instruments WHERE symbol = %s", series.symbol
    )
    return found[0][0] if found else None
