"""How far the figures of a run could lie from what they are, by chance alone.

The returns per period are drawn again in blocks, with replacement: the stationary bootstrap of
D. N. Politis and J. P. Romano, "The Stationary Bootstrap" (1994). A block starts anywhere, goes
on over the end to the start, and ends after each period with the chance 1 / block length, so
that its mean length is the block length. The length is the smallest whole number whose cube is
at least the number of periods: lengths that grow with the cube root keep the error of the
estimated variance smallest (P. Hall, J. L. Horowitz and B.-Y. Jing, 1995).

Intervals are percentile intervals of 95 % (B. Efron and R. J. Tibshirani, "An Introduction to
the Bootstrap", 1993): of N sorted values, the k-th from either end, k = (N + 1) * 2.5 % rounded
down. They speak of periods like those seen; of another market they say nothing.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from candlevault.backtest.engine.simulation import Simulation, Stage
from candlevault.backtest.metrics import returns as period_returns
from candlevault.backtest.metrics.returns import moments
from candlevault.backtest.risk import Settings
from candlevault.backtest.significance.generator import below, started
from candlevault.errors import InvalidRequest

FEWEST = 39
"""With fewer values there is no 2.5 % of them to leave out."""


@dataclass(frozen=True, slots=True)
class Interval:
    """From `low` to `high`, both inclusive."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """What `resamples` redrawn histories of `periods` periods came to; percent as in Metrics.

    `reason` says why nothing could be drawn, and every figure is None then. An interval is
    None, too, where a value that bounds it is not defined: `annual_return_pct` for windows
    shorter than a day, `sharpe` when fewer than 39 redrawn histories moved at all (those
    without deviation are left out of its interval). `sharpe_not_positive`: the share (0-1) of
    redrawn histories whose Sharpe ratio is 0 or below, one that never moved included.
    """

    reason: str | None
    resamples: int
    seed: int
    periods: int
    block_length: int | None = None
    total_return_pct: Interval | None = None
    annual_return_pct: Interval | None = None
    sharpe: Interval | None = None
    max_drawdown_pct: Interval | None = None
    sharpe_not_positive: float | None = None

    def as_dict(self) -> dict[str, object]:
        """The figures by name, in declared order; intervals as dicts."""
        return dataclasses.asdict(self)


def bootstrap(
    stage: Stage,
    simulation: Simulation,
    settings: Settings,
    *,
    seed: int,
    resamples: int = 1000,
    block_length: int | None = None,
) -> Bootstrap:
    """Redraw the returns per period of `simulation`.

    `seed` decides every draw. Undefined (see `reason`) with fewer than two periods or when the
    equity never moved. Raises InvalidRequest for a seed that has not 64 bits, fewer than 39
    `resamples`, and a `block_length` below 1.
    """
    timeframe = stage.frames[0].timeframe
    state = started(seed)
    if resamples < FEWEST:
        raise InvalidRequest("resamples", f"must be at least {FEWEST}", resamples)
    if block_length is not None and block_length < 1:
        raise InvalidRequest("block_length", "must be at least 1", block_length)
    ends = period_returns.period_ends(stage.open_time, timeframe)
    drawn_from, _ = period_returns.of_periods(
        ends, simulation.equity, float(settings.initial_capital)
    )
    periods = len(drawn_from)
    if periods < 2:
        return Bootstrap("there are fewer than two periods", resamples, seed, periods)
    if not np.any(drawn_from):
        return Bootstrap("the equity never moved", resamples, seed, periods)
    length = block_length or block_length_of(periods)
    growth, ratios, falls, means = _redrawn(drawn_from, length, resamples, state)
    total = _interval(growth)
    elapsed_ms = len(simulation.equity) * timeframe.step_ms
    annual = total and [
        period_returns.annual_return_pct(1.0, value, elapsed_ms)
        for value in (total.low, total.high)
    ]
    a_year = math.sqrt(period_returns.periods_a_year(timeframe))
    sharpe = _interval(ratios[~np.isnan(ratios)])
    return Bootstrap(
        reason=None,
        resamples=resamples,
        seed=seed,
        periods=periods,
        block_length=length,
        total_return_pct=total and Interval((total.low - 1.0) * 100.0, (total.high - 1.0) * 100.0),
        annual_return_pct=Interval(*annual) if annual and None not in annual else None,
        sharpe=sharpe and Interval(sharpe.low * a_year, sharpe.high * a_year),
        max_drawdown_pct=_interval(falls),
        sharpe_not_positive=int(np.count_nonzero(means <= 0.0)) / resamples,
    )


def block_length_of(periods: int) -> int:
    """The smallest whole number whose cube is at least `periods`."""
    length = 1
    while length**3 < periods:
        length += 1
    return length


def _interval(values: np.ndarray) -> Interval | None:
    """The percentile interval; None for too few values or an end that is not finite."""
    left_out = (len(values) + 1) * 25 // 1000
    if left_out == 0:
        return None
    ordered = np.sort(values)
    low, high = float(ordered[left_out - 1]), float(ordered[-left_out])
    return Interval(low, high) if math.isfinite(low) and math.isfinite(high) else None


@njit(cache=True, nogil=True)
def _redrawn(returns, block_length, resamples, state):
    """Of each redrawn history: growth (ratio), Sharpe ratio per period (NaN without
    deviation), deepest drawdown in percent, mean return."""
    count = len(returns)
    history = np.empty(count)
    growth, ratios = np.empty(resamples), np.empty(resamples)
    falls, means = np.empty(resamples), np.empty(resamples)
    for sample in range(resamples):
        grown, from_peak, lowest = 1.0, 1.0, 1.0
        at = below(state, count)
        for i in range(count):
            if i > 0:
                if below(state, block_length) == 0:
                    at = below(state, count)
                else:
                    at = at + 1 if at + 1 < count else 0
            # After ruin nothing is gained or lost any more, as in the run itself.
            value = returns[at] if grown > 0.0 else 0.0
            history[i] = value
            grown *= 1.0 + value
            from_peak = min(from_peak * (1.0 + value), 1.0)
            lowest = min(lowest, from_peak)
        found = moments(history)
        growth[sample], means[sample] = grown, found.mean
        ratios[sample] = found.mean / found.deviation if found.deviation > 0.0 else np.nan
        falls[sample] = (1.0 - lowest) * 100.0
    return growth, ratios, falls, means
