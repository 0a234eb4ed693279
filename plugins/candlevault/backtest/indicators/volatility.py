"""How far prices swing: true range, standard deviation and the bands made of it."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from candlevault.backtest.indicators.averages import sma, wilder
from candlevault.backtest.indicators.inputs import aligned, series
from candlevault.backtest.indicators.memory import remembered

_TILE = 512
"""Windows worked on at a time: few enough to stay in the processor's nearest memory."""


class Bollinger(NamedTuple):
    """Three arrays in quote: `lower`, `middle` and `upper` band."""

    lower: np.ndarray
    middle: np.ndarray
    upper: np.ndarray


@remembered
def true_range(high: np.ndarray, low: np.ndarray, close: np.ndarray) -> np.ndarray:
    """max(high, previous close) - min(low, previous close), from row 1 on."""
    high, low, close = aligned(high=high, low=low, close=close)
    out = np.full(len(close), np.nan)
    _ranges(high, low, close, out)
    return out


@remembered
def atr(high: np.ndarray, low: np.ndarray, close: np.ndarray, period: int = 14) -> np.ndarray:
    """Average true range: the Wilder-smoothed true range, from row `period` on."""
    return wilder(true_range(high, low, close), period)


@remembered
def standard_deviation(values: np.ndarray, period: int) -> np.ndarray:
    """Standard deviation of the last `period` values, from row period-1 on.

    That of the values themselves (divided by `period`), around each window's own mean.
    """
    middle = sma(values, period)
    values = series(values)
    out = np.full(len(values), np.nan)
    if len(values) >= period:
        _deviations(values, middle[period - 1 :], period, out[period - 1 :])
    return out


@remembered
def bollinger(close: np.ndarray, period: int = 20, width: float = 2.0) -> Bollinger:
    """Bollinger bands: the simple average ± `width` standard deviations, from row period-1 on."""
    middle, deviation = sma(close, period), standard_deviation(close, period)
    return Bollinger(middle - width * deviation, middle, middle + width * deviation)


@njit(cache=True, nogil=True)
def _ranges(high, low, close, out):
    for i in range(1, len(close)):
        before = close[i - 1]
        if not (np.isnan(before) or np.isnan(high[i]) or np.isnan(low[i])):
            top = high[i] if high[i] > before else before
            bottom = low[i] if low[i] < before else before
            out[i] = top - bottom


@njit(cache=True, nogil=True)
def _deviations(values, middle, period, out):
    """Every window's squares are added oldest first, many windows side by side."""
    out[:] = 0.0
    for start in range(0, len(out), _TILE):
        stop = min(start + _TILE, len(out))
        squares, mean = out[start:stop], middle[start:stop]
        for offset in range(period):
            value = values[start + offset : stop + offset]
            for i in range(len(squares)):
                distance = value[i] - mean[i]
                squares[i] += distance * distance
    count = float(period)
    for i in range(len(out)):
        out[i] = math.sqrt(out[i] / count)
