"""Metrics against figures computed by hand."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candlevault import timeframe as timeframes
from candlevault.backtest import metrics
from candlevault.backtest.engine.simulation import stage
from candlevault.backtest.metrics import returns
from candlevault.backtest.risk import Settings
from tests.support.trading import traded

DAY = 86_400_000


def measured(frame, signals, capital=1000.0, fee_rate=0.0, slippage_bps=0.0):
    costs = {"initial_capital": capital, "fee_rate": fee_rate, "slippage_bps": slippage_bps}
    done = traded(frame, np.array(signals, dtype=np.int8), **costs)
    return metrics.measure(stage([frame]), done, Settings(**costs))


def test_a_run_of_three_trades_by_hand(frame_of):
    # daily; in at 100 out at 120 (+200), in at 120 out at 90 (-300), in at 100 end at 110 (+90)
    rows = [100, 100, 120, 120, 90, 100, 110]
    got = measured(frame_of(rows, timeframe="1d"), [1, -1, 1, -1, 1, 0, 0])
    assert got.trade_count == 3
    assert got.final_equity == pytest.approx(990.0)
    assert got.total_return_pct == pytest.approx(-1.0)
    assert got.win_rate_pct == pytest.approx(200 / 3)
    assert got.profit_factor == pytest.approx(290 / 300)
    assert got.expectancy == pytest.approx(-10 / 3)
    assert got.best_trade_pct == pytest.approx(20.0)
    assert got.worst_trade_pct == pytest.approx(-25.0)
    # held bars 1, 1 and 2 (the last one to the close of its bar) of 7
    assert got.exposure_pct == pytest.approx(400 / 7)
    assert got.average_duration_seconds == pytest.approx(4 / 3 * 86_400)
    # equity 1000 1000 1200 1200 900 900 990: from 1200 to 900; under water from day 3 to day 6
    assert got.max_drawdown_pct == pytest.approx(25.0)
    assert got.max_drawdown_duration_seconds == 3 * 86_400
    assert got.buy_and_hold_return_pct == pytest.approx(10.0)
    # returns 0 0 .2 0 -.25 0 .1: sum .05, mean 1/140
    returns = [0, 0, 0.2, 0, -0.25, 0, 0.1]
    mean = 1 / 140
    deviation = math.sqrt(sum((r - mean) ** 2 for r in returns) / 6)
    assert got.sharpe == pytest.approx(mean / deviation * math.sqrt(365))
    assert got.sortino == pytest.approx(mean / math.sqrt(0.0625 / 7) * math.sqrt(365))
    annual = (0.99 ** (365 / 7) - 1) * 100
    assert got.annual_return_pct == pytest.approx(annual)
    assert got.calmar == pytest.approx(annual / 25.0)
    assert got.fees_paid == 0.0
    assert got.ambiguous_count == 0


def test_without_trades_trade_figures_are_none(frame_of):
    got = measured(frame_of([100, 110, 120], timeframe="1d"), [0, 0, 0])
    undefined = {name for name, value in got.as_dict().items() if value is None}
    assert undefined == {
        "sharpe", "sortino", "calmar", "win_rate_pct", "profit_factor", "expectancy",
        "average_duration_seconds", "best_trade_pct", "worst_trade_pct",
        "max_drawdown_start_time", "max_drawdown_trough_time", "max_drawdown_end_time",
        "recovery_factor", "period_sharpe", "skewness", "kurtosis", "long_win_rate_pct",
        "short_win_rate_pct", "average_win", "average_loss", "payoff_ratio",
    }
    assert (got.turnover, got.volatility_pct, got.average_exposure_pct) == (0.0, 0.0, 0.0)
    assert (got.total_return_pct, got.annual_return_pct, got.exposure_pct) == (0.0, 0.0, 0.0)
    assert (got.max_drawdown_pct, got.max_drawdown_duration_seconds) == (0.0, 0)
    assert (got.trade_count, got.fees_paid) == (0, 0.0)


def test_profit_factor_needs_a_loss_and_a_break_even_trade_is_no_win(frame_of):
    assert measured(frame_of([100, 100, 110]), [1, 0, 0]).profit_factor is None
    flat = measured(frame_of([100, 100, 100]), [1, 0, 0])
    assert (flat.win_rate_pct, flat.profit_factor, flat.expectancy) == (0.0, None, 0.0)
    assert measured(frame_of([100, 100, 90]), [1, 0, 0]).profit_factor == 0.0


def test_fees_paid_counts_both_sides(frame_of):
    # fee 1/4: 800 bought (200), sold 8 * 150 (300)
    got = measured(frame_of([100, 100, 150, 150]), [1, -1, 0, 0], fee_rate=0.25)
    assert got.fees_paid == 500.0
    assert got.total_return_pct == pytest.approx(-10.0)


def test_buy_and_hold_pays_the_same_costs_and_skips_absent_ends(frame_of):
    frame = frame_of([None, (100, 160, 90, 120), 130, (140, 150, 130, 150), None])
    # buy 125 * 1.25, sell 112.5 * 0.75
    got = metrics.buy_and_hold_return_pct(
        stage([frame]), Settings(fee_rate=0.25, slippage_bps=2500))
    assert got == pytest.approx((112.5 * 0.75 / (125 * 1.25) - 1) * 100)
    assert metrics.buy_and_hold_return_pct(stage([frame]), Settings()) == pytest.approx(50.0)


@pytest.mark.parametrize(
    ("equity", "deepest", "rows"),
    [
        ([100, 100, 100], 0.0, 0),
        ([100, 110, 120], 0.0, 0),
        ([100, 80, 100], 20.0, 2),
        ([100, 80, 90], 20.0, 2),
        ([100, 120, 90, 119, 120, 60], 50.0, 3),
        ([100, 50, 100, 90, 80, 85, 100], 50.0, 4),
        ([100], 0.0, 0),
    ],
)
def test_drawdown_depth_and_longest_time_under_water(equity, deepest, rows):
    got = metrics.max_drawdown(np.array(equity, dtype=float))
    assert got == (pytest.approx(deepest), rows)


def periodic_returns(open_time, equity, capital, timeframe):
    ends = returns.period_ends(np.asarray(open_time), timeframes.parse(timeframe))
    return returns.of_periods(ends, np.asarray(equity, dtype=float), capital)[0]


def test_intraday_returns_are_taken_per_utc_day():
    hours = np.arange(22, 22 + 28) * 3_600_000  # 22:00 on day 0 to 01:00 on day 2
    equity = np.linspace(101.0, 128.0, 28)
    # last equities: 23:00 day 0 -> 102; 23:00 day 1 -> 126; 01:00 day 2 -> 128
    assert periodic_returns(hours, equity, 100.0, "1h") == pytest.approx(
        [0.02, 126 / 102 - 1, 128 / 126 - 1])


@pytest.mark.parametrize("timeframe", ["1m", "15m", "1h", "4h", "1d", "1w"])
@pytest.mark.parametrize("rows", [1, 2, 23, 24, 25, 1439, 1440, 3000])
@pytest.mark.parametrize("offset", [0, 1, 5, 95])
def test_periods_end_where_the_utc_day_of_the_grid_changes(timeframe, rows, offset):
    frame = timeframes.parse(timeframe)
    times = frame.origin_ms + (np.arange(rows) + offset) * frame.step_ms
    period = times // DAY if frame.step_ms <= DAY else times
    expected = [i for i in range(rows) if i == rows - 1 or period[i] != period[i + 1]]
    assert returns.period_ends(times, frame).tolist() == expected


def test_sharpe_of_hours_uses_days(frame_of):
    # enters at hour 1; day 0 ends at 110, day 1 at 99 (the forced sale at its last close)
    rows = [100, 100, *[105] * 21, 110, *[90] * 23, 99]
    got = measured(frame_of(rows), [1] + [0] * 47)
    # returns 0.1 and -0.1: mean 0
    assert got.sharpe == pytest.approx(0.0, abs=1e-12)
    rows[-1] = 121
    # returns 0.1 and 0.1 are no deviation; 110 to 132 is 0.2: mean 0.15, deviation 0.05 * sqrt(2)
    assert measured(frame_of(rows), [1] + [0] * 47).sharpe is None
    rows[-1] = 132
    assert measured(frame_of(rows), [1] + [0] * 47).sharpe == pytest.approx(
        0.15 / (0.05 * math.sqrt(2)) * math.sqrt(365))


def test_weekly_bars_are_periods_of_their_own(frame_of):
    frame = frame_of([100, 100, 120, 90], timeframe="1w")
    got = measured(frame, [1, 0, 0, 0])
    returns = [0.0, 0.0, 0.2, -0.25]
    mean = sum(returns) / 4
    deviation = math.sqrt(sum((r - mean) ** 2 for r in returns) / 3)
    assert got.sharpe == pytest.approx(mean / deviation * math.sqrt(365 / 7))


def test_sharpe_and_sortino_need_two_periods_and_some_movement():
    assert metrics.sharpe([0.1], 365) is None
    assert metrics.sortino([-0.1], 365) is None
    assert metrics.sharpe([0.0, 0.0], 365) is None
    assert metrics.sortino([0.1, 0.0], 365) is None
    assert metrics.sharpe([], 365) is None
    assert metrics.sortino([], 365) is None
    equal = periodic_returns(np.arange(9) * DAY, 100.0 * 1.1 ** np.arange(9), 100.0, "1d")
    assert metrics.sharpe(equal[1:], 365) is None  # 10 % each, up to rounding
    # mean 0.1, sample deviation 0.1 * sqrt(2)
    assert metrics.sharpe([0.0, 0.2], 1.0) == pytest.approx(1 / math.sqrt(2))
    # mean -0.05, downside sqrt(0.01 / 2)
    assert metrics.sortino([-0.1, 0.0], 1.0) == pytest.approx(-0.05 / math.sqrt(0.005))


def test_annual_return_compounds_over_365_days():
    assert metrics.annual_return_pct(100, 121, 730 * DAY) == pytest.approx(10.0, rel=1e-14)
    assert metrics.annual_return_pct(100, 110, 365 * DAY) == pytest.approx(10.0, rel=1e-13)
    assert metrics.annual_return_pct(100, 110, DAY - 1) is None
    assert metrics.annual_return_pct(100, 0, 365 * DAY) == -100.0
    assert metrics.annual_return_pct(1, 1e12, DAY) is None


def test_calmar_is_none_when_equity_never_fell(frame_of):
    got = measured(frame_of([100, 100, 110, 120], timeframe="1d"), [1, 0, 0, 0])
    assert got.calmar is None
    assert got.annual_return_pct > 0


def test_absent_rows_count_for_time_but_not_for_trading(frame_of):
    got = measured(frame_of([100, 100, None, 100], timeframe="1d"), [1, -1, 0])
    assert got.exposure_pct == pytest.approx(50.0)
    assert got.average_duration_seconds == 2 * 86_400


@settings(database=None, deadline=None, derandomize=True, max_examples=100)
@given(st.lists(st.tuples(st.integers(1, 1000), st.sampled_from([-1, 0, 1])), min_size=1,
                max_size=30),
       st.sampled_from(["1h", "1d", "1w"]))
def test_figures_are_finite_or_none_and_keep_their_bounds(frame_of, steps, timeframe):
    frame = frame_of([float(price) for price, _ in steps], timeframe=timeframe)
    got = measured(frame, [wish for _, wish in steps], fee_rate=0.01, slippage_bps=10)
    for name, value in got.as_dict().items():
        assert value is None or math.isfinite(value), name
        assert value is None or type(value) in (int, float), name
    assert 0 <= got.exposure_pct <= 100
    assert 0 <= got.max_drawdown_pct <= 100
    assert got.max_drawdown_duration_seconds <= len(frame) * frame.timeframe.step_ms / 1000
    if got.trade_count:
        assert got.worst_trade_pct <= got.best_trade_pct
        assert got.expectancy * got.trade_count == pytest.approx(
            got.final_equity - 1000, abs=1e-9 * 1000)


def test_every_figure_is_defined_in_the_docstring():
    for field in dataclasses.fields(metrics.Metrics):
        assert f"`{field.name}`" in metrics.Metrics.__doc__, field.name
