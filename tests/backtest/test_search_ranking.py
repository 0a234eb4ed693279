"""Ranks, the neighbourhood of the winner, and what its Sharpe ratio is worth."""

from __future__ import annotations

import dataclasses
import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candlevault.backtest.metrics import Metrics
from candlevault.backtest.search.deflated_sharpe import (
    deflate,
    expected_maximum,
    probabilistic,
    variance,
)
from candlevault.backtest.search.ranking import HIGHER_IS_BETTER, rank
from tests.support.sweeping import sweep_over, wandering


class TestRanks:
    def test_the_highest_sharpe_ratio_is_first_and_undefined_ones_are_last(self):
        found = rank("sharpe", [0.5, None, 2.0, -1.0, None], [1, 0, 5, -3, 0])
        assert found.ranks == (2, 4, 1, 3, 5)
        assert (found.best, found.best_value, found.judged) == (2, 2.0, 3)
        assert found.profitable_pct == 40.0
        assert found.median == 0.5

    def test_the_lowest_drawdown_is_first(self):
        assert rank("max_drawdown_pct", [30.0, 10.0, 20.0], [0, 0, 0]).ranks == (3, 1, 2)

    def test_equal_values_are_ranked_by_their_number(self):
        assert rank("calmar", [1.0, 2.0, 2.0, 1.0], [0] * 4).ranks == (3, 1, 2, 4)

    def test_without_any_defined_value_the_first_point_stands_first(self):
        found = rank("sharpe", [None, None], [0, 0])
        assert (found.best, found.best_value, found.judged, found.median) == (0, None, 0, None)

    @settings(derandomize=True, deadline=None, database=None, max_examples=100)
    @given(
        values=st.lists(
            st.none() | st.floats(-1e6, 1e6) | st.sampled_from([0.0, 1.0]), min_size=1, max_size=30
        ),
        metric=st.sampled_from(sorted(HIGHER_IS_BETTER)),
    )
    def test_ranks_are_a_permutation_in_the_order_of_the_values(self, values, metric):
        found = rank(metric, values, [0.0] * len(values))
        assert sorted(found.ranks) == list(range(1, len(values) + 1))
        by_rank = [values[found.ranks.index(number)] for number in range(1, len(values) + 1)]
        defined = [value for value in by_rank if value is not None]
        assert by_rank[: len(defined)] == defined
        assert defined == sorted(defined, reverse=HIGHER_IS_BETTER[metric])

    def test_only_metrics_that_exist_can_decide(self):
        assert set(HIGHER_IS_BETTER) <= {field.name for field in dataclasses.fields(Metrics)}


class TestNeighbours:
    def ranked(self, request, values, metric="sharpe"):
        return rank(metric, values, [0.0] * len(values), request.places())

    @pytest.fixture
    def grid(self):
        # 1: (5, 30) 2: (5, 40) 3: (5, 60) 4: (10, 30) … 9: (20, 60)
        return sweep_over(wandering(50), {"params": {"fast": [5, 10, 20], "slow": [30, 40, 60]}})

    def test_the_neighbours_of_the_middle_are_the_four_around_it(self, grid):
        found = self.ranked(grid, [0.0, 1.0, 0.0, 2.0, 9.0, 4.0, 0.0, 5.0, 0.0])
        assert (found.best, found.neighbours) == (4, 4)
        assert found.neighbours_mean == (1.0 + 2.0 + 4.0 + 5.0) / 4
        assert found.neighbours_worst == 1.0

    def test_a_corner_has_two(self, grid):
        found = self.ranked(grid, [9.0, 1.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0])
        assert (found.neighbours, found.neighbours_mean) == (2, 1.5)

    def test_undefined_neighbours_count_but_have_no_share_in_the_mean(self, grid):
        found = self.ranked(grid, [9.0, None, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0])
        assert (found.neighbours, found.neighbours_mean) == (2, 2.0)

    def test_the_worst_drawdown_around_is_the_highest(self, grid):
        drawdowns = [1.0, 7.0, 9.0, 3.0, 9.0, 9.0, 9.0, 9.0, 9.0]
        assert self.ranked(grid, drawdowns, "max_drawdown_pct").neighbours_worst == 7.0

    def test_combinations_that_were_left_out_are_no_neighbours(self):
        request = sweep_over(wandering(50), {"params": {"fast": [5, 35], "slow": [30, 40]}})
        assert len(request) == 3  # (5, 30), (5, 40), (35, 40)
        assert self.ranked(request, [9.0, 1.0, 5.0]).neighbours_mean == 1.0

    def test_a_stop_that_is_off_is_near_no_stop(self):
        request = sweep_over(wandering(50), {"params": {"risk.stop_loss_pct": [None, 1, 2]}})
        assert self.ranked(request, [9.0, 1.0, 5.0]).neighbours == 0
        assert self.ranked(request, [1.0, 9.0, 5.0]).neighbours_mean == 5.0

    def test_words_are_near_nothing(self):
        rules = {
            "indicators": {"line": {"function": "SMA", "timeperiod": 5}},
            "entry": {"long": {"above": ["close", "line"]}},
            "exit": {"long": {"below": ["close", "line"]}},
        }
        request = sweep_over(
            wandering(50),
            {
                "params": {
                    "indicators.line.function": ["EMA", "SMA"],
                    "indicators.line.timeperiod": [5, 6],
                }
            },
            backtest={"strategy": "rules", "params": rules},
        )
        assert self.ranked(request, [9.0, 3.0, 5.0, 6.0]).neighbours_mean == 3.0

    def test_drawn_and_listed_points_have_none(self):
        for search in (
            {"method": "random", "samples": 5, "params": {"fast": {"from": 2, "to": 8}}},
            {"method": "list", "list": [{"fast": 2}, {"fast": 3}]},
        ):
            request = sweep_over(wandering(50), search)
            assert request.places() is None
            assert self.ranked(request, [1.0] * len(request)).neighbours == 0


