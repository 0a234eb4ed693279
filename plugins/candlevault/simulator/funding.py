"""Funding rates of the simulated venue: from replay files, or made from the walk.

A replay file `funding.csv.gz` has the columns funding_time (ms), funding_rate and mark_price,
which may be empty; texts pass through untouched. After its last row it is not known what the
venue would say, so that nothing is answered of the time in which the next event is due.
"""

from __future__ import annotations

import gzip
import zlib
from bisect import bisect_left, bisect_right
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from candlevault.simulator.clock import iso
from candlevault.simulator.faults import Fault
from candlevault.simulator.source import (
    CandleSeries,
    FundingRates,
    FundingRow,
    NoCandleData,
    find_row,
)

WHAT = "fundingRate"
"""What row faults and archive files call funding in place of a timeframe."""

INTERVAL_MS = 8 * 3_600_000
HEADER = "funding_time,funding_rate,mark_price"

_FAR_MS = 9_000_000_000_000_000
_MINUTE_MS = 60_000
_LATE_MS = 12
"""Real settlements are stamped up to some milliseconds after the full hour."""


class ReplayFunding:
    """The rates of one file. Raises NoCandleData for one that is not there or cannot be read."""

    def __init__(self, path: Path, ended_ms: int | None) -> None:
        self.name = f"replay funding of {path.parent.name}"
        self._rows = _read(path)
        self._times = [row.time_ms for row in self._rows]
        self.first_ms = self._times[0]
        due_ms = self._times[-1] // _MINUTE_MS * _MINUTE_MS + self._last_interval()
        self.until_ms = None if ended_ms is not None and ended_ms <= due_ms else due_ms

    def between(
        self, first_ms: int, last_ms: int, limit: int, *, newest: bool = False
    ) -> list[FundingRow]:
        i, j = bisect_left(self._times, first_ms), bisect_right(self._times, last_ms)
        return self._rows[max(i, j - limit) : j] if newest else self._rows[i : min(j, i + limit)]

    def _last_interval(self) -> int:
        if len(self._times) < 2:
            return INTERVAL_MS
        earlier, later = (time // _MINUTE_MS for time in self._times[-2:])
        return (later - earlier) * _MINUTE_MS


def _read(path: Path) -> list[FundingRow]:
    if not path.is_file():
        raise NoCandleData(f"the replay directory holds no {'/'.join(path.parts[-3:])}")
    try:
        header, *lines = gzip.decompress(path.read_bytes()).decode("ascii").split()
        rows = []
        for line in lines:
            time, rate, mark = line.split(",")
            rows.append(FundingRow(int(time), rate, mark))
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise NoCandleData(f"{path}: cannot be read: {error}") from error
    if header != HEADER or not rows:
        raise NoCandleData(f"{path}: must have the header {HEADER} and a row")
    if any(later.time_ms <= earlier.time_ms for earlier, later in pairwise(rows)):
        raise NoCandleData(f"{path}: funding_time must ascend strictly")
    return rows


class WalkFunding:
    """Every eight hours from the listing on. A rate depends on seed, symbol and time only; the
    mark price is the open of the hour."""

    until_ms = None

    def __init__(self, seed: int, symbol: str, hours: CandleSeries) -> None:
        self.name = f"walk funding of {symbol}"
        self._key = f"{seed}/{symbol}"
        self._hours = hours
        self._first = -(-hours.first_ms // INTERVAL_MS)
        self.first_ms = self._row(self._first).time_ms

    def between(
        self, first_ms: int, last_ms: int, limit: int, *, newest: bool = False
    ) -> list[FundingRow]:
        numbers = range(max(self._first, first_ms // INTERVAL_MS), last_ms // INTERVAL_MS + 1)
        # One more at the edge, where lateness decides whether an event is inside.
        numbers = numbers[-limit - 1 :] if newest else numbers[: limit + 1]
        rows = [row for row in map(self._row, numbers) if first_ms <= row.time_ms <= last_ms]
        return rows[-limit:] if newest else rows[:limit]

    def _row(self, number: int) -> FundingRow:
        draw = zlib.crc32(f"{self._key}/{number}".encode())
        # From -0.015 % to 0.025 %, in steps of a thousandth of a basis point.
        parts = draw % 4001 - 1500
        rate = f"{'-' if parts < 0 else ''}0.{abs(parts):07d}0"
        time_ms = number * INTERVAL_MS
        hour = find_row(self._hours, time_ms)
        return FundingRow(time_ms + draw // 4001 % _LATE_MS, rate, hour[1] if hour else "")


def select(
    rates: FundingRates, start_ms: int | None, end_ms: int | None, limit: int, now_ms: int
) -> list[FundingRow]:
    """The events that Binance would answer at `now_ms`: the oldest from a start on, else the
    newest; both bounds are inclusive. Raises NoCandleData where some are due that are not held.
    """
    high = min(_FAR_MS if end_ms is None else end_ms, now_ms)
    low = rates.first_ms if start_ms is None else start_ms
    if low > high:
        return []
    newest = start_ms is None
    unknown = rates.until_ms is not None and high >= rates.until_ms
    found = rates.between(low, high, limit, newest=newest)
    if unknown and (newest or len(found) < limit):
        raise _ends(rates)
    return found


def _ends(rates: FundingRates) -> NoCandleData:
    return NoCandleData(f"{rates.name} ends before the event of {iso(rates.until_ms or 0)}")


def distort(rows: list[FundingRow], faults: list[Fault]) -> tuple[list[FundingRow], list[Fault]]:
    """`rows` as the row faults leave them, and the faults that acted. The time of an event is
    what the faults call an open time."""
    acted = []
    for fault in faults:
        before = rows
        named = set(fault.dropped.tolist())
        if fault.kind == "drop_rows":
            start, end = fault.dropped_window or (0, 0)
            rows = [
                row for row in rows if row.time_ms not in named and not start <= row.time_ms < end
            ]
        elif fault.kind == "restated":
            rows = [_restated(row, fault.restated.get(row.time_ms, {})) for row in rows]
        elif fault.kind == "duplicate_rows":
            chosen = named or {row.time_ms for row in rows[-1:]}
            rows = [row for one in rows for row in [one] * (2 if one.time_ms in chosen else 1)]
        elif fault.kind == "misaligned":
            shift = int(fault.args.get("shift_ms", 1))
            rows = [
                replace(row, time_ms=row.time_ms + shift)
                if not named or row.time_ms in named
                else row
                for row in rows
            ]
        elif fault.kind == "reversed":
            rows = rows[::-1]
        if rows != before:
            acted.append(fault)
    return rows, acted


def _restated(row: FundingRow, values: dict) -> FundingRow:
    rate = str(values.get("funding_rate", row.rate))
    return replace(row, rate=rate, mark_price=str(values.get("mark_price", row.mark_price)))
