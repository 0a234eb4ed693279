"""The run month by month and year by year, in UTC.

The return of a month is the equity at its last bar against that at the last bar before it, the
first against the initial capital. Its drawdown is measured inside the month: the deepest fall
at bar closes below the highest equity since its start, the equity it started with included.
After ruin (equity at or below 0) returns are 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from candlevault.backtest.metrics.drawdowns import deepest


@dataclass(frozen=True, slots=True)
class Stretch:
    """One month or year as far as the window holds it.

    `start_time`: its first instant, ms UTC, which may lie before the window. `trades` closed in
    it (the open time of the bar in which they ended counts) and their `pnl` in quote.
    """

    start_time: int
    return_pct: float
    max_drawdown_pct: float
    trades: int
    pnl: float


def months(
    open_time: np.ndarray,
    equity: np.ndarray,
    initial_capital: float,
    exit_time: Sequence[int] | np.ndarray,
    pnl: Sequence[float] | np.ndarray,
) -> tuple[Stretch, ...]:
    """One Stretch a UTC month of the window, ascending; months without trades included.

    `open_time` (int64 ms UTC) and `equity` have a value per row; `exit_time` (ms UTC, on that
    grid) and `pnl` one per trade.
    """
    return _stretches("datetime64[M]", open_time, equity, initial_capital, exit_time, pnl)


def years(
    open_time: np.ndarray,
    equity: np.ndarray,
    initial_capital: float,
    exit_time: Sequence[int] | np.ndarray,
    pnl: Sequence[float] | np.ndarray,
) -> tuple[Stretch, ...]:
    """One Stretch a UTC year of the window, ascending; see `months`."""
    return _stretches("datetime64[Y]", open_time, equity, initial_capital, exit_time, pnl)


def _stretches(
    unit: str,
    open_time: np.ndarray,
    equity: np.ndarray,
    initial_capital: float,
    exit_time: Sequence[int] | np.ndarray,
    pnl: Sequence[float] | np.ndarray,
) -> tuple[Stretch, ...]:
    equity = np.asarray(equity, dtype=np.float64)
    moment = np.asarray(open_time, dtype="datetime64[ms]").astype(unit)
    firsts = np.flatnonzero(np.append(True, moment[1:] != moment[:-1]))
    ends = np.append(firsts[1:], len(moment))
    starts = moment[firsts].astype("datetime64[ms]").astype(np.int64)
    closed = np.searchsorted(starts, np.asarray(exit_time, dtype=np.int64), side="right") - 1
    money = np.asarray(pnl, dtype=np.float64)
    before, found = float(initial_capital), []
    for number, (start, first, end) in enumerate(
        zip(starts.tolist(), firsts.tolist(), ends.tolist(), strict=True)
    ):
        values = equity[first:end]
        now, mine = float(values[-1]), money[closed == number]
        alive = before > 0.0
        found.append(
            Stretch(
                start_time=start,
                return_pct=(now / before - 1.0) * 100.0 if alive else 0.0,
                max_drawdown_pct=deepest(np.append(before, values)).depth_pct if alive else 0.0,
                trades=len(mine),
                pnl=math.fsum(mine.tolist()),
            )
        )
        if alive:
            before = now
    return tuple(found)
