"""What looks strange in a run of candles: spikes, frozen prices, stretches without a trade.

Pure functions over tables of candles (see candlevault.candles), ascending and unique. A flag
says "look here"; strange candles are often real, and nothing is ever dropped because of one.

The thresholds were measured on 1.44 million real Binance candles of 2020-2025 (15 spot and 3
futures symbols, 1m to 1d). They flag 31 of the 50,368 hourly candles of BTCUSDT, among them
2020-03-12T10:00 (-25 %), 18 to 60 in the other hourly series of five years and more, the
collapse of LUNAUSDT in May 2022, and the first hour of the coin that took over its symbol.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from candlevault import candles
from candlevault.timeframe import Timeframe
from candlevault.windows import Window

SPIKE = "spike"
FROZEN_PRICE = "frozen_price"
ZERO_VOLUME_RUN = "zero_volume_run"
KINDS = (SPIKE, FROZEN_PRICE, ZERO_VOLUME_RUN)

CONTEXT = 100
"""How many candles on either side say what is usual: four days of hours. The more there are,
the longer a calm is held against a storm: of the hours in which USTUSDT fell, 50 flag 4,
100 flag 23 and 200 flag 81; of LUNAUSDT 38, 59 and 93."""

LEAST_CONTEXT = 24
"""With fewer traded candles around, nothing is usual."""

SPIKE_FACTOR = 12.0
"""A spike reaches this many times as far as usual. At 10 BTCUSDT 1h has 62 flags, at 12 it has
31, at 15 only 19, and the second wave of the crash of March 2020 is about to be lost."""

SPIKE_FLOOR = 0.01
"""And at least this far, as a log return. In a dead calm the usual excursion is a tick: without
a floor BTCUSDT 1m has 620 flags in June 2025, with it none."""

FROZEN_CANDLES = 3
"""Two traded candles in a row of one single price happen in thin symbols (10 times in the
49,131 candles of XTZUSDT 5m); three never did."""

ZERO_VOLUME_CANDLES = 3
"""Runs without a trade shorter than this are everyday life in thin symbols (164 in XTZUSDT 5m,
and 3 of three candles), unless they touch a hole: an outage begins with such candles."""


@dataclass(frozen=True, slots=True)
class Flag:
    """A strange stretch: from its first open_time to the end of its last candle."""

    kind: str
    window: Window
    candles: int
    detail: dict[str, object] = field(default_factory=dict)


def spikes(table: pa.Table, timeframe: Timeframe) -> list[Flag]:
    """Candles whose high or low lies much further from where they began than is usual.

    A candle begins at the close of the one right before it, or, after a hole, at its own
    open. Its excursion is the larger of |ln(high / begin)| and |ln(low / begin)|; usual is the
    median excursion of the traded candles within CONTEXT open times on either side: robust,
    because the half that moved most does not count, and free of scale.
    """
    import pandas as pd

    if table.num_rows < LEAST_CONTEXT:
        return []
    times = candles.open_times(table)
    slots = (times - times[0]) // timeframe.step_ms
    prices = {name: table[name].cast(pa.float64()).to_numpy() for name in candles.PRICES}
    adjacent = np.concatenate(([False], np.diff(slots) == 1))
    begin = np.where(adjacent, np.roll(prices["close"], 1), prices["open"])
    up, down = np.log(prices["high"] / begin), np.log(prices["low"] / begin)
    reach = np.where(up >= -down, up, down)
    excursion = np.abs(reach)
    traded = table["volume"].cast(pa.float64()).to_numpy() > 0
    # On the grid, so that a hole takes its room in the context.
    spread = np.full(slots[-1] + 1, np.nan)
    spread[slots[traded]] = excursion[traded]
    around = pd.Series(spread).rolling(2 * CONTEXT + 1, center=True, min_periods=LEAST_CONTEXT)
    usual = around.median().to_numpy()[slots]
    strange = traded & (excursion >= SPIKE_FLOOR) & (excursion > SPIKE_FACTOR * usual)
    return [
        Flag(
            SPIKE,
            _window(times, row, row, timeframe),
            1,
            {
                "excursion_pct": round(100 * float(np.expm1(reach[row])), 4),
                "usual_pct": round(100 * float(np.expm1(usual[row])), 4),
                "times_usual": round(float(excursion[row] / usual[row]), 1) if usual[row] else None,
                "begin_price": float(begin[row]),
            },
        )
        for row in np.flatnonzero(strange)
    ]


def frozen_prices(table: pa.Table, timeframe: Timeframe) -> list[Flag]:
    """Runs of FROZEN_CANDLES or more adjacent traded candles that all have one single price."""
    flat = _rows(pc.equal(table["high"], table["low"])) & _traded(table)
    same = np.zeros(table.num_rows, dtype=bool)
    if table.num_rows > 1:
        same[1:] = _rows(pc.equal(table["close"].slice(1), table["open"].slice(0, len(same) - 1)))
    times = candles.open_times(table)
    return [
        Flag(
            FROZEN_PRICE,
            _window(times, first, last, timeframe),
            last - first + 1,
            {"price": str(table["close"][first])},
        )
        for first, last in _runs(flat, same, times, timeframe)
        if last - first + 1 >= FROZEN_CANDLES
    ]


def zero_volume_runs(
    table: pa.Table, timeframe: Timeframe, history: Window, absences: Iterable[Window]
) -> list[Flag]:
    """Runs of adjacent candles without a trade: long ones, and any that touches a hole.

    `history` is the series' from its oldest candle to the end of its newest; an open_time in
    it that is neither in `table` nor in `absences` is lost. Which of the two lies before and
    after the run is told in `detail`, and whether the run is thereby part of a halt.
    """
    times = candles.open_times(table)
    known = list(absences)

    def hole(open_time: int) -> str | None:
        if any(absence.contains(open_time) for absence in known):
            return "known_absence"
        return "lost" if history.contains(open_time) else None

    flags = []
    quiet = ~_traded(table)
    for first, last in _runs(quiet, np.ones(len(quiet), dtype=bool), times, timeframe):
        window = _window(times, first, last, timeframe)
        behind = first > 0 and times[first - 1] == window.start_ms - timeframe.step_ms
        ahead = last + 1 < len(times) and times[last + 1] == window.end_ms
        before = None if behind else hole(window.start_ms - timeframe.step_ms)
        after = None if ahead else hole(window.end_ms)
        halt = before is not None or after is not None
        if halt or last - first + 1 >= ZERO_VOLUME_CANDLES:
            detail = {"part_of_halt": halt, "before": before, "after": after}
            flags.append(Flag(ZERO_VOLUME_RUN, window, last - first + 1, detail))
    return flags


def _runs(
    marked: np.ndarray, like_the_one_before: np.ndarray, times: np.ndarray, timeframe: Timeframe
) -> list[tuple[int, int]]:
    """First and last row of every maximal run of marked rows that follow each other in time."""
    if not marked.any():
        return []
    joined = like_the_one_before.copy()
    joined[0] = False
    joined[1:] &= (np.diff(times) == timeframe.step_ms) & marked[:-1]
    starts = np.flatnonzero(marked & ~joined)
    following = np.append(~(marked & joined)[1:], True)
    ends = np.flatnonzero(marked & following)
    return [(int(first), int(last)) for first, last in zip(starts, ends, strict=True)]


def _window(times: np.ndarray, first: int, last: int, timeframe: Timeframe) -> Window:
    return Window(int(times[first]), int(times[last]) + timeframe.step_ms)


def _traded(table: pa.Table) -> np.ndarray:
    return _rows(pc.greater(table["volume"], pa.scalar(0, candles.AMOUNT)))


def _rows(mask: pa.ChunkedArray | pa.Array) -> np.ndarray:
    return np.asarray(mask).astype(bool)
