"""Which point did best, and how much its neighbourhood supports it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

HIGHER_IS_BETTER = {
    "sharpe": True,
    "sortino": True,
    "calmar": True,
    "total_return_pct": True,
    "annual_return_pct": True,
    "final_equity": True,
    "profit_factor": True,
    "expectancy": True,
    "win_rate_pct": True,
    "payoff_ratio": True,
    "recovery_factor": True,
    "worst_trade_pct": True,
    "max_drawdown_pct": False,
    "max_drawdown_amount": False,
    "max_drawdown_duration_seconds": False,
    "ulcer_index_pct": False,
    "volatility_pct": False,
    "longest_losing_streak": False,
    "fees_paid": False,
}
"""The metrics that points can be ranked by, and the direction in which they are better."""

DEFAULT_METRIC = "sharpe"


@dataclass(frozen=True, slots=True)
class Ranking:
    """Points ranked by one metric; values are those of the metric, None where undefined.

    `ranks` has one rank (from 1) a point, in the order of the points. `judged` points have a
    defined value. Of the `best` point (its position, from 0): its value, and of its `neighbours`
    (one step away in one ordered setting) how many there are, the mean and the worst of their
    defined values. Without an order between points there are none. `median` is that of all
    defined values, `profitable_pct` the share of all points with a total return above 0.
    """

    metric: str
    ranks: tuple[int, ...]
    judged: int
    best: int
    best_value: float | None
    neighbours: int
    neighbours_mean: float | None
    neighbours_worst: float | None
    median: float | None
    profitable_pct: float

    def as_dict(self) -> dict[str, object]:
        """The figures by name, without the ranks and the position."""
        left_out = ("ranks", "best")
        return {name: value for name, value in asdict(self).items() if name not in left_out}


def rank(
    metric: str,
    values: Sequence[float | None],
    total_returns: Sequence[float],
    places: np.ndarray | None = None,
) -> Ranking:
    """Rank points by `values` of `metric`; undefined ones come last, equal ones in their order.

    There is at least one point. `places` (int64, a row a point and a column a setting) says
    where a point lies: neighbours differ by 1 in one column. None: there is no order.
    """
    order = ordered(metric, values)
    ranks = np.empty(len(values), dtype=np.int64)
    ranks[order] = np.arange(1, len(values) + 1)
    best = order[0]
    defined = [float(value) for value in values if value is not None]
    near = [] if places is None else neighbours(places, best)
    around = [float(values[i]) for i in near if values[i] is not None]
    worst = min if HIGHER_IS_BETTER[metric] else max
    return Ranking(
        metric=metric,
        ranks=tuple(ranks.tolist()),
        judged=len(defined),
        best=best,
        best_value=None if values[best] is None else float(values[best]),
        neighbours=len(near),
        neighbours_mean=math.fsum(around) / len(around) if around else None,
        neighbours_worst=worst(around) if around else None,
        median=statistics.median(defined) if defined else None,
        profitable_pct=sum(value > 0.0 for value in total_returns) / len(values) * 100.0,
    )


def ordered(metric: str, values: Sequence[float | None]) -> list[int]:
    """The positions of `values`, best first; undefined ones last, equal ones ascending."""
    sign = -1.0 if HIGHER_IS_BETTER[metric] else 1.0
    return sorted(
        range(len(values)),
        key=lambda i: (1, 0.0, i) if values[i] is None else (0, sign * float(values[i]), i),
    )


def neighbours(places: np.ndarray, position: int) -> list[int]:
    """The positions of the points that lie one step away in one column, ascending."""
    away = np.abs(places - places[position]).sum(axis=1)
    return np.flatnonzero(away == 1).tolist()
