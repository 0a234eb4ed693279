"""The stationary bootstrap of the returns per period."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candlevault.backtest.engine.simulation import stage
from candlevault.backtest.metrics import annual_return_pct
from candlevault.backtest.risk import Settings
from candlevault.backtest.significance import block_bootstrap, bootstrap
from candlevault.backtest.significance.generator import below, started
from candlevault.errors import InvalidRequest
from tests.support.trading import traded

RULES = Settings(initial_capital=1000.0)


def with_returns(frame_of, returns, timeframe="1d"):
    """A stage and a simulation whose equity has these returns per bar."""
    frame = frame_of([100] * len(returns), timeframe=timeframe)
    done = traded(frame, [0] * len(returns), initial_capital=1000.0)
    equity = 1000.0 * np.cumprod(1.0 + np.array(returns, dtype=float))
    return stage([frame]), dataclasses.replace(done, equity=equity)


def noise(count, mean=0.0, seed=3):
    """Returns of 1 % up and down around `mean`, the same everywhere."""
    state, found = started(seed), []
    for _ in range(count):
        up = below(state, 2)
        found.append(mean + (0.01 if up else -0.01))
    return found


def test_equal_seeds_give_equal_figures_and_others_do_not(frame_of):
    on, done = with_returns(frame_of, noise(200))
    one, two, other = (bootstrap(on, done, RULES, seed=seed) for seed in (1, 1, 2))
    assert one == two
    assert one.total_return_pct != other.total_return_pct
    assert json.loads(json.dumps(one.as_dict(), allow_nan=False))["seed"] == 1


def test_the_figures_of_one_seed_are_known(frame_of):
    # Whoever changes a draw, its order or a rounding changes stored results.
    on, done = with_returns(frame_of, noise(30, mean=0.001))
    got = bootstrap(on, done, RULES, seed=42, resamples=99)
    assert got == KNOWN


KNOWN = block_bootstrap.Bootstrap(
    reason=None,
    resamples=99,
    seed=42,
    periods=30,
    block_length=4,
    total_return_pct=block_bootstrap.Interval(low=0.854353555518883, high=15.994436056260497),
    annual_return_pct=block_bootstrap.Interval(low=10.905114738296387, high=508.114584994958),
    sharpe=block_bootstrap.Interval(low=0.6275246627669782, high=10.247434831942954),
    max_drawdown_pct=block_bootstrap.Interval(low=1.7918999999999907, high=6.132428660131362),
    sharpe_not_positive=0.0,
)


def redrawn_plainly(returns, length, resamples, seed):
    """The growth of each redrawn history, in plain Python."""
    state, grown = started(seed), []
    for _ in range(resamples):
        at = below(state, len(returns))
        value = 1.0
        for i in range(len(returns)):
            if i:
                ends = below(state, length)
                at = (at + 1) % len(returns)
                if ends == 0:
                    at = below(state, len(returns))
            if value > 0:
                value *= 1.0 + returns[at]
        grown.append(value)
    return grown


def test_blocks_are_drawn_as_described(frame_of):
    returns = noise(40, mean=0.002)
    on, done = with_returns(frame_of, returns)
    got = bootstrap(on, done, RULES, seed=7, resamples=79)
    grown = sorted(redrawn_plainly(returns, 4, 79, 7))
    # 80 * 2.5 % = 2: the second from either end
    assert got.block_length == 4
    assert got.total_return_pct.low == pytest.approx((grown[1] - 1) * 100)
    assert got.total_return_pct.high == pytest.approx((grown[-2] - 1) * 100)
    assert got.annual_return_pct.low == pytest.approx(
        annual_return_pct(1.0, grown[1], 40 * 86_400_000)
    )


def test_blocks_of_one_are_drawn_one_by_one_and_long_ones_keep_their_order(frame_of):
    # up and down in turns: whole histories of neighbours go nowhere
    returns = [0.1, 1 / 1.1 - 1] * 50
    on, done = with_returns(frame_of, returns)
    single = bootstrap(on, done, RULES, seed=1, block_length=1)
    whole = bootstrap(on, done, RULES, seed=1, block_length=100_000)
    assert single.total_return_pct.low < -60
    assert single.total_return_pct.high > 200
    assert whole.total_return_pct.low == pytest.approx(0, abs=1e-9)
    assert whole.total_return_pct.high == pytest.approx(0, abs=1e-9)


def test_a_mean_of_independent_returns_spreads_as_theory_says(frame_of):
    # 400 returns of 1 % up or down: the Sharpe ratio per period spreads by 1 / sqrt(400)
    on, done = with_returns(frame_of, noise(400))
    got = bootstrap(on, done, RULES, seed=11, resamples=4000, block_length=1)
    width = (got.sharpe.high - got.sharpe.low) / math.sqrt(365)
    assert width == pytest.approx(2 * 1.96 / 20, rel=0.06)
    good = bootstrap(
        *with_returns(frame_of, noise(400, mean=0.001)),
        RULES,
        seed=11,
        resamples=4000,
        block_length=1,
    )
    # 400 draws of mean 0.1 % (noise included) and deviation 1 %: the chance is a normal one
    returns = np.array(noise(400, mean=0.001))
    z = returns.mean() / (returns.std() / 20)
    expected = 0.5 * math.erfc(z / math.sqrt(2))
    assert good.sharpe_not_positive == pytest.approx(expected, abs=0.02)


def test_returns_of_one_kind_have_no_spread(frame_of):
    got = bootstrap(*with_returns(frame_of, [0.01] * 30), RULES, seed=1)
    assert got.reason is None
    assert got.total_return_pct.low == pytest.approx((1.01**30 - 1) * 100)
    assert got.total_return_pct.high == pytest.approx((1.01**30 - 1) * 100)
    assert got.sharpe is None
    assert got.sharpe_not_positive == 0.0
    assert (got.max_drawdown_pct.low, got.max_drawdown_pct.high) == (0.0, 0.0)


def test_a_drawdown_starts_at_the_initial_capital(frame_of):
    got = bootstrap(*with_returns(frame_of, [-0.5, -0.5]), RULES, seed=1)
    assert got.max_drawdown_pct.low == got.max_drawdown_pct.high == pytest.approx(75.0)


def test_ruin_ends_a_redrawn_history(frame_of):
    on, done = with_returns(frame_of, [0.5] * 6)
    equity = done.equity.copy()
    equity[3:] = -500.0
    got = bootstrap(on, dataclasses.replace(done, equity=equity), RULES, seed=1, resamples=200)
    # what is lost below nothing is neither won back nor lost once more
    returns = [0.5, 0.5, 0.5, -500 / equity[2] - 1, 0.0, 0.0]
    grown = sorted(redrawn_plainly(returns, 2, 200, 1))
    assert got.total_return_pct.low == pytest.approx((grown[4] - 1) * 100)
    assert got.total_return_pct.high == pytest.approx((grown[-5] - 1) * 100)
    assert got.total_return_pct.low < -100
    assert got.max_drawdown_pct.high > 100
    assert got.annual_return_pct.low == -100


@pytest.mark.parametrize(
    ("returns", "timeframe", "reason"),
    [
        ([0.1], "1d", "fewer than two periods"),
        ([0.0] * 10, "1d", "never moved"),
        ([0.1] * 20, "1h", "fewer than two periods"),
    ],
)
def test_what_cannot_be_drawn_has_a_reason_and_no_figures(frame_of, returns, timeframe, reason):
    got = bootstrap(*with_returns(frame_of, returns, timeframe), RULES, seed=1)
    assert reason in got.reason
    figures = got.as_dict()
    for name in ("reason", "resamples", "seed", "periods"):
        figures.pop(name)
    assert set(figures.values()) == {None}


def test_growth_beyond_all_floats_is_no_figure(frame_of):
    on, done = with_returns(frame_of, [0.0, 0.01])
    equity = np.array([1000.0, 1e300])
    got = bootstrap(on, dataclasses.replace(done, equity=equity), RULES, seed=1)
    assert got.total_return_pct is None
    assert got.annual_return_pct is None
    json.dumps(got.as_dict(), allow_nan=False)


@pytest.mark.parametrize(("field", "value"), [("resamples", 38), ("block_length", 0)])
def test_too_few_draws_are_refused(frame_of, field, value):
    with pytest.raises(InvalidRequest) as caught:
        bootstrap(*with_returns(frame_of, noise(9)), RULES, seed=1, **{field: value})
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("periods", "length"), [(1, 1), (2, 2), (8, 2), (9, 3), (27, 3), (2100, 13)]
)
def test_the_block_length_grows_with_the_cube_root(periods, length):
    assert block_bootstrap.block_length_of(periods) == length


@settings(database=None, deadline=None, derandomize=True, max_examples=60)
@given(st.lists(st.floats(-0.9, 2.0), min_size=2, max_size=40), st.integers(0, 2**64 - 1))
def test_intervals_are_ordered_finite_and_in_bounds(frame_of, returns, seed):
    got = bootstrap(*with_returns(frame_of, returns), RULES, seed=seed, resamples=60)
    json.dumps(got.as_dict(), allow_nan=False)
    if got.reason is None:
        for name in ("total_return_pct", "annual_return_pct", "sharpe", "max_drawdown_pct"):
            interval = getattr(got, name)
            assert interval is None or interval.low <= interval.high
        assert got.total_return_pct.low >= -100
        assert 0 <= got.max_drawdown_pct.low <= got.max_drawdown_pct.high <= 100
        assert 0 <= got.sharpe_not_positive <= 1
