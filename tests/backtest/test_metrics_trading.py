"""Figures of both sides, several symbols, funding and ruin, by hand and against plain Python."""

from __future__ import annotations

import dataclasses
import decimal
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candlevault.backtest.engine.simulation import simulate, stage
from candlevault.backtest.metrics import buy_and_hold, measure
from candlevault.backtest.risk import RiskRules, Settings, Sizing
from candlevault.backtest.signals import Signals

DAY = 86_400_000
START = 1_704_067_200_000


def both_sides(wishes) -> Signals:
    """+1 be long, -1 be short, 0 nothing, 9 be flat."""
    wishes = np.asarray(wishes)
    return Signals(
        enter_long=wishes == 1,
        enter_short=wishes == -1,
        exit_long=wishes == 9,
        exit_short=wishes == 9,
    )


def run(frames, wishes, *, funding=None, **options):
    on, rules = stage(frames, funding), Settings(**{"initial_capital": 1000.0, **options})
    done = simulate(on, [both_sides(one) for one in wishes], rules, books=True)
    return on, done, rules


def measured(*args, **options):
    return measure(*run(*args, **options))


def test_both_sides_are_counted_by_themselves(frame_of):
    # daily, 10 units at 100: long to 120 +200; short 1200/120 = 10 to 150 -300; long 900/150 = 6
    # to 140 -60; short 840/140 = 6 from 140 to 130 (end) +60
    frame = frame_of([100, 100, 120, 150, 140, 130], timeframe="1d")
    got = measured([frame], [[1, -1, 1, -1, 0, 0]], direction="both")
    assert (got.trade_count, got.long_count, got.short_count) == (4, 2, 2)
    assert got.long_pnl == pytest.approx(140)
    assert got.short_pnl == pytest.approx(-240)
    assert (got.long_win_rate_pct, got.short_win_rate_pct, got.win_rate_pct) == (50, 50, 50)
    assert got.average_win == pytest.approx(130)
    assert got.average_loss == pytest.approx(-180)
    assert got.payoff_ratio == pytest.approx(130 / 180)
    assert got.longest_losing_streak == 2
    assert got.profit_factor == pytest.approx(260 / 360)
    # equity 1000 1000 1200 900 840 900: from 1200 to 840, never made good
    assert got.max_drawdown_pct == pytest.approx(30)
    assert (
        got.max_drawdown_start_time,
        got.max_drawdown_trough_time,
        got.max_drawdown_end_time,
    ) == (START + 2 * DAY, START + 4 * DAY, None)
    assert got.max_drawdown_amount == pytest.approx(360)
    assert got.recovery_factor == pytest.approx(-100 / 360)
    # below the peak at the ends of the days: 0 0 0 25 30 25 %
    assert got.ulcer_index_pct == pytest.approx(math.sqrt((625 + 900 + 625) / 6))
    # in and out: 1000+1200, 1200+1500, 900+840, 840+780
    assert got.turnover == pytest.approx(8260 / (5840 / 6))
    # held at the closes: 0, 1000, 1200 (short), 900, 840 (short), 0
    assert got.average_exposure_pct == pytest.approx(400 / 6)
    assert got.exposure_pct == pytest.approx(500 / 6)


def test_moments_of_daily_returns_by_hand(frame_of):
    rows = [100, 100, 120, 120, 90, 100, 110]
    got = measured([frame_of(rows, timeframe="1d")], [[1, 9, 1, 9, 1, 0, 0]])
    daily = [0, 0, 0.2, 0, -0.25, 0, 0.1]
    mean = sum(daily) / 7
    second, third, fourth = (sum((r - mean) ** n for r in daily) / 7 for n in (2, 3, 4))
    assert got.periods == 7
    assert got.volatility_pct == pytest.approx(math.sqrt(second * 7 / 6 * 365) * 100)
    assert got.period_sharpe == pytest.approx(mean / math.sqrt(second * 7 / 6))
    assert got.sharpe == pytest.approx(got.period_sharpe * math.sqrt(365))
    assert got.skewness == pytest.approx(third / second**1.5)
    assert got.kurtosis == pytest.approx(fourth / second**2)


