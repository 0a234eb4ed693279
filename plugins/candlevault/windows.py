"""Windows and the three sets: expected = stored + known absent + lost.

Pure functions on half-open windows `[start_ms, end_ms)` of whole milliseconds UTC and on
sorted int64 NumPy arrays of open times. No clock, no I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from candlevault.errors import InvalidRequest
from candlevault.timeframe import Timeframe, from_ms, to_ms


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """`[start_ms, end_ms)`, never empty and never reversed."""

    start_ms: int
    end_ms: int

    def __post_init__(self) -> None:
        if self.start_ms >= self.end_ms:
            raise InvalidRequest("window", "start must lie before end", str(self))

    @classmethod
    def of(cls, start: datetime, end: datetime) -> Window:
        """The window of two aware datetimes."""
        return cls(to_ms(start), to_ms(end))

    @property
    def start(self) -> datetime:
        """Inclusive start, UTC."""
        return from_ms(self.start_ms)

    @property
    def end(self) -> datetime:
        """Exclusive end, UTC."""
        return from_ms(self.end_ms)

    def contains(self, ms: int) -> bool:
        """Whether the instant lies inside."""
        return self.start_ms <= ms < self.end_ms

    def intersection(self, other: Window) -> Window | None:
        """The common part, or None."""
        start, end = max(self.start_ms, other.start_ms), min(self.end_ms, other.end_ms)
        return Window(start, end) if start < end else None

    def __str__(self) -> str:
        try:
            return f"[{_short(self.start_ms)}, {_short(self.end_ms)})"
        except OverflowError:
            return f"[{self.start_ms} ms, {self.end_ms} ms)"


def _short(ms: int) -> str:
    return from_ms(ms).strftime("%Y-%m-%dT%H:%M:%SZ")


def aligned(window: Window, timeframe: Timeframe) -> Window | None:
    """The window whose ends are the grid points that bound the open times inside `window`.

    None when no open_time lies inside.
    """
    start, end = timeframe.ceil(window.start_ms), timeframe.ceil(window.end_ms)
    return Window(start, end) if start < end else None


def expected_open_times(window: Window, timeframe: Timeframe) -> np.ndarray:
    """Every open_time in `window`, ascending int64 ms; empty when none lies inside."""
    start = timeframe.ceil(window.start_ms)
    return np.arange(start, window.end_ms, timeframe.step_ms, dtype=np.int64)


def expected_count(window: Window, timeframe: Timeframe) -> int:
    """How many open times lie in `window`."""
    start, end = timeframe.ceil(window.start_ms), timeframe.ceil(window.end_ms)
    return max(0, (end - start) // timeframe.step_ms)


def runs(open_times: np.ndarray, timeframe: Timeframe) -> list[Window]:
    """Maximal runs of adjacent open times as windows, ascending.

    `open_times` must be ascending and aligned; an empty array gives an empty list.
    """
    if len(open_times) == 0:
        return []
    breaks = np.flatnonzero(np.diff(open_times) != timeframe.step_ms)
    starts = open_times[np.concatenate(([0], breaks + 1))]
    ends = open_times[np.concatenate((breaks, [len(open_times) - 1]))] + timeframe.step_ms
    return [Window(int(start), int(end)) for start, end in zip(starts, ends, strict=True)]


def open_times_of(windows: Iterable[Window], timeframe: Timeframe) -> np.ndarray:
    """Open times covered by any of `windows`, ascending and unique."""
    pieces = [expected_open_times(window, timeframe) for window in windows]
    return np.unique(np.concatenate(pieces)) if pieces else np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Account:
    """The account of one series over one window. All arrays are ascending int64 ms.

    `expected` is the disjoint union of `stored`, `absent` and `lost`.
    """

    window: Window
    timeframe: Timeframe
    expected: np.ndarray
    stored: np.ndarray
    absent: np.ndarray
    lost: np.ndarray

    @property
    def raw_ratio(self) -> float:
        """stored ÷ expected, 0–1; 1 for an empty window."""
        return len(self.stored) / len(self.expected) if len(self.expected) else 1.0

    @property
    def obtainable_ratio(self) -> float:
        """stored ÷ (expected − known absent), 0–1; 1 when nothing was obtainable."""
        obtainable = len(self.expected) - len(self.absent)
        return len(self.stored) / obtainable if obtainable else 1.0

    @property
    def lost_windows(self) -> list[Window]:
        """Maximal windows of lost open times."""
        return runs(self.lost, self.timeframe)

    @property
    def absent_windows(self) -> list[Window]:
        """Maximal windows of known absent open times."""
        return runs(self.absent, self.timeframe)


def account(
    window: Window,
    timeframe: Timeframe,
    stored: np.ndarray,
    absences: Iterable[Window] = (),
) -> Account:
    """Split the expected open times of `window` into stored, known absent and lost.

    `stored` may reach beyond the window and need not be sorted; misaligned values are
    not expected and therefore ignored here (a check of their own reports them). What is
    stored counts as stored even where an absence was recorded.
    """
    expected = expected_open_times(window, timeframe)
    present = np.intersect1d(expected, np.asarray(stored, dtype=np.int64))
    missing = np.setdiff1d(expected, present, assume_unique=True)
    relevant = [part for a in absences if (part := a.intersection(window)) is not None]
    absent = np.intersect1d(missing, open_times_of(relevant, timeframe), assume_unique=True)
    lost = np.setdiff1d(missing, absent, assume_unique=True)
    return Account(window, timeframe, expected, present, absent, lost)


def merge(windows: Iterable[Window]) -> list[Window]:
    """Disjoint, non-touching windows that cover the same instants, ascending."""
    merged: list[Window] = []
    for window in sorted(windows):
        if merged and window.start_ms <= merged[-1].end_ms:
            merged[-1] = Window(merged[-1].start_ms, max(merged[-1].end_ms, window.end_ms))
        else:
            merged.append(window)
    return merged


def subtract(window: Window, holes: Iterable[Window]) -> list[Window]:
    """The parts of `window` that no hole covers, ascending."""
    parts: list[Window] = []
    cursor = window.start_ms
    for hole in merge(holes):
        if hole.end_ms <= cursor or hole.start_ms >= window.end_ms:
            continue
        if hole.start_ms > cursor:
            parts.append(Window(cursor, hole.start_ms))
        cursor = hole.end_ms
    if cursor < window.end_ms:
        parts.append(Window(cursor, window.end_ms))
    return parts


def months(window: Window) -> Iterator[Window]:
    """The calendar months (UTC) that `window` touches, whole, ascending."""
    moment = window.start.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    while to_ms(moment) < window.end_ms:
        following = (
            moment.replace(year=moment.year + 1, month=1)
            if moment.month == 12
            else moment.replace(month=moment.month + 1)
        )
        yield Window.of(moment, following)
        moment = following


def chunks(window: Window, timeframe: Timeframe, max_candles: int) -> Iterator[Window]:
    """Pieces of `window` of at most `max_candles` open times, cut on a fixed absolute grid.

    The grid does not depend on the window, so the same hole is always cut the same way
    and retried work meets the ledger rows of its first try.
    """
    span = timeframe.step_ms * max_candles
    cursor = window.start_ms
    while cursor < window.end_ms:
        boundary = cursor - (cursor - timeframe.origin_ms) % span + span
        end = min(boundary, window.end_ms)
        yield Window(cursor, end)
        cursor = end