class TestProbabilisticSharpe:
    def test_the_published_hedge_fund(self):
        # Bailey and López de Prado (2012): monthly ratio 0.458 over 24 months.
        assert probabilistic(0.458, 0.0, 0.0, 3.0, 24) == pytest.approx(0.982, abs=5e-4)
        assert probabilistic(0.458, 0.0, -2.448, 10.164, 24) == pytest.approx(0.913, abs=5e-4)

    def test_a_ratio_at_the_benchmark_is_as_likely_above_as_below(self):
        assert probabilistic(0.1, 0.1, -1.0, 5.0, 100) == 0.5

    def test_by_hand_for_normal_returns(self):
        # √(1 + 0.5²/2) = √1.125; 0.5 * √8 / √1.125 = 4/3; Φ(4/3) from a table.
        assert probabilistic(0.5, 0.0, 0.0, 3.0, 9) == pytest.approx(0.90879, abs=5e-6)

    def test_it_is_undefined_for_one_period_and_for_impossible_moments(self):
        assert probabilistic(0.5, 0.0, 0.0, 3.0, 1) is None
        assert probabilistic(2.0, 0.0, 2.0, 1.0, 100) is None


class TestDeflatedSharpe:
    # Bailey and López de Prado (2014): annual ratio 2.5 over 1250 days of 250 a year, best of
    # 100 trials whose annual ratios have variance 1/2, skewness -3, kurtosis 10.
    SHARPE, VARIANCE = 2.5 / math.sqrt(250), 0.5 / 250

    def test_the_published_expected_maximum(self):
        assert expected_maximum(100, self.VARIANCE) == pytest.approx(0.1132, abs=5e-5)

    def test_the_published_deflated_ratio(self):
        hurdle = expected_maximum(100, self.VARIANCE)
        assert probabilistic(self.SHARPE, hurdle, -3.0, 10.0, 1250) == pytest.approx(
            0.9004, abs=5e-5
        )

    def test_the_published_number_of_trials_that_would_still_be_significant(self):
        hurdle = expected_maximum(46, self.VARIANCE)
        assert probabilistic(self.SHARPE, hurdle, -3.0, 10.0, 1250) == pytest.approx(
            0.9505, abs=5e-5
        )
        hurdle = expected_maximum(88, self.VARIANCE)
        assert probabilistic(self.SHARPE, hurdle, 0.0, 3.0, 1250) == pytest.approx(0.9505, abs=5e-5)

    def test_the_variance_is_that_of_the_ratios_tried(self):
        ratios = [0.01, 0.05, None, 0.03, -0.02]
        found = deflate(ratios, sharpe=0.05, skewness=0.1, kurtosis=4.0, periods=500)
        known = [0.01, 0.05, 0.03, -0.02]
        assert found.trials == 4
        assert found.variance == pytest.approx(statistics.variance(known), rel=1e-14)
        assert found.expected_maximum == expected_maximum(4, found.variance)
        assert found.deflated == probabilistic(0.05, found.expected_maximum, 0.1, 4.0, 500)
        assert found.probabilistic == probabilistic(0.05, 0.0, 0.1, 4.0, 500)
        assert found.deflated < found.probabilistic

    def test_a_single_trial_is_not_deflated(self):
        found = deflate([0.05], sharpe=0.05, skewness=0.0, kurtosis=3.0, periods=500)
        assert (found.trials, found.variance, found.expected_maximum) == (1, 0.0, 0.0)
        assert found.deflated == found.probabilistic

    def test_without_a_ratio_there_is_nothing_to_deflate(self):
        found = deflate([None, None], sharpe=None, skewness=None, kurtosis=None, periods=500)
        assert (found.trials, found.variance, found.deflated) == (0, None, None)

    @settings(derandomize=True, deadline=None, database=None, max_examples=60)
    @given(trials=st.integers(2, 100_000), more=st.integers(1, 100_000))
    def test_more_trials_raise_the_hurdle(self, trials, more):
        assert 0.0 < expected_maximum(trials, 1.0) < expected_maximum(trials + more, 1.0)

    def test_the_hurdle_is_what_the_best_of_so_many_normals_reaches(self):
        chance = np.random.default_rng(3)
        best = chance.normal(0.0, 1.0, (20_000, 50)).max(axis=1)
        assert expected_maximum(50, 1.0) == pytest.approx(float(best.mean()), abs=0.03)

    def test_the_variance_of_one_and_of_none(self):
        assert (variance([]), variance([3.0]), variance([1.0, 3.0])) == (None, 0.0, 2.0)