def test_a_losing_streak_is_broken_by_break_even(frame_of):
    rows = [100, 100, 90, 90, 80, 80, 80, 80, 70, 70]
    got = measured([frame_of(rows)], [[1, 9, 1, 9, 1, 9, 1, 9, 0, 0]])
    # 100-90, 90-80, 80-80, 80-70: lost, lost, even, lost
    assert (got.trade_count, got.longest_losing_streak) == (4, 2)


def test_funding_is_in_the_books_and_in_the_figures(frame_of):
    frame = frame_of([100, 100, 100, 100], timeframe="1d")
    got = measured([frame], [[1, 0, 0, 0]], funding=[np.array([0.0, 0.5, 0.01, 0.02])])
    # 10 units carried into rows 2 and 3: 10 + 20
    assert got.funding_paid == pytest.approx(30)
    assert got.final_equity == pytest.approx(970)
    short = measured(
        [frame], [[-1, 0, 0, 0]], funding=[np.array([0.0, 0.5, 0.01, 0.02])], direction="both"
    )
    assert short.funding_paid == pytest.approx(-30)
    assert short.final_equity == pytest.approx(1030)


def test_refused_entries_are_counted(frame_of):
    frames = [frame_of([100, 100, 100]), frame_of([50, 50, 50])]
    got = measured(frames, [[1, 0, 0], [1, 0, 0]], risk=RiskRules(max_open_positions=1))
    assert (got.trade_count, got.refused_count) == (1, 1)


def test_holding_several_symbols_splits_the_capital(frame_of):
    frames = [frame_of([None, 100, 110, 150, None]), frame_of([50, 60, 40, 25, 30])]
    got = measured(frames, [[0] * 3, [0] * 5])
    # +50 % and -40 %
    assert got.buy_and_hold_return_pct == pytest.approx(5.0)
    held = buy_and_hold.curve(stage(frames), Settings(initial_capital=1000.0))
    assert held.tolist() == pytest.approx([1000, 1100, 950, 1000, 1050])


def test_buy_and_hold_pays_half_the_spread_and_its_curve_ends_where_its_return_does(frame_of):
    frame = frame_of([None, (100, 160, 90, 120), None, 150, None])
    rules = Settings(initial_capital=1000.0, fee_rate=0.25, slippage_bps=100, half_spread=3.0)
    bought, sold = (101 + 3) * 1.25, (148.5 - 3) * 0.75
    assert buy_and_hold.return_pct(stage([frame]), rules) == pytest.approx(
        (sold / bought - 1) * 100
    )
    held = buy_and_hold.curve(stage([frame]), rules)
    units = 1000 / bought
    assert held.tolist() == pytest.approx(
        [1000, units * 120, units * 120, units * sold, units * sold]
    )


def test_ruin_loses_more_than_everything_and_stays(frame_of):
    # short 10 at 100; the open of day 2 at 250 leaves 2000 - 2500
    frame = frame_of([100, 100, 250, 100, 400], timeframe="1d")
    on, done, rules = run([frame], [[-1, 0, 0, 0, 0]], direction="both")
    got = measure(on, done, rules)
    assert done.equity.tolist() == [1000, 1000, -500, -500, -500]
    assert got.total_return_pct == pytest.approx(-150)
    assert got.annual_return_pct == -100
    assert got.max_drawdown_pct == pytest.approx(150)
    # returns 0, 0, -1.5, 0, 0
    assert got.sortino == pytest.approx(-0.3 / math.sqrt(2.25 / 5) * math.sqrt(365))
    assert got.average_exposure_pct == pytest.approx(20)
    assert got.turnover == pytest.approx(3500 / 100)
    later = dataclasses.replace(done, equity=np.array([1000, 1000, -500, -500, 900.0]))
    assert measure(on, later, rules).sortino == pytest.approx(
        -0.3 / math.sqrt(2.25 / 5) * math.sqrt(365)
    )


