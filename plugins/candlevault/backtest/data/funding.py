"""Funding events onto the rows of a backtest's grid: pure functions.

The conventions:

- An event counts as of the minute it lies in: venues settle a few milliseconds after the full
  hour and mean the full hour.
- It is settled at the open of the first present row that opens at that minute or later, for
  the lots carried into that row. A lot that entered at the open of the same row does not pay;
  one that leaves at it does; one that a stop closed inside the bar before it does not.
- Where the venue was closed (absent rows) events wait for the next present open, and all that
  fall to one row are added up: daily rows pay the sum of their three events.
- After the last present row nothing is held: later events are dropped. So are those that
  belong to a row before the first one of the grid.
"""

from __future__ import annotations

import numpy as np

from candlevault.errors import InvalidRequest
from candlevault.funding import MINUTE_MS, FundingEvents
from candlevault.timeframe import Timeframe
from candlevault.windows import Window, aligned


def needed(window: Window, timeframe: Timeframe) -> Window | None:
    """The window whose events a backtest over `window` can settle: from its first open time to
    the minute of its last one, inclusive. None when no open_time lies inside."""
    grid = aligned(window, timeframe)
    if grid is None:
        return None
    return Window(grid.start_ms, grid.end_ms - timeframe.step_ms + MINUTE_MS)


def on_grid(
    open_times: np.ndarray, step_ms: int, present: np.ndarray, events: FundingEvents
) -> np.ndarray:
    """The rate of every row, float64: the sum of the events settled at its open, else 0.

    `open_times` (int64 ms UTC) are `step_ms` apart, `present` says which rows have a candle;
    the times of `events` ascend strictly. Rates are added in the order of their times, one by
    one. Raises InvalidRequest for a grid with a hole, for arrays of other lengths, for events
    that do not ascend, and for a rate that is not finite.
    """
    times, rates = _checked(open_times, step_ms, present, events)
    settled = np.zeros(len(open_times), dtype=np.float64)
    places = np.flatnonzero(present)
    minutes = times - times % MINUTE_MS
    rows = np.searchsorted(open_times[places], minutes, side="left")
    for minute, row, rate in zip(minutes.tolist(), rows.tolist(), rates.tolist(), strict=True):
        if row < len(places) and minute > int(open_times[0]) - step_ms:
            settled[places[row]] += rate
    return settled


def _checked(
    open_times: np.ndarray, step_ms: int, present: np.ndarray, events: FundingEvents
) -> tuple[np.ndarray, np.ndarray]:
    if len(open_times) == 0 or np.any(np.diff(open_times) != step_ms):
        raise InvalidRequest("open_times", f"must be {step_ms} ms apart, at least one")
    if len(present) != len(open_times):
        raise InvalidRequest("present", f"must have {len(open_times)} rows", len(present))
    times = np.asarray(events.times, dtype=np.int64)
    rates = np.asarray(events.rates, dtype=np.float64)
    if len(times) != len(rates):
        raise InvalidRequest("events", "must have one rate per time", (len(times), len(rates)))
    if np.any(np.diff(times) <= 0):
        raise InvalidRequest("events.times", "must ascend strictly")
    if not np.all(np.isfinite(rates)):
        raise InvalidRequest("events.rates", "must be finite")
    return times, rates
