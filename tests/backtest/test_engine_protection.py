"""Stop loss, target and trailing stop inside a bar, computed by hand.

Every case enters 10 units at 100 (bar 1) with a capital of 1000.
"""

from __future__ import annotations

import numpy as np
import pytest

from candlevault.backtest.risk import RiskRules
from tests.support.trading import traded

HOUR = 3_600_000
START = 1_704_067_200_000
QUIET = (100, 101, 99, 100)


def trades(frame, signals=(), *, capital=1000.0, slippage_bps=0.0, fee_rate=0.0, **rules):
    wishes = np.zeros(len(frame.bars().close), dtype=np.int8)
    wishes[0] = 1
    for row, wish in signals:
        wishes[row] = wish
    return traded(frame, wishes, initial_capital=capital, slippage_bps=slippage_bps,
                    fee_rate=fee_rate, risk=RiskRules(**rules)).trades


def only(found):
    (trade,) = found
    return trade.exit_reason, trade.exit_price, trade.ambiguous


def row_of(trade):
    return (trade.exit_time - START) // HOUR


def test_stop_loss_sells_at_its_level(frame_of):
    frame = frame_of([QUIET, QUIET, (98, 99, 90, 97), 97])
    found = trades(frame, stop_loss_pct=5)
    assert only(found) == ("stop_loss", 95.0, False)
    assert (row_of(found[0]), found[0].bars_held, found[0].pnl) == (2, 2, -50.0)


def test_a_low_that_touches_the_stop_triggers_it_and_one_above_does_not(frame_of):
    touch = frame_of([QUIET, QUIET, (98, 99, 93, 97), 97])
    assert only(trades(touch, stop_loss_pct=7)) == ("stop_loss", 93.0, False)
    above = frame_of([QUIET, QUIET, (98, 99, 93.01, 97), 97])
    assert only(trades(above, stop_loss_pct=7))[0] == "end_of_data"


def test_a_touch_does_not_depend_on_the_rounding_of_the_level(frame_of):
    # exact levels with four decimals; their floats lie beside those of 97 % and 107 % of entry
    for cents in range(10_000, 10_400):
        entry, low, high = cents / 100, cents * 97 / 10_000, cents * 107 / 10_000
        flat = (entry,) * 4
        falls = frame_of([flat, flat, (entry, entry, low, entry)])
        assert only(trades(falls, stop_loss_pct=3))[0] == "stop_loss"
        assert only(trades(falls, trailing_stop_pct=3))[0] == "trailing_stop"
        assert only(trades(falls, stop_loss_pct=3, trailing_stop_pct=3))[0] == "stop_loss"
        rises = frame_of([flat, flat, (entry, high, entry, entry)])
        assert only(trades(rises, take_profit_pct=7))[0] == "take_profit"


def test_a_gap_through_the_stop_sells_at_the_open(frame_of):
    frame = frame_of([QUIET, QUIET, (90, 99, 85, 97), 97])
    found = trades(frame, stop_loss_pct=5)
    assert only(found) == ("stop_loss", 90.0, False)
    assert found[0].bars_held == 1


def test_an_open_exactly_at_the_stop_sells_there(frame_of):
    frame = frame_of([QUIET, QUIET, (95, 99, 85, 97), 97])
    found = trades(frame, stop_loss_pct=5)
    assert (only(found), found[0].bars_held) == (("stop_loss", 95.0, False), 1)


def test_take_profit_sells_at_its_level(frame_of):
    frame = frame_of([QUIET, QUIET, (101, 115, 100, 112), 112])
    assert only(trades(frame, take_profit_pct=10)) == ("take_profit", 110.0, False)


def test_a_high_that_touches_the_target_triggers_it(frame_of):
    frame = frame_of([QUIET, QUIET, (101, 107, 100, 102), 102])
    assert only(trades(frame, take_profit_pct=7)) == ("take_profit", 107.0, False)
    frame = frame_of([QUIET, QUIET, (101, 106.99, 100, 102), 102])
    assert only(trades(frame, take_profit_pct=7))[0] == "end_of_data"


def test_a_gap_through_the_target_sells_at_the_better_open(frame_of):
    frame = frame_of([QUIET, QUIET, (120, 125, 60, 112), 112])
    found = trades(frame, take_profit_pct=10, stop_loss_pct=5)
    assert only(found) == ("take_profit", 120.0, False)
    assert found[0].bars_held == 1


