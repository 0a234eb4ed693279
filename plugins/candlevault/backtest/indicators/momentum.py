"""How fast prices move: relative strength, convergence of averages, rate of change."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from candlevault.backtest.indicators.averages import ema
from candlevault.backtest.indicators.inputs import first_defined, require_period, series
from candlevault.backtest.indicators.memory import remembered
from candlevault.errors import InvalidRequest


class Macd(NamedTuple):
    """Three arrays in quote: `line`, its `signal` and their difference `histogram`."""

    line: np.ndarray
    signal: np.ndarray
    histogram: np.ndarray


@remembered
def rsi(close: np.ndarray, period: int = 14) -> np.ndarray:
    """Relative strength index, 0–100, from row `period` on.

    100 * gain / (gain + loss), where gain and loss are the Wilder-smoothed rises and falls
    of the close (this equals 100 - 100 / (1 + gain / loss)). 50 where nothing moved.
    """
    close = series(close, "close")
    require_period(period)
    out, gain, loss = (np.full(len(close), np.nan) for _ in range(3))
    _changes(close, gain, loss)
    first = first_defined(gain)
    if len(close) - first >= period:
        seed = slice(first, first + period)
        rest = slice(first + period - 1, None)
        _strength(
            gain[rest],
            loss[rest],
            math.fsum(gain[seed].tolist()) / period,
            math.fsum(loss[seed].tolist()) / period,
            1.0 / period,
            out[rest],
        )
    return out


@remembered
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


@remembered
def roc(values: np.ndarray, period: int) -> np.ndarray:
    """Rate of change in percent over `period` rows, from row `period` on.

    100 * (value[i] - value[i-period]) / value[i-period]; NaN where the divisor is 0.
    """
    values = series(values)
    require_period(period)
    out = np.full(len(values), np.nan)
    before = values[:-period]
    rise = 100.0 * (values[period:] - before)
    np.divide(rise, before, out=out[period:], where=before != 0.0)
    return out


@njit(cache=True, nogil=True)
def _changes(close, gain, loss):
    """Rises and falls of the close, both at least 0; a row that is not written to keeps NaN."""
    for i in range(1, len(close)):
        change = close[i] - close[i - 1]
        if not np.isnan(change):
            gain[i] = change if change > 0.0 else 0.0
            loss[i] = -change if change < 0.0 else 0.0


@njit(cache=True, nogil=True)
def _strength(gain, loss, rise, fall, weight, out):
    """The index from the first seeded row on; `rise` and `fall` are the seeds."""
    for i in range(len(out)):
        if i > 0:
            rise += weight * (gain[i] - rise)
            fall += weight * (loss[i] - fall)
        moved = rise + fall
        if moved > 0.0:
            out[i] = 100.0 * rise / moved
        elif not np.isnan(moved):
            out[i] = 50.0
