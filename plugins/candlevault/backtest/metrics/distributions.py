"""How values spread: quantiles and counts per bin."""

from __future__ import annotations

import decimal
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from candlevault.backtest.metrics.sums import total

_BINS = 36
_STEPS = (1, 2, 5, 10)


@dataclass(frozen=True, slots=True)
class Distribution:
    """Of a list of values: their number, mean, extremes and percentiles (`p5` to `p95`)."""

    count: int
    mean: float
    lowest: float
    p5: float
    p25: float
    median: float
    p75: float
    p95: float
    highest: float


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts between neighbouring `edges` (ascending, lower end inclusive), and of what lies
    outside: `below` the first edge, at or `above` the last one."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    below: int
    above: int


def distribution(values: Sequence[float] | np.ndarray) -> Distribution | None:
    """The distribution of finite `values`; None for none."""
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    if len(ordered) == 0:
        return None
    return Distribution(
        count=len(ordered),
        mean=total(ordered) / len(ordered),
        lowest=float(ordered[0]),
        p5=percentile(ordered, 5),
        p25=percentile(ordered, 25),
        median=percentile(ordered, 50),
        p75=percentile(ordered, 75),
        p95=percentile(ordered, 95),
        highest=float(ordered[-1]),
    )


def percentile(ordered: np.ndarray, percent: int) -> float:
    """Between the two ascending values around the place percent / 100 * (count - 1), straight
    in proportion. At least one value."""
    place, part = divmod(percent * (len(ordered) - 1), 100)
    low = float(ordered[place])
    if part == 0:
        return low
    return low + (float(ordered[place + 1]) - low) * part / 100.0


def histogram(values: Sequence[float] | np.ndarray) -> Histogram | None:
    """Counts of finite `values` in at most about 36 bins of a round width; None for none.

    Bins span the values from the 1st to the 99th percentile; 0 is an edge where it lies
    between them.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    if len(ordered) == 0:
        return None
    low, high = percentile(ordered, 1), percentile(ordered, 99)
    width = _round_width(low, high)
    with decimal.localcontext(decimal.Context(prec=40)):
        first = (decimal.Decimal(low) / width).to_integral_value(decimal.ROUND_FLOOR)
        last = (decimal.Decimal(high) / width).to_integral_value(decimal.ROUND_FLOOR) + 1
        edges = [float(width * number) for number in range(int(first), int(last) + 1)]
    bins = np.bincount(np.searchsorted(edges, ordered, side="right"), minlength=len(edges) + 1)
    counts = bins.tolist()
    return Histogram(tuple(edges), tuple(counts[1:-1]), below=counts[0], above=counts[-1])


def _round_width(low: float, high: float) -> decimal.Decimal:
    """1, 2 or 5 times a power of ten: the smallest that needs no more than the bins."""
    # Values that differ by rounding only are one bin.
    span = max(high - low, 1e-9 * max(abs(low), abs(high)), 1e-12)
    least = decimal.Decimal(span) / _BINS
    power = decimal.Decimal(1).scaleb(least.adjusted())
    return next(power * step for step in _STEPS if power * step >= least)
