"""Moving averages: simple, exponential, and Wilder's."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from candlevault.backtest.indicators.inputs import first_defined, require_period, series
from candlevault.backtest.indicators.memory import remembered


@remembered
def sma(values: np.ndarray, period: int) -> np.ndarray:
    """Simple moving average: mean of the last `period` values, from row period-1 on.

    Every window is added up by itself (by doubling: sums of 2, 4, 8 … neighbours), so the
    error is about log2(period) roundings, does not grow along the series, and equal
    windows have equal averages wherever they lie.
    """
    values = series(values)
    require_period(period)
    out = np.full(len(values), np.nan)
    if len(values) >= period:
        _window_means(values, period, values.copy(), out[period - 1 :])
    return out


@remembered
def ema(values: np.ndarray, period: int) -> np.ndarray:
    """Exponential moving average, weight 2 / (period + 1), seeded with the simple average.

    ema[period-1] = mean of the first `period` values; afterwards
    ema[i] = ema[i-1] + weight * (value[i] - ema[i-1]).
    """
    require_period(period)
    return _smoothed(values, period, 2.0 / (period + 1.0))


@remembered
def wilder(values: np.ndarray, period: int) -> np.ndarray:
    """Wilder's smoothing: an exponential average of weight 1 / period, seeded likewise."""
    require_period(period)
    return _smoothed(values, period, 1.0 / period)


def _smoothed(values: np.ndarray, period: int, weight: float) -> np.ndarray:
    values = series(values)
    out = np.full(len(values), np.nan)
    first = first_defined(values)
    if len(values) - first >= period:
        seed = math.fsum(values[first : first + period].tolist()) / period
        _smooth(values[first + period - 1 :], seed, weight, out[first + period - 1 :])
    return out


@njit(cache=True, nogil=True)
def _smooth(values, seed, weight, out):
    average = seed
    out[0] = average
    for i in range(1, len(values)):
        average += weight * (values[i] - average)
        out[i] = average


@njit(cache=True, nogil=True)
def _window_means(values, period, block, out):
    """Sums of every `period` neighbours, put together from the binary digits of `period`.

    `block` holds the values and is written to: sums of `size` neighbours each. Slices of equal
    length let the compiler add several windows at a time.
    """
    length = len(values)
    size, offset, digits = 1, 0, period
    out[:] = 0.0
    while digits:
        if digits & 1:
            part = block[offset : offset + len(out)]
            for i in range(len(out)):
                out[i] += part[i]
            offset += size
        digits >>= 1
        if digits:
            length -= size
            sums, next_sums = block[:length], block[size:]
            for i in range(length):
                sums[i] += next_sums[i]
            size *= 2
    divisor = float(period)
    for i in range(len(out)):
        out[i] /= divisor