def test_a_gap_through_the_stop_goes_before_a_target_later_in_the_bar(frame_of):
    frame = frame_of([QUIET, QUIET, (90, 125, 60, 112), 112])
    found = trades(frame, take_profit_pct=10, stop_loss_pct=5)
    assert only(found) == ("stop_loss", 90.0, False)


def test_stop_and_target_in_one_bar_take_the_stop_and_flag_it(frame_of):
    frame = frame_of([QUIET, QUIET, (100, 111, 94, 105), 105])
    assert only(trades(frame, take_profit_pct=10, stop_loss_pct=5)) == ("stop_loss", 95.0, True)


def test_both_act_in_the_entry_bar(frame_of):
    frame = frame_of([QUIET, (100, 104, 94, 96), 96])
    found = trades(frame, stop_loss_pct=5)
    assert (only(found), found[0].bars_held) == (("stop_loss", 95.0, False), 1)
    assert found[0].entry_time == found[0].exit_time
    frame = frame_of([QUIET, (100, 111, 99, 105), 105])
    assert only(trades(frame, take_profit_pct=10)) == ("take_profit", 110.0, False)


def test_nothing_acts_before_the_entry(frame_of):
    frame = frame_of([(100, 200, 50, 100), QUIET, QUIET])
    assert only(trades(frame, stop_loss_pct=5, take_profit_pct=5))[0] == "end_of_data"


def test_slippage_worsens_stops_and_gaps_but_not_targets(frame_of):
    # 100 bps: bought at 101; stop 5 % below: 95.95, sold 1 % worse
    stop = frame_of([QUIET, QUIET, (98, 99, 90, 97), 97])
    assert only(trades(stop, slippage_bps=100, stop_loss_pct=5))[1] == pytest.approx(
        95.95 * 0.99, rel=1e-15)
    gap = frame_of([QUIET, QUIET, (90, 99, 85, 97), 97])
    assert only(trades(gap, slippage_bps=100, stop_loss_pct=5))[1] == pytest.approx(89.1, rel=1e-15)
    target = frame_of([QUIET, QUIET, (101, 115, 100, 112), 112])
    assert only(trades(target, slippage_bps=100, take_profit_pct=10))[1] == pytest.approx(
        111.1, rel=1e-15)
    beyond = frame_of([QUIET, QUIET, (120, 125, 60, 112), 112])
    assert only(trades(beyond, slippage_bps=100, take_profit_pct=10))[1] == 120.0


def test_a_stop_pays_its_fee(frame_of):
    # fee 1/4: 8 units at 100; sold at 95: 760, fee 190
    frame = frame_of([QUIET, QUIET, (98, 99, 90, 97), 97])
    (trade,) = trades(frame, fee_rate=0.25, stop_loss_pct=5)
    assert (trade.quantity, trade.exit_fee, trade.pnl) == (8.0, 190.0, -430.0)


def test_a_stop_inside_the_slippage_sells_at_once(frame_of):
    # bought at 110 with 1000 bps; the stop at 104.5 lies above the open of 100
    frame = frame_of([QUIET, QUIET, QUIET])
    (trade,) = trades(frame, slippage_bps=1000, stop_loss_pct=5)
    assert (trade.exit_reason, trade.exit_price, trade.bars_held) == ("stop_loss", 90.0, 0)


