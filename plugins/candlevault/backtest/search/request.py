"""The request that a checked payload of a sweep becomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from candlevault.backtest.payload import BacktestRequest
from candlevault.backtest.risk import Settings
from candlevault.backtest.search.axes import Axis
from candlevault.backtest.search.enumeration import Combinations, values_at
from candlevault.backtest.search.recipe import Recipe
from candlevault.backtest.search.schema import GRID
from candlevault.backtest.strategies.contract import Strategy


@dataclass(frozen=True, slots=True)
class WalkForward:
    """Windows in days of 24 hours; `step_days` is at least `out_of_sample_days`."""

    in_sample_days: int
    out_of_sample_days: int
    step_days: int
    anchored: bool = False


class Point(NamedTuple):
    """One combination: its `number` (from 1), the searched values by name as `given`, all
    `params` of the strategy, and the `settings` of the run."""

    number: int
    given: dict[str, object]
    params: dict[str, object]
    settings: Settings


@dataclass(frozen=True, slots=True, eq=False)
class SweepRequest:
    """A checked payload, defaults applied.

    `backtest` is the single backtest of the first point: the others share its series, window,
    data and intrabar mode. `shared` is the payload of what all points have in common.
    """

    backtest: BacktestRequest
    shared: Mapping[str, object]
    method: str
    axes: tuple[Axis, ...]
    combinations: Combinations
    samples: int | None
    seed: int | None
    rank_by: str
    walk_forward: WalkForward | None
    recipe: Recipe

    def __len__(self) -> int:
        return len(self.combinations.rows)

    @property
    def strategy(self) -> Strategy:
        """The strategy that all points run."""
        return self.recipe.strategy

    def given(self, number: int) -> dict[str, object]:
        """The searched values of the point of this number, by name."""
        return values_at(self.axes, self.combinations.rows[number - 1].tolist())

    def point(self, number: int) -> Point:
        """The point of this number, from 1 to the length."""
        given = self.given(number)
        params = self.recipe.params(given)
        return Point(number, given, params, self.recipe.settings(given, params))

    def request(self, number: int) -> BacktestRequest:
        """The single backtest that the point of this number is."""
        given = self.given(number)
        return self.recipe.request(given, self.recipe.params(given))

    def places(self) -> np.ndarray | None:
        """Where the points lie in the space that is searched; see ranking.rank. None unless
        every combination was tried: among some, nearness says little."""
        if self.method != GRID:
            return None
        columns = [
            axis.places()[self.combinations.rows[:, column]]
            for column, axis in enumerate(self.axes)
        ]
        return np.stack(columns, axis=1)
