"""Extremes of the last rows, and the rows before."""

from __future__ import annotations

import numpy as np
from numba import njit

from candlevault.backtest.indicators.inputs import require_period, series
from candlevault.backtest.indicators.memory import remembered


@remembered
def highest(values: np.ndarray, period: int) -> np.ndarray:
    """The largest of the last `period` values, the row's own included, from row period-1 on."""
    return _extremes(values, period, 1.0)


@remembered
def lowest(values: np.ndarray, period: int) -> np.ndarray:
    """The smallest of the last `period` values, the row's own included, from row period-1 on."""
    return _extremes(values, period, -1.0)


@remembered
def previous(values: np.ndarray, rows: int = 1) -> np.ndarray:
    """The value `rows` rows before, NaN in the first `rows` rows."""
    values = series(values)
    require_period(rows, "rows")
    out = np.full(len(values), np.nan)
    out[rows:] = values[:-rows]
    return out


def _extremes(values: np.ndarray, period: int, sign: float) -> np.ndarray:
    values = series(values)
    require_period(period)
    out = np.full(len(values), np.nan)
    if len(values) >= period:
        _window_extremes(values.copy(), period, sign, out[period - 1 :])
    return out


@njit(cache=True, nogil=True)
def _window_extremes(block, period, sign, out):
    """Extremes of 2, 4, 8 … neighbours, the last two of them overlapping to `period`.

    Several passes that the compiler turns into comparisons of many windows at a time are
    faster than one pass with a queue of candidates. NaN wins: its windows are undefined.
    """
    length, size = len(block), 1
    while 2 * size <= period:
        length -= size
        older, newer = block[:length], block[size:]
        for i in range(length):
            one, two = older[i], newer[i]
            older[i] = one if sign * one > sign * two or np.isnan(one) else two
        size *= 2
    older, newer = block[: len(out)], block[period - size :]
    for i in range(len(out)):
        one, two = older[i], newer[i]
        out[i] = one if sign * one > sign * two or np.isnan(one) else two
