"""What a load works with: the database, the venue and its clock, and whom to tell."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from candlevault import windows
from candlevault.errors import InvalidRequest
from candlevault.providers.contract import Venue
from candlevault.series import Series
from candlevault.storage.database import Connect
from candlevault.windows import Window

SETTLING_MS = 2_000
"""A candle counts as closed this long after its end by the venue's clock: its data comes
from a database that may lag."""


@dataclass(slots=True)
class Market:
    """What a load works with: the database, the venue, and whom to tell."""

    connect: Connect
    venue: Venue
    say: Callable[[str], None] = print
    run_id: str | None = None
    sleep: Callable[[float], None] = time.sleep


def closed_part(series: Series, window: Window, now_ms: int) -> Window:
    """The part of `window` whose candles have closed by the venue's clock, on the grid."""
    horizon = series.timeframe.floor(now_ms - SETTLING_MS)
    grid = windows.aligned(window, series.timeframe)
    if grid is None:
        raise InvalidRequest("window", f"holds no open_time of {series.timeframe}", str(window))
    if grid.start_ms >= horizon:
        raise InvalidRequest(
            "window", "lies in the future: no candle of it has closed", str(window)
        )
    return Window(grid.start_ms, min(grid.end_ms, horizon))


def traffic_of(venue: Venue) -> tuple[int, int]:
    """Requests and retries of the venue's providers so far."""
    used = [provider.traffic for provider in (venue.archive, venue.rest) if provider is not None]
    return sum(t.requests for t in used), sum(t.retries for t in used)
