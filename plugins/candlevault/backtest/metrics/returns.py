"""Returns per period, and the figures made from them.

Periods are UTC days, or single bars where the timeframe is longer than a day; a year has 365
days. The risk-free rate is 0. Equity at or below 0 is ruin: the period in which it happens
returns -1 or less, and every period after it 0, whatever the equity does.

Sources: W. F. Sharpe, "The Sharpe Ratio" (1994); F. A. Sortino and L. N. Price, "Performance
Measurement in a Downside Risk Framework" (1994); P. G. Martin and B. B. McCann, "The
Investor's Guide to Fidelity Funds" (1989) for the ulcer index.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from candlevault.backtest.metrics.powers import growth_pct
from candlevault.backtest.metrics.sums import add, settled
from candlevault.timeframe import Timeframe

DAY_MS = 86_400_000
YEAR_MS = 365 * DAY_MS
_ROUNDING = 1e-12


class Moments(NamedTuple):
    """Of a list of returns (ratios): how many, the mean, the sample standard deviation (0.0
    when the returns differ by rounding only), the downside deviation about 0 (both 0.0 for a
    single return), and the second to fourth central moments, divided by the number."""

    count: int
    mean: float
    deviation: float
    downside: float
    second: float
    third: float
    fourth: float


def period_ms(timeframe: Timeframe) -> int:
    """The length of a period: a UTC day, or the step of a longer timeframe."""
    return max(timeframe.step_ms, DAY_MS)


def periods_a_year(timeframe: Timeframe) -> float:
    """How many periods a year of 365 days has."""
    return YEAR_MS / period_ms(timeframe)


def period_ends(open_time: np.ndarray, timeframe: Timeframe) -> np.ndarray:
    """The last row of each period, ascending; the last row of all ends the last period.

    `open_time` is the continuous grid of `timeframe`, of which a day holds a whole number of
    steps, or a step a whole number of days.
    """
    step = timeframe.step_ms
    length = period_ms(timeframe)
    first = 0 if step >= length else (length - int(open_time[0]) % length) // step - 1
    ends = np.arange(first, len(open_time) + length // step - 1, length // step)
    ends[-1] = len(open_time) - 1
    return ends


@njit(cache=True, nogil=True)
def of_periods(ends, equity, capital):
    """Float64 returns (ratios) of the equity at each of the rows `ends` against that at the
    one before, the first against the initial capital; and the ulcer index in percent.
    """
    out = np.empty(len(ends))
    before, peak, squares = capital, capital, (0.0, 0.0, 0.0)
    for i in range(len(ends)):
        now = equity[ends[i]]
        out[i] = 0.0
        if before > 0.0:
            out[i] = now / before - 1.0
            before = now
        peak = max(peak, now)
        below = (peak - now) / peak * 100.0
        squares = add(*squares, below * below)
    return out, math.sqrt(settled(squares) / len(ends))


@njit(cache=True, nogil=True)
def moments(returns):
    """Moments of float64 `returns`, at least one."""
    count = len(returns)
    total, bad, largest = (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), 0.0
    for value in returns:
        total = add(*total, value)
        down = min(value, 0.0)
        bad = add(*bad, down * down)
        largest = max(largest, abs(value))
    mean = settled(total) / count
    second, third, fourth = (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)
    for value in returns:
        away = value - mean
        square = away * away
        second = add(*second, square)
        third = add(*third, square * away)
        fourth = add(*fourth, square * square)
    deviation = math.sqrt(settled(second) / (count - 1)) if count > 1 else 0.0
    # Equal returns differ by rounding; dividing by that would make up a huge ratio.
    if deviation <= _ROUNDING * largest:
        deviation = 0.0
    downside = math.sqrt(settled(bad) / count) if count > 1 else 0.0
    return Moments(
        count,
        mean,
        deviation,
        downside,
        settled(second) / count,
        settled(third) / count,
        settled(fourth) / count,
    )


def sharpe(returns: list[float] | np.ndarray, periods_a_year: float) -> float | None:
    """Annualised mean / sample standard deviation of `returns`; see Metrics."""
    if len(returns) == 0:
        return None
    found = moments(np.asarray(returns, dtype=np.float64))
    return ratio(found.mean, found.deviation, periods_a_year)


def sortino(returns: list[float] | np.ndarray, periods_a_year: float) -> float | None:
    """Annualised mean / downside deviation of `returns`; see Metrics."""
    if len(returns) == 0:
        return None
    found = moments(np.asarray(returns, dtype=np.float64))
    return ratio(found.mean, found.downside, periods_a_year)


def ratio(mean: float, deviation: float, periods_a_year: float) -> float | None:
    """mean / deviation, annualised with the root of the periods; None without deviation."""
    return mean / deviation * math.sqrt(periods_a_year) if deviation > 0.0 else None


def annual_return_pct(initial: float, final: float, elapsed_ms: int) -> float | None:
    """Compound yearly growth in percent; None below a day or when beyond all floats.

    -100 when nothing or less is left.
    """
    if elapsed_ms < DAY_MS:
        return None
    if final <= 0.0:
        return -100.0
    try:
        return growth_pct(float(final), float(initial), YEAR_MS, int(elapsed_ms))
    except OverflowError:
        return None
