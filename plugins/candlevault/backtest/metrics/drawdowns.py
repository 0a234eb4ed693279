"""How far and how long the equity lay below its highest value so far.

A drawdown goes from the last row at a peak to the first row that reaches it again, or to the
last row. Only closes of bars count, and the first of them is the first peak. Equity at or
below 0 makes a drawdown of 100 % and more. Times are open times of bars, ms UTC.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit


@dataclass(frozen=True, slots=True)
class Drawdown:
    """One fall and the way back.

    `start_time`: the last bar at the peak; `trough_time`: the first bar at the lowest equity;
    `end_time`: the first bar at the peak again, None when it was not reached any more.
    `depth_pct` in percent of the peak; `duration_seconds` to the end or to the last bar.
    """

    start_time: int
    trough_time: int
    end_time: int | None
    depth_pct: float
    duration_seconds: int


class Deepest(NamedTuple):
    """Of an equity curve: the deepest fall in percent of its peak with its rows (`end` -1 when
    not made good; all -1 without a fall), the largest fall in quote, and the longest time
    below a peak in rows."""

    depth_pct: float
    start: int
    trough: int
    end: int
    amount: float
    longest: int


@njit(cache=True, nogil=True)
def deepest(equity):
    """Deepest of float64 `equity`, at least one row. Of equally deep falls the first counts."""
    depth, start, trough, end, amount, longest = 0.0, -1, -1, -1, 0.0, 0
    peak, peak_row, low, low_row = equity[0], 0, equity[0], 0
    rows = len(equity)
    for row in range(1, rows + 1):
        value = equity[row] if row < rows else math.inf
        if value < peak:
            if value < low:
                low, low_row = value, row
            continue
        if low < peak:
            fall = (peak - low) / peak * 100.0
            if fall > depth:
                depth, start, trough = fall, peak_row, low_row
                end = row if row < rows else -1
            amount = max(amount, peak - low)
            longest = max(longest, min(row, rows - 1) - peak_row)
        peak, peak_row, low, low_row = value, row, value, row
    return Deepest(depth, start, trough, end, amount, longest)


def max_drawdown(equity: np.ndarray) -> tuple[float, int]:
    """The deepest fall in percent of the peak before it, and the longest time below a peak
    in rows (from the last row at the peak to the row that reaches it again, or the end).
    """
    found = deepest(np.asarray(equity, dtype=np.float64))
    return found.depth_pct, found.longest


def curve(equity: np.ndarray) -> np.ndarray:
    """Percent below the highest equity so far, one float64 per row, 0 or positive."""
    equity = np.asarray(equity, dtype=np.float64)
    peaks = np.maximum.accumulate(equity)
    return (peaks - equity) / peaks * 100.0


def worst(
    open_time: np.ndarray, equity: np.ndarray, step_ms: int, count: int = 5
) -> tuple[Drawdown, ...]:
    """The `count` deepest drawdowns, deepest first, equally deep ones in order of time.

    `open_time` is the grid (int64 ms UTC) and `step_ms` its step. Empty if nothing fell.
    """
    equity = np.asarray(equity, dtype=np.float64)
    peaks = np.maximum.accumulate(equity)
    at_peak = np.flatnonzero(equity >= peaks)
    # The row that reaches the peak again; the last drawdown may have none.
    reached = np.append(at_peak[1:], len(equity))
    fell = reached - at_peak > 1
    found = []
    for start, end in zip(at_peak[fell].tolist(), reached[fell].tolist(), strict=True):
        trough = start + 1 + int(np.argmin(equity[start + 1 : end]))
        depth = float((equity[start] - equity[trough]) / equity[start] * 100.0)
        recovered = end < len(equity)
        found.append(
            Drawdown(
                start_time=int(open_time[start]),
                trough_time=int(open_time[trough]),
                end_time=int(open_time[end]) if recovered else None,
                depth_pct=depth,
                duration_seconds=(min(end, len(equity) - 1) - start) * step_ms // 1000,
            )
        )
    found.sort(key=lambda drawdown: (-drawdown.depth_pct, drawdown.start_time))
    return tuple(found[:count])