def test_what_is_held_in_ruin_is_no_exposure(frame_of):
    on, done, rules = run([frame_of([100] * 5)], [[1, 0, 0, 0, 0]])
    ruined = dataclasses.replace(done, equity=np.array([1000.0, 500, 0, -500, -500]))
    # held at the closes of rows 1 to 3: 1000 of 500, of 0 and of -500
    assert measure(on, ruined, rules).average_exposure_pct == pytest.approx(200 / 5)


def test_lots_of_one_symbol_and_absent_rows_are_in_the_average_exposure(frame_of):
    frame = frame_of([100, 100, 100, None, 120, 120], timeframe="1d")
    # 250 at rows 1 and 2 (a part of the equity each), 5 units then
    on, done, rules = run(
        [frame], [[1, 1, 0, 0, 0]], risk=RiskRules(max_entries=2, sizing=Sizing(value=0.25))
    )
    assert len(done.log) == 2
    marks = np.array([100, 100, 100, 100, 120, 120])
    expected = np.abs(done.quantity[0]) * marks / done.equity
    assert measure(on, done, rules).average_exposure_pct == pytest.approx(100 * sum(expected) / 6)


# The same figures once more, in plain Python from the trades and the books.


def plainly(on, done, rules):
    equity, trades, capital = done.equity.tolist(), done.trades, rules.initial_capital
    frame = on.frames[0]
    step = frame.timeframe.step_ms
    period = max(step, DAY)
    ends = [
        i
        for i in range(len(equity))
        if i == len(equity) - 1
        or on.open_time[i] // period != on.open_time[i + 1] // period
        or step >= DAY
    ]
    values = [capital, *(equity[i] for i in ends)]
    returns = [now / before - 1.0 for before, now in itertools.pairwise(values)]
    mean = math.fsum(returns) / len(returns)
    spread = math.fsum((r - mean) * (r - mean) for r in returns)
    count = len(returns)
    sharpe = sortino = None
    if count > 1:
        deviation = math.sqrt(spread / (count - 1))
        if deviation > 1e-12 * max(map(abs, returns)):
            sharpe = mean / deviation * math.sqrt(365 * DAY / period)
        down = math.sqrt(math.fsum(min(r, 0.0) * min(r, 0.0) for r in returns) / count)
        if down > 0:
            sortino = mean / down * math.sqrt(365 * DAY / period)
    peaks = list(itertools.accumulate(equity, max))
    at_peak = [i for i, (e, p) in enumerate(zip(equity, peaks, strict=True)) if e >= p]
    spans = [b - a for a, b in itertools.pairwise(at_peak) if b - a > 1]
    gained = math.fsum(t.pnl for t in trades if t.pnl > 0)
    lost = -math.fsum(t.pnl for t in trades if t.pnl < 0)
    annual = None
    if len(equity) * step >= DAY:
        with decimal.localcontext(decimal.Context(prec=34)):
            growth = decimal.Decimal(equity[-1]) / decimal.Decimal(capital)
            years = decimal.Decimal(365 * DAY) / decimal.Decimal(len(equity) * step)
            annual = float((growth**years - 1) * 100)
        annual = annual if math.isfinite(annual) else None
    drawdown = max((p - e) / p * 100.0 for e, p in zip(equity, peaks, strict=True))
    first, last = (int(np.flatnonzero(frame.present)[i]) for i in (0, -1))
    paid = float(frame.open[first]) * (10_000.0 + rules.slippage_bps) / 10_000.0
    got = float(frame.close[last]) * (10_000.0 - rules.slippage_bps) / 10_000.0
    paid, got = paid * (1.0 + rules.fee_rate), got * (1.0 - rules.fee_rate)
    trade_count = len(trades)
    return {
        "final_equity": equity[-1],
        "total_return_pct": (equity[-1] / capital - 1.0) * 100.0,
        "annual_return_pct": annual,
        "buy_and_hold_return_pct": (got / paid - 1.0) * 100.0,
        "max_drawdown_pct": drawdown,
        "max_drawdown_duration_seconds": max([*spans, len(equity) - 1 - at_peak[-1]])
        * step
        // 1000,
        "sharpe": sharpe,
        "sortino": sortino,
        "calmar": None if annual is None or drawdown == 0 else annual / drawdown,
        "exposure_pct": int(done.held.sum()) / len(equity) * 100.0,
        "trade_count": trade_count,
        "win_rate_pct": sum(t.pnl > 0 for t in trades) / trade_count * 100.0 if trades else None,
        "profit_factor": gained / lost if lost > 0 else None,
        "expectancy": math.fsum(t.pnl for t in trades) / trade_count if trades else None,
        "average_duration_seconds": sum(t.bars_held for t in trades) * step / 1000.0 / trade_count
        if trades
        else None,
        "best_trade_pct": max((t.return_pct for t in trades), default=None),
        "worst_trade_pct": min((t.return_pct for t in trades), default=None),
        "fees_paid": math.fsum(t.fees for t in trades),
        "ambiguous_count": sum(t.ambiguous for t in trades),
    }