class TestTrailingStop:
    def test_follows_the_highest_high_at_a_constant_distance(self, frame_of):
        # distance 10; high 130 -> stop 120
        frame = frame_of([QUIET, QUIET, (100, 130, 99, 125), (125, 126, 119, 121), 121])
        found = trades(frame, trailing_stop_pct=10)
        assert (only(found), row_of(found[0])) == (("trailing_stop", 120.0, False), 3)

    def test_does_not_see_the_high_of_its_own_bar(self, frame_of):
        # high 130 and low 95 in one bar: the stop is still 101 - 10 = 91
        frame = frame_of([QUIET, QUIET, (100, 130, 95, 125), 125])
        assert only(trades(frame, trailing_stop_pct=10))[0] == "end_of_data"

    def test_starts_at_the_entry_price(self, frame_of):
        # in the entry bar the stop is 90, whatever the bar's own high
        frame = frame_of([QUIET, (100, 140, 90, 130), 130])
        assert only(trades(frame, trailing_stop_pct=10)) == ("trailing_stop", 90.0, False)

    def test_never_comes_down(self, frame_of):
        rows = [QUIET, QUIET, (100, 130, 99, 125), (125, 125, 121, 122), (122, 122, 115, 116)]
        assert only(trades(frame_of(rows), trailing_stop_pct=10)) == ("trailing_stop", 120.0, False)

    def test_gap_sells_at_the_open(self, frame_of):
        frame = frame_of([QUIET, QUIET, (100, 130, 99, 125), (110, 126, 105, 121), 121])
        assert only(trades(frame, trailing_stop_pct=10)) == ("trailing_stop", 110.0, False)

    def test_the_higher_level_gives_the_reason(self, frame_of):
        deep = frame_of([QUIET, (100, 100, 100, 100), (100, 100, 80, 90), 90])
        assert only(trades(deep, stop_loss_pct=5, trailing_stop_pct=10)) == (
            "stop_loss", 95.0, False)
        assert only(trades(deep, stop_loss_pct=10, trailing_stop_pct=5)) == (
            "trailing_stop", 95.0, False)
        assert only(trades(deep, stop_loss_pct=5, trailing_stop_pct=5))[0] == "stop_loss"
        risen = frame_of([QUIET, (100, 120, 100, 118), (118, 119, 80, 90), 90])
        assert only(trades(risen, stop_loss_pct=5, trailing_stop_pct=10)) == (
            "trailing_stop", 110.0, False)

    def test_with_a_target_in_the_same_bar_is_ambiguous(self, frame_of):
        frame = frame_of([QUIET, (100, 110, 100, 108), (108, 125, 99, 120), 120])
        assert only(trades(frame, trailing_stop_pct=10, take_profit_pct=20)) == (
            "trailing_stop", 100.0, True)

    def test_a_new_trade_starts_from_its_own_entry(self, frame_of):
        rows = [QUIET, QUIET, (100, 200, 99, 195), (190, 190, 185, 186), QUIET,
                (100, 101, 95, 100), 100]
        found = trades(frame_of(rows), [(3, 1)], trailing_stop_pct=10)
        assert [t.exit_reason for t in found] == ["trailing_stop", "end_of_data"]


class TestOrderOfEvents:
    def test_a_waiting_exit_order_fills_before_a_stop(self, frame_of):
        gap = frame_of([QUIET, QUIET, (90, 99, 85, 97), 97])
        assert only(trades(gap, [(1, -1)], stop_loss_pct=5)) == ("signal", 90.0, False)
        inside = frame_of([QUIET, QUIET, (98, 99, 85, 97), 97])
        assert only(trades(inside, [(1, -1)], stop_loss_pct=5)) == ("signal", 98.0, False)

    def test_a_waiting_exit_order_fills_before_a_better_target_and_slips(self, frame_of):
        frame = frame_of([QUIET, QUIET, (120, 125, 119, 121), 121])
        reason, price, _ = only(trades(frame, [(1, -1)], take_profit_pct=10, slippage_bps=100))
        assert reason == "signal"
        assert price == pytest.approx(118.8, rel=1e-15)

    def test_an_exit_signal_on_the_bar_of_the_stop_finds_nothing_to_do(self, frame_of):
        frame = frame_of([QUIET, QUIET, (98, 99, 90, 97), 97, 97])
        assert only(trades(frame, [(2, -1)], stop_loss_pct=5)) == ("stop_loss", 95.0, False)

    def test_an_entry_signal_on_the_bar_of_the_stop_enters_again(self, frame_of):
        frame = frame_of([QUIET, QUIET, (98, 99, 90, 97), (96, 97, 95, 96), 97])
        found = trades(frame, [(2, 1)], stop_loss_pct=5)
        assert [(t.exit_reason, t.entry_price) for t in found] == [
            ("stop_loss", 100.0), ("end_of_data", 96.0)]

    def test_a_stop_on_the_last_bar_goes_before_its_close(self, frame_of):
        frame = frame_of([QUIET, QUIET, (98, 99, 90, 97)])
        assert only(trades(frame, stop_loss_pct=5)) == ("stop_loss", 95.0, False)
