"""A small story in a real database: a hole, an extreme candle, a revision, and something lost.

Read only: it is made once for all tests of the folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from candlevault.export import CandleSet, read
from candlevault.storage.database import connector
from candlevault.windows import Window
from tests.support.market import HOUR, Store, absence, grid, span, values_at
from tests.support.postgres import PostgresServer

MINUTE = 60_000

WINDOW = span("2024-01-01", "2024-01-03")
HOLE = span("2024-01-01T10:00", "2024-01-01T12:00")
LOST = span("2024-01-02T20:00", "2024-01-02T21:00")
EXTREME = WINDOW.start_ms + 30 * HOUR
REVISED = WINDOW.start_ms + 5 * HOUR
MINUTES = span("2023-12-31T23:30", "2024-01-01T00:30")

TINY = Decimal("0.00000001")
EXTREMES = dict.fromkeys(("open", "high", "low", "close"), TINY) | {
    "volume": Decimal("9999999999999.12345678"),
    "quote_volume": Decimal("99999999999999999999.00000001"),
    "close_time": EXTREME + 1_234_567,
}


@dataclass(frozen=True)
class Story:
    """The database's URL, and the instants before anything, before and after the revision."""

    url: str
    nothing: datetime
    first: datetime
    revised: datetime

    def read(self, window: Window = WINDOW, code: str = "1h", **more) -> CandleSet:
        """BTCUSDT in hours, or ETHUSDT in minutes."""
        symbol = "BTCUSDT" if code == "1h" else "ETHUSDT"
        return read(symbol, code, window.start, window.end, database=self.url, **more)


def expected(window: Window = WINDOW, *, revised: bool = True) -> list[dict[str, object]]:
    """The rows of BTCUSDT 1h that were published, without asking the product."""
    rows = []
    for time in grid(window):
        if not (HOLE.contains(time) or LOST.contains(time)):
            row = values_at(time)
            if time == EXTREME:
                row |= EXTREMES
            if time == REVISED and revised:
                row |= {"close": row["close"] + 1, "trades_count": 4321}
            rows.append(row)
    return rows


def expected_minutes() -> list[dict[str, object]]:
    """The rows of ETHUSDT 1m."""
    return [values_at(time, MINUTE) for time in grid(MINUTES, MINUTE)]


@pytest.fixture(scope="session")
def story(postgres_server: PostgresServer, market_template: str) -> Iterator[Story]:
    """The database of the story."""
    with postgres_server.database(market_template) as url:
        hours = Store(url, "BTCUSDT")
        minutes = Store(url, "ETHUSDT", "1m")
        nothing = now(url)
        missing = [*grid(HOLE), *grid(LOST)]
        first = {EXTREME: EXTREMES}
        hours.publish_made(WINDOW, missing, changes=first, absences=[absence(HOLE)])
        minutes.publish_made(MINUTES)
        before = now(url)
        value = values_at(REVISED)["close"] + 1
        later = first | {REVISED: {"close": value, "trades_count": 4321}}
        hours.publish_made(WINDOW, missing, changes=later)
        yield Story(url, nothing, before, now(url))


def now(url: str) -> datetime:
    """The database's clock, UTC."""
    with connector(url)() as connection:
        return connection.execute("SELECT clock_timestamp()").fetchone()[0].astimezone(UTC)


@pytest.fixture(scope="session")
def hours(story: Story) -> CandleSet:
    """BTCUSDT 1h, one candle lost."""
    return story.read()


@pytest.fixture(scope="session")
def minutes(story: Story) -> CandleSet:
    """ETHUSDT 1m over the turn of a day, complete."""
    return story.read(MINUTES, "1m")
