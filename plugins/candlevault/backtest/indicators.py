"""Indicators: float64 arrays in, float64 arrays of the same length out.

NaN until an indicator is defined. Value i depends on inputs 0..i only, so cutting off the
future changes nothing. The inputs are rows without holes; leading NaN (an indicator of an
indicator) is skipped.

Only elementwise operations and plain loops are used, never `np.sum` or `np.mean`: their
order of additions depends on the processor, and results must agree to the byte.

Sources: J. Welles Wilder, "New Concepts in Technical Trading Systems" (1978) for RSI,
true range and ATR; G. Appel, "Technical Analysis: Power Tools" (2005) for MACD;
J. Bollinger, "Bollinger on Bollinger Bands" (2001).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from candlevault.errors import InvalidRequest

EQUAL_RATIO = 1e-12
"""Two averages that differ by at most this part of the larger one count as equal."""


class Macd(NamedTuple):
    """Three arrays in quote: `line`, its `signal` and their difference `histogram`."""

    line: np.ndarray
    signal: np.ndarray
    histogram: np.ndarray


class Bollinger(NamedTuple):
    """Three arrays in quote: `lower`, `middle` and `upper` band."""

    lower: np.ndarray
    middle: np.ndarray
    upper: np.ndarray


def sma(values: np.ndarray, period: int) -> np.ndarray:
    """Simple moving average: mean of the last `period` values, from row period-1 on.

    Every window is added up by itself (by doubling: sums of 2, 4, 8 … neighbours), so the
    error is about log2(period) roundings, does not grow along the series, and equal
    windows have equal averages wherever they lie.
    """
    values = _series(values)
    _require_period(period)
    out = np.full(len(values), np.nan)
    if len(values) >= period:
        out[period - 1 :] = _window_sums(values, period) / period
    return out


def ema(values: np.ndarray, period: int) -> np.ndarray:
    """Exponential moving average, weight 2 / (period + 1), seeded with the simple average.

    ema[period-1] = mean of the first `period` values; afterwards
    ema[i] = ema[i-1] + weight * (value[i] - ema[i-1]).
    """
    _require_period(period)
    return _smoothed(values, period, 2.0 / (period + 1.0))


def wilder(values: np.ndarray, period: int) -> np.ndarray:
    """Wilder's smoothing: an exponential average of weight 1 / period, seeded likewise."""
    _require_period(period)
    return _smoothed(values, period, 1.0 / period)


def rsi(close: np.ndarray, period: int = 14) -> np.ndarray:
    """Relative strength index, 0–100, from row `period` on.

    100 * gain / (gain + loss), where gain and loss are the Wilder-smoothed rises and falls
    of the close (this equals 100 - 100 / (1 + gain / loss)). 50 where nothing moved.
    """
    close = _series(close)
    _require_period(period)
    change = np.full(len(close), np.nan)
    change[1:] = close[1:] - close[:-1]
    gain = wilder(np.where(np.isnan(change), np.nan, np.maximum(change, 0.0)), period)
    loss = wilder(np.where(np.isnan(change), np.nan, np.maximum(-change, 0.0)), period)
    moved = gain + loss
    out = np.where(np.isnan(moved), np.nan, 50.0)
    np.divide(100.0 * gain, moved, out=out, where=moved > 0.0)
    return out


def true_range(high: np.ndarray, low: np.ndarray, close: np.ndarray) -> np.ndarray:
    """max(high, previous close) - min(low, previous close), from row 1 on."""
    high, low, close = _series(high), _series(low), _series(close)
    out = np.full(len(close), np.nan)
    out[1:] = np.maximum(high[1:], close[:-1]) - np.minimum(low[1:], close[:-1])
    return out


def atr(high: np.ndarray, low: np.ndarray, close: np.ndarray, period: int = 14) -> np.ndarray:
    """Average true range: the Wilder-smoothed true range, from row `period` on."""
    return wilder(true_range(high, low, close), period)


def macd(close: np.ndarray, fast: int = 12, slow: int = 26, signal: int = 9) -> Macd:
    """Moving average convergence divergence.

    line = ema(fast) - ema(slow), from row slow-1 on; signal = ema of the line over
    `signal` rows, from row slow+signal-2 on; histogram = line - signal. Each average is
    seeded at its own first `period` values.
    """
    if fast >= slow:
        raise InvalidRequest("fast", f"must be smaller than slow ({slow})", fast)
    line = ema(close, fast) - ema(close, slow)
    average = ema(line, signal)
    return Macd(line, average, line - average)


def bollinger(close: np.ndarray, period: int = 20, width: float = 2.0) -> Bollinger:
    """Bollinger bands: the simple average ± `width` standard deviations.

    The standard deviation is that of the `period` values themselves (divided by `period`),
    computed around each window's own mean. Defined from row period-1 on.
    """
    close = _series(close)
    middle = sma(close, period)
    deviation = np.full(len(close), np.nan)
    count = len(close) - period + 1
    if count > 0:
        squares = np.zeros(count)
        for offset in range(period):
            distance = close[offset : offset + count] - middle[period - 1 :]
            squares += distance * distance
        deviation[period - 1 :] = np.sqrt(squares / period)
    return Bollinger(middle - width * deviation, middle, middle + width * deviation)


def crosses_above(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Bool array: left[i-1] <= right[i-1] and left[i] > right[i], all four defined.

    Values within EQUAL_RATIO of each other count as equal: rounding is not a cross.
    """
    above = _exceeds(left, right)
    defined = ~(np.isnan(left) | np.isnan(right))
    out = np.zeros(len(above), dtype=bool)
    out[1:] = above[1:] & ~above[:-1] & defined[:-1]
    return out


def crosses_below(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Bool array: left[i-1] >= right[i-1] and left[i] < right[i], all four defined."""
    return crosses_above(right, left)


def _exceeds(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    tolerance = EQUAL_RATIO * np.maximum(np.abs(left), np.abs(right))
    return left - right > tolerance


def _smoothed(values: np.ndarray, period: int, weight: float) -> np.ndarray:
    values = _series(values)
    out = np.full(len(values), np.nan)
    defined = np.flatnonzero(~np.isnan(values))
    if len(defined) == 0 or len(values) - defined[0] < period:
        return out
    seed_row = int(defined[0]) + period - 1
    average = math.fsum(values[defined[0] : seed_row + 1].tolist()) / period
    smoothed = [average]
    for value in values[seed_row + 1 :].tolist():
        average += weight * (value - average)
        smoothed.append(average)
    out[seed_row:] = smoothed
    return out


def _window_sums(values: np.ndarray, period: int) -> np.ndarray:
    """Sums of every `period` neighbours, put together from the binary digits of `period`."""
    count = len(values) - period + 1
    total = np.zeros(count)
    block, size, offset, digits = values, 1, 0, period
    while digits:
        if digits & 1:
            total = total + block[offset : offset + count]
            offset += size
        digits >>= 1
        if digits:
            block = block[:-size] + block[size:]
            size *= 2
    return total


def _series(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, dtype=np.float64)


def _require_period(period: int) -> None:
    if isinstance(period, bool) or not isinstance(period, int | np.integer) or period < 1:
        raise InvalidRequest("period", "must be a whole number of at least 1", period)
