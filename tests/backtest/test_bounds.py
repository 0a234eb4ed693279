"""What the unknown order inside bars can do: bounds by hand, by exhaustion, and resolved."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candlevault.backtest.engine.codes import OPTIMISTIC, PESSIMISTIC, RESOLVED
from candlevault.backtest.engine.simulation import simulate, stage
from candlevault.backtest.engine.tables import Finer
from candlevault.backtest.risk import EntryOrders, RiskRules, Settings, Sizing
from candlevault.backtest.signals import Signals
from candlevault.backtest.trust import bounds
from tests.support.trading import long_only

QUIET = (100, 101, 99, 100)
BOTH = (100, 112, 93, 100)
"""Touches a stop at 95 and a target at 110 of an entry at 100."""
LEVELS = RiskRules(stop_loss_pct=5, take_profit_pct=10)


def found(frames, signals, options, *, mode=PESSIMISTIC, finer=None, limit=256):
    laid_out = stage(frames)

    def run(mode, choices):
        return simulate(laid_out, signals, options, mode=mode, choices=choices)

    result = simulate(laid_out, signals, options, mode=mode, finer=finer)
    return result, bounds.find(
        run, result, options, len(frames), resolved=mode == RESOLVED, limit=limit
    )


def wishing(count, entries, exits=()):
    wishes = np.zeros(count, dtype=int)
    wishes[list(entries)] = 1
    wishes[list(exits)] = -1
    return long_only(wishes)


def test_without_a_doubt_the_bounds_are_the_result(frame_of):
    frame = frame_of([QUIET, QUIET, (100, 111, 99, 110), 110])
    result, got = found([frame], [wishing(4, [0])], Settings(1000.0, risk=LEVELS))
    assert (got.lowest, got.highest, got.width_pct) == (1100.0, 1100.0, 0.0)
    assert (got.ambiguous_trades, got.exact, got.unresolved) == (0, True, None)
    assert result.equity[-1] == 1100.0


def test_one_doubt_lies_between_the_stop_and_the_target(frame_of):
    frame = frame_of([QUIET, QUIET, BOTH, 100])
    result, got = found([frame], [wishing(4, [0])], Settings(1000.0, risk=LEVELS))
    assert (got.lowest, got.highest) == (950.0, 1100.0)
    assert (got.pessimistic, got.optimistic) == (950.0, 1100.0)
    assert got.width_pct == pytest.approx(15.0)
    assert (got.ambiguous_trades, got.exact, got.runs) == (1, True, 2)
    assert result.equity[-1] == 950.0


def test_a_loss_limit_turns_the_order_round_and_all_combinations_are_run(frame_of):
    # Taking the first loss (-5 %) stops the trading for good; taking the first gain leads into
    # the second trade, which loses half of everything at a gap through its stop.
    rows = [QUIET, QUIET, BOTH, QUIET, QUIET, (50, 50, 50, 50), 50]
    frame = frame_of(rows)
    options = Settings(1000.0, risk=RiskRules(stop_loss_pct=5, take_profit_pct=10,
                                              max_drawdown_pct=4))
    result, got = found([frame], [wishing(7, [0, 3])], options)
    assert (got.pessimistic, got.optimistic) == (950.0, 550.0)
    assert (got.lowest, got.highest, got.exact) == (550.0, 950.0, True)
    assert got.lowest <= result.equity[-1] <= got.highest


def test_a_mixture_of_answers_can_end_outside_both_plain_runs(frame_of):
    # Worse at once: 950 and halted. Better twice: 1210, then half of it is lost: 605. Better
    # first and worse then: 1100, 1045 and halted, which saves it from the crash.
    rows = [QUIET, QUIET, BOTH, QUIET, QUIET, BOTH, QUIET, QUIET, (50, 50, 50, 50), 50]
    options = Settings(1000.0, risk=RiskRules(stop_loss_pct=5, take_profit_pct=10,
                                              max_drawdown_pct=4))
    _, got = found([frame_of(rows)], [wishing(10, [0, 3, 6])], options)
    assert (got.pessimistic, got.optimistic) == (950.0, pytest.approx(605.0))
    assert (got.lowest, got.highest) == (pytest.approx(605.0), pytest.approx(1045.0))
    assert (got.exact, got.runs) == (True, 2 + 3)


def test_beyond_the_limit_the_bounds_say_that_they_are_not_exact(frame_of):
    rows = [QUIET, *[QUIET, BOTH] * 6, 100]
    frame = frame_of(rows)
    options = Settings(1000.0, risk=RiskRules(stop_loss_pct=5, take_profit_pct=10,
                                              max_drawdown_pct=60))
    signals = wishing(len(rows), range(0, 12, 2))
    _, exact = found([frame], [signals], options)
    assert (exact.exact, exact.runs) == (True, 2 + 2**6)
    _, cut = found([frame], [signals], options, limit=10)
    assert (cut.exact, cut.runs) == (False, 12)
    assert exact.lowest <= cut.lowest <= cut.highest <= exact.highest


@st.composite
def runs(draw):
    """Candles of four finer candles each, so that what happened inside is known."""
    price = st.integers(80, 125)
    finer = []
    last = 100
    for _ in range(4 * draw(st.integers(3, 9))):
        low, high = sorted((draw(price), draw(price)))
        low, high = min(low, last), max(high, last)
        close = draw(st.integers(low, high))
        finer.append((last, high, low, close))
        last = close
    parts = [finer[i:i + 4] for i in range(0, len(finer), 4)]
    coarse = [
        (part[0][0], max(p[1] for p in part), min(p[2] for p in part), part[-1][3])
        for part in parts
    ]
    wishes = draw(st.lists(st.sampled_from([1, 1, 0, -1]), min_size=len(coarse),
                           max_size=len(coarse)))
    risk = RiskRules(
        sizing=Sizing(*draw(st.sampled_from([("equity_fraction", 1.0), ("fixed_amount", 300.0)]))),
        stop_loss_pct=draw(st.sampled_from([2, 4, 8])),
        take_profit_pct=draw(st.sampled_from([2, 4, 8])),
        trailing_stop_pct=draw(st.sampled_from([None, None, 3])),
        max_entries=draw(st.sampled_from([1, 1, 2])),
        max_drawdown_pct=draw(st.sampled_from([None, None, 10])),
    )
    entry = draw(st.sampled_from([EntryOrders(), EntryOrders("limit", 1.0),
                                  EntryOrders("stop", 1.0)]))
    options = Settings(1000.0, fee_rate=0.001, risk=risk, entry=entry,
                       direction=draw(st.sampled_from(["long", "both"])))
    return coarse, finer, wishes, options


def finer_of(finer, rows):
    columns = np.array(finer, dtype=float).T
    first = np.arange(rows, dtype=np.int64).reshape(1, -1) * 4
    return Finer(first, first + 4, *(np.ascontiguousarray(column) for column in columns))


def both_sides(wishes):
    wishes = np.array(wishes)
    up, down = wishes == 1, wishes == -1
    return Signals(enter_long=up, exit_long=down, enter_short=down, exit_short=up)


@settings(database=None, deadline=None, derandomize=True, max_examples=300)
@given(runs())
def test_the_resolved_result_lies_within_exact_bounds(frame_of, case):
    coarse, finer, wishes, options = case
    frame, signals = frame_of(coarse), [both_sides(wishes)]
    # Bounds found without knowing the resolved result.
    _, got = found([frame], signals, options, limit=4096)
    resolved = simulate(stage([frame]), signals, options, mode=RESOLVED,
                        finer=finer_of(finer, len(coarse)))
    assert got.exact
    assert got.lowest <= resolved.equity[-1] <= got.highest
    _, again = found([frame], signals, options, mode=RESOLVED,
                     finer=finer_of(finer, len(coarse)), limit=4096)
    assert (again.lowest, again.highest) == (got.lowest, got.highest)
    assert again.unresolved == resolved.unresolved


@settings(database=None, deadline=None, derandomize=True, max_examples=300)
@given(runs())
def test_a_run_on_the_finer_candles_alone_lies_within_the_bounds(frame_of, case):
    coarse, finer, wishes, options = case
    # What looks at closes or moves at them sees other closes there.
    rules = replace(options.risk, trailing_stop_pct=None, max_drawdown_pct=None)
    options = replace(options, risk=rules)
    _, got = found([frame_of(coarse)], [both_sides(wishes)], options, limit=4096)
    # The same wishes at the same moments: the last finer candle of each bar.
    spread = np.zeros(len(finer), dtype=int)
    spread[3::4] = wishes
    alone = simulate(stage([frame_of(finer, "15m")]), [both_sides(spread)], options)
    tolerance = 1e-9 * abs(got.highest)
    assert got.exact
    assert got.lowest - tolerance <= alone.equity[-1] <= got.highest + tolerance


@settings(database=None, deadline=None, derandomize=True, max_examples=300)
@given(runs(), st.sampled_from([1, 3, 6]))
def test_a_trailing_stop_moved_at_closes_does_not_depend_on_what_bars_hide(frame_of, case, percent):
    coarse, finer, wishes, _ = case
    options = Settings(1000.0, fee_rate=0.0, risk=RiskRules(trailing_stop_pct=percent))
    result, got = found([frame_of(coarse)], [long_only(wishes)], options)
    assert (got.lowest, got.highest, got.ambiguous_trades) == (
        result.equity[-1], result.equity[-1], 0)
    assert result.equity[-1] == pytest.approx(walked_by_hand(finer, wishes, percent), rel=1e-9)


def walked_by_hand(finer, wishes, percent):
    """The end of 1000 traded candle by candle; the stop is moved at every fourth close."""
    cash, units, best, distance, wish = 1000.0, 0.0, 0.0, 0.0, 0
    for i, (first, high, low, _) in enumerate(finer):
        if i % 4 == 0:
            if units and (wish < 0 or first <= best - distance):
                cash, units = units * first, 0.0
            if wish > 0 and not units:
                cash, units, best, distance = 0.0, cash / first, first, first * percent / 100
                top = first
            wish = 0
        if units and low <= best - distance:
            cash, units = units * (best - distance), 0.0
        if units:
            top = max(top, high)
        if i % 4 == 3:
            best = max(best, top) if units else best
            # Who holds already wishes for nothing more.
            wish = 0 if units and wishes[i // 4] > 0 else wishes[i // 4]
    return cash + units * finer[-1][3]


@settings(database=None, deadline=None, derandomize=True, max_examples=300)
@given(runs())
def test_where_better_never_hurts_no_combination_ends_outside_the_two_plain_runs(frame_of, case):
    coarse, _, wishes, options = case
    frame = frame_of(coarse)
    laid_out, signals = stage([frame]), [both_sides(wishes)]

    def run(mode, choices):
        return simulate(laid_out, signals, options, mode=mode, choices=choices)

    low, high = run(PESSIMISTIC, ()), run(OPTIMISTIC, ())
    if low.branching + high.branching or not bounds._better_never_hurts(options, 1):
        return
    ends, exact = bounds._explore(run, 2000)
    assert exact
    tolerance = 1e-9
    assert low.equity[-1] <= min(ends) + tolerance
    assert high.equity[-1] >= max(ends) - tolerance
