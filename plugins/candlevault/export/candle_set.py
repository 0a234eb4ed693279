"""Candles of one series and window at one moment, with everything that is not there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from candlevault import windows
from candlevault.series import Series
from candlevault.timeframe import Timeframe, to_ms
from candlevault.windows import Window


@dataclass(frozen=True, slots=True)
class KnownAbsence:
    """Open times in `window` that the venue never published, and why."""

    window: Window
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class CandleSet:
    """Stored candles of `series` that open in `window`, as they stood at `as_of` (UTC).

    `table` has the columns of candlevault.candles without `source`: decimals exact, times
    int64 ms UTC, ascending by open_time, one row per stored candle and no others. `absences`
    and `lost` are ascending, disjoint and inside the window; together with the rows they are
    every open_time of the window whose candle was closed at `as_of` and at which the symbol
    meant this instrument.

    `lifetime` counts the uses of the symbol; `base_asset` and `quote_asset` are empty where
    the venue never told them.
    """

    series: Series
    lifetime: int
    base_asset: str
    quote_asset: str
    window: Window
    as_of: datetime
    revision: int
    fingerprint: str
    table: pa.Table
    absences: tuple[KnownAbsence, ...]
    lost: tuple[Window, ...]

    def __len__(self) -> int:
        return self.table.num_rows

    def facts(self) -> dict[str, object]:
        """What the candles are, as plain JSON values; instants are ISO text, UTC.

        Windows are half-open. The keys are those of an export's sidecar.
        """
        return {
            "series": {
                "venue": self.series.venue,
                "market": self.series.market,
                "symbol": self.series.symbol,
                "timeframe": self.series.timeframe.code,
                "lifetime": self.lifetime,
            },
            "window": span(self.window),
            "as_of": iso(self.as_of),
            "revision": self.revision,
            "fingerprint": self.fingerprint,
            "rows": len(self),
            "known_absences": [
                span(gone.window) | {"reason": gone.reason} for gone in self.absences
            ],
            "lost": [span(window) for window in self.lost],
        }


def iso(moment: datetime) -> str:
    """`2024-01-31T12:00:00Z`, with as many decimals of a second as it has."""
    text = moment.astimezone(UTC).isoformat()
    return text.removesuffix("+00:00") + "Z"


def span(window: Window) -> dict[str, str]:
    """The window as `start` (inclusive) and `end` (exclusive), ISO text."""
    return {"start": iso(window.start), "end": iso(window.end)}


def clipped(absences: Iterable[KnownAbsence], window: Window) -> tuple[KnownAbsence, ...]:
    """The parts of disjoint `absences` inside `window`, ascending, touching ones of one reason
    as one."""
    found: list[KnownAbsence] = []
    for gone in sorted(absences, key=lambda absence: absence.window):
        part = gone.window.intersection(window)
        if part is None:
            continue
        before = found[-1] if found else None
        if before and before.reason == gone.reason and before.window.end_ms == part.start_ms:
            part = Window(before.window.start_ms, part.end_ms)
            found.pop()
        found.append(KnownAbsence(part, gone.reason))
    return tuple(found)


def lost_windows(
    window: Window,
    timeframe: Timeframe,
    open_times: np.ndarray,
    absences: Iterable[KnownAbsence],
    as_of: datetime,
) -> tuple[Window, ...]:
    """Maximal windows of open times neither stored nor known absent, ascending.

    `open_times` are ascending int64 ms. A candle that was not closed at `as_of` cannot be
    lost. Costs nothing for a window of any length.
    """
    closed = Window(0, max(1, to_ms(as_of) - timeframe.step_ms + 1))
    expected = window.intersection(closed)
    expected = expected and windows.aligned(expected, timeframe)
    if expected is None:
        return ()
    explained = [*windows.runs(open_times, timeframe), *(gone.window for gone in absences)]
    parts = (windows.aligned(part, timeframe) for part in windows.subtract(expected, explained))
    return tuple(windows.merge(part for part in parts if part is not None))
