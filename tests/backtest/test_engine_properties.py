"""What must hold for any candles and signals, and an exact second engine to compare with."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from candlevault.backtest.risk import RiskRules, Sizing
from tests.support.trading import traded

HOUR = 3_600_000
START = 1_704_067_200_000
QUIET = settings(database=None, deadline=None, derandomize=True, max_examples=250)


@st.composite
def cases(draw):
    """Rows (or None), a signal per row, and settings. Prices are whole numbers, so that
    levels are touched exactly now and then."""
    price = st.integers(50, 150)
    rows = []
    for _ in range(draw(st.integers(1, 16))):
        if draw(st.integers(0, 5)) == 0:
            rows.append(None)
            continue
        points = sorted(draw(price) for _ in range(4))
        low, first, second, high = points
        rows.append((first, high, low, second) if draw(st.booleans()) else
                    (second, high, low, first))
    if all(row is None for row in rows):
        rows[0] = (100, 100, 100, 100)
    percent = st.none() | st.sampled_from([1, 3, 5, 7, 10, 20, 50])
    return {
        "rows": rows,
        "wishes": draw(st.lists(st.sampled_from([-1, 0, 0, 1, 1]), min_size=len(rows),
                                max_size=len(rows))),
        "absent": draw(st.sampled_from(["mark", "carry"])),
        "fee_rate": draw(st.sampled_from([0.0, 0.001, 0.25])),
        "slippage_bps": draw(st.sampled_from([0.0, 5.0, 1000.0])),
        "sizing": draw(st.sampled_from([("equity_fraction", 1.0), ("equity_fraction", 0.5),
                                        ("fixed_amount", 300.0), ("fixed_amount", 2000.0)])),
        "stop": draw(percent),
        "target": draw(percent),
        "trail": draw(percent),
    }


def run_case(frame_of, case, rows=None):
    rows = case["rows"] if rows is None else rows
    frame = frame_of(rows, absent=case["absent"])
    priced = (frame.present | frame.carried).tolist()
    signals = [wish for wish, there in zip(case["wishes"], priced, strict=False) if there]
    rules = RiskRules(Sizing(*case["sizing"]), case["stop"], case["target"], case["trail"])
    return frame, traded(
        frame,
        np.array(signals, dtype=np.int8),
        initial_capital=1000.0,
        fee_rate=case["fee_rate"],
        slippage_bps=case["slippage_bps"],
        risk=rules,
    )


@QUIET
@given(cases())
def test_the_books_agree_at_every_bar(frame_of, case):
    frame, got = run_case(frame_of, case)
    last_close = 0.0
    for row in range(len(frame)):
        if frame.present[row]:
            last_close = frame.close[row]
        worth = got.cash[row] + got.quantity[0][row] * last_close
        assert got.equity[row] == pytest.approx(worth, rel=1e-12)
        assert got.cash[row] >= -1e-9
        assert got.quantity[0][row] >= 0.0
    total = 1000.0 + math.fsum(trade.pnl for trade in got.trades)
    assert got.equity[-1] == pytest.approx(total, rel=1e-9)
    assert got.quantity[0][-1] == 0.0
    gross = math.fsum((t.exit_price - t.entry_price) * t.quantity for t in got.trades)
    fees = math.fsum(t.fees for t in got.trades)
    assert got.equity[-1] == pytest.approx(1000.0 + gross - fees, rel=1e-9)


@QUIET
@given(cases())
def test_every_fill_lies_in_a_present_bar_and_in_its_range_but_for_slippage(frame_of, case):
    frame, got = run_case(frame_of, case)
    slip = case["slippage_bps"] / 10_000
    free_at = -1
    for trade in got.trades:
        entered, left = ((t - START) // HOUR for t in (trade.entry_time, trade.exit_time))
        assert frame.present[entered]
        assert frame.present[left]
        assert trade.signal_time < trade.entry_time <= trade.exit_time
        assert entered > free_at
        free_at = left
        assert trade.entry_price == pytest.approx(frame.open[entered] * (1 + slip), rel=1e-14)
        before_slip = trade.exit_price
        if trade.exit_reason != "take_profit":
            before_slip /= 1 - slip
        # With slippage a stop can lie above the open of its own entry bar; it sells there.
        assert frame.low[left] * (1 - 1e-12) <= before_slip <= frame.high[left] * (1 + 1e-12)
        assert trade.mae_pct <= 0.0 <= trade.mfe_pct
        assert trade.entry_fee == pytest.approx(
            trade.entry_price * trade.quantity * case["fee_rate"], rel=1e-12)
        assert 0 <= trade.bars_held <= left - entered + 1


@QUIET
@given(cases(), st.integers(1, 15))
def test_cutting_off_the_future_changes_no_past_trade_and_no_past_equity(frame_of, case, cut):
    if all(row is None for row in case["rows"][:cut]):
        return
    _, whole = run_case(frame_of, case)
    past_frame, past = run_case(frame_of, case, rows=case["rows"][:cut])
    finished = [trade for trade in past.trades if trade.exit_reason != "end_of_data"]
    assert finished == list(whole.trades[: len(finished)])
    last = int(np.flatnonzero(past_frame.present)[-1])
    assert past.equity[:last].tolist() == whole.equity[:last].tolist()


@QUIET
@given(cases())
def test_the_same_input_gives_the_same_output(frame_of, case):
    _, first = run_case(frame_of, case)
    _, second = run_case(frame_of, case)
    assert first.trades == second.trades
    assert first.equity.tobytes() == second.equity.tobytes()


def exact_trades(case):
    """A second engine in exact fractions, built the other way round: from each signal it
    looks ahead for the fill, and from each fill for the exit."""
    rows, wishes = case["rows"], list(case["wishes"])
    fee, slip = Fraction(case["fee_rate"]), Fraction(case["slippage_bps"]) / 10_000
    first = next(i for i, row in enumerate(rows) if row is not None)
    for i, row in enumerate(rows):
        if row is None and (case["absent"] == "mark" or i < first):
            wishes[i] = 0
    present = [i for i, row in enumerate(rows) if row is not None]

    def next_present(i):
        return next((p for p in present if p > i), None)

    def filled(i, wanted):
        """The bar that fills `wanted`, wished at i: the last word before that bar counts."""
        fill = next_present(i)
        words = [w for w in wishes[i : fill if fill is not None else len(rows)] if w]
        return fill if fill is not None and words[-1] == wanted else None

    def percent(value):
        return None if value is None else Fraction(value) / 100

    cash, trades, cursor = Fraction(1000), [], 0
    while True:
        entry = next((f for i in range(cursor, len(rows)) if wishes[i] == 1
                      and (f := filled(i, 1)) is not None), None)
        if entry is None:
            return cash, trades
        price = rows[entry][0] * (1 + slip)
        method, value = case["sizing"]
        budget = cash * Fraction(value) if method == "equity_fraction" else Fraction(value)
        quantity = min(budget, cash) / (price * (1 + fee))
        highest, left = price, None
        for bar in (p for p in present if p >= entry):
            open_, high, low, close = map(Fraction, rows[bar])
            ordered = any(wishes[i] == -1 and filled(i, -1) == bar for i in range(entry, bar))
            stops = []
            if case["stop"] is not None:
                stops.append((price - price * percent(case["stop"]), 1, "stop_loss"))
            if case["trail"] is not None:
                stops.append((highest - price * percent(case["trail"]), 0, "trailing_stop"))
            level, _, reason = max(stops, default=(Fraction(-1), 0, ""))
            target = None if case["target"] is None else price + price * percent(case["target"])
            hit_target = target is not None and high >= target
            if ordered:
                left = (open_ * (1 - slip), "signal", False)
            elif open_ <= level:
                left = (open_ * (1 - slip), reason, False)
            elif target is not None and open_ >= target:
                left = (open_, "take_profit", False)
            elif low <= level:
                left = (level * (1 - slip), reason, hit_target)
            elif hit_target:
                left = (target, "take_profit", False)
            elif bar == present[-1]:
                left = (close * (1 - slip), "end_of_data", False)
            highest = max(highest, high)
            if left:
                break
        exit_price, reason, ambiguous = left
        cash += quantity * (exit_price * (1 - fee) - price * (1 + fee))
        trades.append((entry, bar, reason, ambiguous, price, exit_price, quantity))
        cursor = bar


@settings(QUIET, max_examples=600)
@given(cases())
@example({"rows": [(100, 100, 100, 100)] * 2 + [(98, 99, 93, 97)], "wishes": [1, 0, 0],
          "absent": "mark", "fee_rate": 0.0, "slippage_bps": 0.0,
          "sizing": ("equity_fraction", 1.0), "stop": 7, "target": None, "trail": None})
def test_agrees_with_an_exact_engine_built_the_other_way_round(frame_of, case):
    cash, expected = exact_trades(case)
    _, got = run_case(frame_of, case)
    rows = [((t.entry_time - START) // HOUR, (t.exit_time - START) // HOUR, t.exit_reason,
             t.ambiguous) for t in got.trades]
    assert rows == [trade[:4] for trade in expected]
    for trade, (*_, entry_price, exit_price, quantity) in zip(got.trades, expected, strict=True):
        assert trade.entry_price == pytest.approx(float(entry_price), rel=1e-12)
        assert trade.exit_price == pytest.approx(float(exit_price), rel=1e-12)
        assert trade.quantity == pytest.approx(float(quantity), rel=1e-12)
    assert got.equity[-1] == pytest.approx(float(cash), rel=1e-12)