@settings(database=None, deadline=None, derandomize=True, max_examples=150)
@given(
    st.lists(
        st.tuples(st.one_of(st.none(), st.floats(1, 1000)), st.sampled_from([-1, 0, 1, 9])),
        min_size=1,
        max_size=60,
    ).filter(lambda steps: any(p for p, _ in steps)),
    st.sampled_from(["1h", "4h", "1d", "1w"]),
    st.floats(0, 0.01),
    st.floats(0, 50),
)
def test_every_figure_of_before_is_the_same_to_the_last_bit(frame_of, steps, timeframe, fee, slip):
    frame = frame_of([price for price, _ in steps], timeframe=timeframe)
    wishes = [wish for price, wish in steps if price is not None]
    on, done, rules = run(
        [frame],
        [wishes],
        fee_rate=fee,
        slippage_bps=slip,
        risk=RiskRules(stop_loss_pct=40, sizing=Sizing(value=0.5)),
    )
    got = measure(on, done, rules).as_dict()
    for name, value in plainly(on, done, rules).items():
        assert got[name] == value, name


@settings(database=None, deadline=None, derandomize=True, max_examples=150)
@given(
    st.lists(
        st.tuples(
            st.integers(1, 400),
            st.integers(1, 400),
            st.sampled_from([-1, 0, 1, 9]),
            st.sampled_from([-1, 0, 1, 9]),
        ),
        min_size=2,
        max_size=40,
    )
)
def test_two_symbols_on_both_sides_keep_figures_finite_and_consistent(frame_of, steps):
    frames = [frame_of([float(step[i]) for step in steps], timeframe="4h") for i in (0, 1)]
    wishes = [[step[i] for step in steps] for i in (2, 3)]
    on, done, rules = run(
        frames,
        wishes,
        direction="both",
        fee_rate=0.001,
        risk=RiskRules(max_exposure=2.0, max_entries=2, sizing=Sizing(value=0.6)),
    )
    got = measure(on, done, rules)
    for name, value in got.as_dict().items():
        assert value is None or (math.isfinite(value) and type(value) in (int, float)), name
    assert got.long_count + got.short_count == got.trade_count
    assert got.long_pnl + got.short_pnl == pytest.approx(got.final_equity - 1000, abs=1e-6)
    gross = sum(np.abs(done.quantity[s]) * on.market.close[s] for s in (0, 1))
    parts = np.where(done.equity > 0, gross / np.where(done.equity > 0, done.equity, 1), 0)
    assert got.average_exposure_pct == pytest.approx(float(parts.mean()) * 100, rel=1e-9, abs=1e-9)
