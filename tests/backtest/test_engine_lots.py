"""Several lots of one symbol, and exits of a part, computed by hand. The capital is 1000."""

from __future__ import annotations

import math

import pytest

from candlevault.backtest.risk import RiskRules, Sizing
from tests.support.trading import alone, ends, refused, rows_of, wished

SMALL = Sizing("fixed_amount", 200.0)


def quantities(simulation):
    return [trade.quantity for trade in simulation.trades]


class TestPyramiding:
    def test_one_lot_is_the_default(self, frame_of):
        got = alone(frame_of([100, 100, 80, 100]), [1, 1, 1, 0], risk=RiskRules(sizing=SMALL))
        assert quantities(got) == [2.0]
        assert refused(got) == {}

    def test_entries_add_lots_up_to_the_limit_and_then_do_nothing(self, frame_of):
        # 200 each: 2 at 100, 2.5 at 80, 4 at 50; the fourth wish does nothing
        frame = frame_of([100, 100, 80, 50, 40, 100])
        got = alone(frame, [1, 1, 1, 1, 0, 0], risk=RiskRules(sizing=SMALL, max_entries=3))
        assert quantities(got) == [2.0, 2.5, 4.0]
        assert [trade.pnl for trade in got.trades] == [0.0, 50.0, 200.0]
        assert rows_of(got) == [(1, 5), (2, 5), (3, 5)]
        assert got.quantity[0].tolist() == [0.0, 2.0, 4.5, 8.5, 8.5, 0.0]
        assert got.equity[-1] == 1250.0
        assert refused(got) == {}

    def test_shorts_add_lots_too(self, frame_of):
        frame = frame_of([100, 100, 125, 100])
        got = alone(frame, wished(4, enter_short=[0, 1]), direction="short",
                    risk=RiskRules(sizing=SMALL, max_entries=2))  # fmt: skip
        assert quantities(got) == [2.0, 1.6]
        assert got.quantity[0].tolist() == [0.0, -2.0, -3.6, 0.0]
        assert [trade.pnl for trade in got.trades] == [0.0, 40.0]

    def test_every_lot_has_its_own_stop(self, frame_of):
        # lots at 100 and 120: stops 10 % below at 90 and 108
        frame = frame_of([100, 100, 120, (115, 116, 105, 110), (110, 111, 89, 95), 95])
        got = alone(frame, [1, 1, 0, 0, 0, 0],
                    risk=RiskRules(sizing=SMALL, max_entries=2, stop_loss_pct=10))  # fmt: skip
        assert ends(got) == [("stop_loss", 120.0, 108.0), ("stop_loss", 100.0, 90.0)]
        assert rows_of(got) == [(2, 3), (1, 4)]

    def test_and_its_own_target_and_trailing_stop(self, frame_of):
        frame = frame_of([100, 100, 80, (80, 89, 79, 85), 85])
        got = alone(frame, [1, 1, 0, 0, 0],
                    risk=RiskRules(sizing=SMALL, max_entries=2, take_profit_pct=10))  # fmt: skip
        assert ends(got) == [("take_profit", 80.0, 88.0), ("end_of_data", 100.0, 85.0)]
        # distances 10 and 8: from the best of 100 since row 1 and of 82 since row 2
        frame = frame_of([100, 100, (80, 82, 80, 82), (82, 82, 73, 75), 75])
        got = alone(frame, [1, 1, 0, 0, 0],
                    risk=RiskRules(sizing=SMALL, max_entries=2, trailing_stop_pct=10))  # fmt: skip
        assert ends(got) == [("trailing_stop", 100.0, 80.0), ("trailing_stop", 80.0, 74.0)]
        assert rows_of(got) == [(1, 2), (2, 3)]

    def test_a_named_level_belongs_to_the_lot_it_was_named_with(self, frame_of):
        frame = frame_of([100, 100, 100, (100, 101, 94, 96), 96])
        signals = wished(5, enter_long=[0, 1], stop_loss={0: 90.0, 1: 95.0})
        got = alone(frame, signals, risk=RiskRules(sizing=SMALL, max_entries=2))
        assert ends(got) == [("stop_loss", 100.0, 95.0), ("end_of_data", 100.0, 96.0)]

    def test_a_lot_that_left_makes_room_for_another(self, frame_of):
        frame = frame_of([100, 100, 120, (115, 116, 105, 110), 100, 100])
        got = alone(frame, [1, 1, 0, 1, 0, 0],
                    risk=RiskRules(sizing=SMALL, max_entries=2, stop_loss_pct=10))  # fmt: skip
        assert [row for row, _ in rows_of(got)] == [2, 1, 4]

    def test_each_lot_is_sized_by_the_equity_then_and_by_the_room_left(self, frame_of):
        # 500 buy 5 at 100; at 200 the equity is 1500, of which 750 is wanted, 500 are left
        half = RiskRules(sizing=Sizing("equity_fraction", 0.5), max_entries=2)
        got = alone(frame_of([100, 100, 200, 200]), [1, 1, 0, 0], risk=half)
        assert quantities(got) == [5.0, 2.5]

    def test_when_nothing_is_left_the_entry_is_refused_for_good(self, frame_of):
        # a rounding remainder of the cash must not become a lot that blocks the place
        for cents in range(9_000, 9_300):
            frame = frame_of([100, cents / 100, cents / 90, cents / 110, 100])
            got = alone(frame, [1, 1, 1, 0, 0], fee_rate=0.001, risk=RiskRules(max_entries=3))
            assert len(got.trades) == 1
            assert refused(got) == {"no_buying_power": 2}

    def test_an_exit_closes_the_oldest_lot_first(self, frame_of):
        frame = frame_of([100, 100, 80, 90, 90])
        got = alone(frame, [1, 1, -1, 0, 0], risk=RiskRules(sizing=SMALL, max_entries=2))
        assert ends(got) == [("signal", 100.0, 90.0), ("signal", 80.0, 90.0)]

    def test_only_the_lots_in_doubt_are_ambiguous(self, frame_of):
        # lots at 100 and 110, stops 5 % below (95, 104.5), targets 10 % above (110, 121)
        frame = frame_of([100, 100, (110, 110, 109.9, 110), (110, 111, 104, 106), 106])
        signals = wished(5, enter_long=[0, 1], take_profit={0: 115.0})
        got = alone(frame, signals, risk=RiskRules(sizing=SMALL, max_entries=2, stop_loss_pct=5))
        assert [(t.entry_price, t.exit_reason, t.ambiguous) for t in got.trades] == [
            (110.0, "stop_loss", False), (100.0, "end_of_data", False)]  # fmt: skip
        both = frame_of([100, 100, (110, 110, 109.9, 110), (110, 116, 104, 106), 106])
        signals = wished(5, enter_long=[0, 1], take_profit={0: 150.0, 1: 115.0})
        got = alone(both, signals, risk=RiskRules(sizing=SMALL, max_entries=2, stop_loss_pct=5))
        assert [(t.entry_price, t.exit_reason, t.ambiguous) for t in got.trades] == [
            (110.0, "stop_loss", True), (100.0, "end_of_data", False)]  # fmt: skip


class TestExitsOfAPart:
    def test_half_of_a_lot_leaves_and_the_rest_stays(self, frame_of):
        frame = frame_of([100, 100, 120, 130, 130])
        signals = wished(5, enter_long=0, exit_long=1, reduce={1: 0.5})
        got = alone(frame, signals)
        assert [(t.quantity, t.exit_reason, t.exit_price, t.pnl) for t in got.trades] == [
            (5.0, "signal", 120.0, 100.0), (5.0, "end_of_data", 130.0, 150.0)]  # fmt: skip
        assert len({(t.entry_time, t.signal_time) for t in got.trades}) == 1
        assert got.quantity[0].tolist() == [0.0, 10.0, 5.0, 5.0, 0.0]
        assert got.cash.tolist() == [1000.0, 0.0, 600.0, 600.0, 1250.0]

    def test_the_oldest_lots_leave_first_and_one_may_be_split(self, frame_of):
        # 2 at 100 and 2.5 at 80; half of 4.5 is 2.25: all of the first and 0.25 of the second
        frame = frame_of([100, 100, 80, 90, 70, 70])
        signals = wished(6, enter_long=[0, 1], exit_long=2, reduce={2: 0.5})
        got = alone(frame, signals, risk=RiskRules(sizing=SMALL, max_entries=2))
        assert [(t.quantity, t.entry_price, t.exit_price) for t in got.trades] == [
            (2.0, 100.0, 90.0), (0.25, 80.0, 90.0), (2.25, 80.0, 70.0)]  # fmt: skip
        assert [trade.pnl for trade in got.trades] == [-20.0, 2.5, -22.5]

    def test_fee_and_funding_of_the_entry_are_split_with_the_lot(self, frame_of):
        # fee 1/4: 8 units, fee 200. Row 2: funding 8 * 100 / 100 = 8. Row 3: a quarter leaves at
        # 150: fee 2 * 150 / 4 = 75
        frame = frame_of([100, 100, 100, 150, 100])
        signals = wished(5, enter_long=0, exit_long=2, reduce={2: 0.25})
        got = alone(frame, signals, fee_rate=0.25, funding=[[0, 0, 0.01, 0, 0]])
        first, second = got.trades
        assert (first.quantity, second.quantity) == (2.0, 6.0)
        assert (first.entry_fee, second.entry_fee) == (50.0, 150.0)
        assert (first.exit_fee, second.exit_fee) == (75.0, 150.0)
        assert (first.funding, second.funding) == (2.0, 6.0)
        # 2 * 50 - 50 - 75 - 2 of the 200 + 50 spent; 0 - 150 - 150 - 6 of 600 + 150
        assert (first.pnl, second.pnl) == (-27.0, -306.0)
        assert first.return_pct == pytest.approx(-10.8)
        assert second.return_pct == pytest.approx(-40.8)
        assert got.equity[-1] == 1000.0 - 27.0 - 306.0

    def test_parts_of_shorts_likewise(self, frame_of):
        frame = frame_of([100, 100, 80, 70, 70])
        signals = wished(5, enter_short=0, exit_short=1, reduce={1: 0.5})
        got = alone(frame, signals, direction="short")
        assert [(t.quantity, t.pnl) for t in got.trades] == [(5.0, 100.0), (5.0, 150.0)]
        assert got.quantity[0].tolist() == [0.0, -10.0, -5.0, -5.0, 0.0]

    def test_each_part_is_one_of_what_is_left(self, frame_of):
        frame = frame_of([100, 100, 100, 100, 100, 100])
        signals = wished(6, enter_long=0, exit_long=[1, 2, 3], reduce={1: 0.5, 2: 0.5, 3: 1.0})
        assert quantities(alone(frame, signals)) == [5.0, 2.5, 2.5]

    def test_a_part_waits_over_absent_rows_and_the_newest_counts(self, frame_of):
        frame = frame_of([100, 100, None, 100, 100], absent="carry")
        signals = wished(5, enter_long=0, exit_long=[1, 2], reduce={1: 0.5, 2: 0.25})
        assert quantities(alone(frame, signals)) == [2.5, 7.5]

    def test_an_entry_of_the_same_side_takes_the_part_back(self, frame_of):
        frame = frame_of([100, 100, None, 100, 100], absent="carry")
        signals = wished(5, enter_long=[0, 2], exit_long=1, reduce={1: 0.5})
        assert quantities(alone(frame, signals)) == [10.0]

    def test_what_is_left_keeps_its_stop(self, frame_of):
        frame = frame_of([100, 100, 110, (105, 106, 94, 96), 96])
        signals = wished(5, enter_long=0, exit_long=1, reduce={1: 0.5})
        got = alone(frame, signals, risk=RiskRules(stop_loss_pct=5))
        assert ends(got) == [("signal", 100.0, 110.0), ("stop_loss", 100.0, 95.0)]

    def test_rounding_splits_no_crumbs_off_and_leaves_none_behind(self, frame_of):
        # a part that is exactly some lots in decimals closes those lots and no crumb more
        frame = frame_of([100] * 6)
        for tenths in range(1, 30):
            weights = {0: tenths / 100, 1: 2 * tenths / 100, 2: 3 * tenths / 100}
            signals = wished(6, enter_long=[0, 1, 2], exit_long=3, reduce={3: 0.5}, weight=weights)
            rules = RiskRules(sizing=Sizing("fixed_quantity", 3.0), max_entries=3)
            assert quantities(alone(frame, signals, risk=rules)) == pytest.approx(
                [3 * weight for weight in weights.values()], rel=1e-9)  # fmt: skip

    def test_a_whole_exit_leaves_nothing_however_unequal_the_lots(self, frame_of):
        frame = frame_of([100, 100, 100, 100, 100])
        signals = wished(5, enter_long=[0, 1], exit_long=2, weight={0: 1.0, 1: 1e-9})
        rules = RiskRules(sizing=Sizing("fixed_quantity", 1e7), max_entries=2)
        got = alone(frame, signals, risk=rules, initial_capital=2e9)
        assert [trade.exit_reason for trade in got.trades] == ["signal", "signal"]
        assert got.quantity[0].tolist()[3:] == [0.0, 0.0]

    def test_the_trades_add_up_to_the_equity(self, frame_of):
        rows = [100, 100, 120, 90, (95, 110, 80, 85), 130, 100]
        signals = wished(7, enter_long=[0, 1, 2], exit_long=[2, 3, 4],
                         reduce={2: 0.3, 3: 0.7, 4: 0.9})  # fmt: skip
        rules = RiskRules(sizing=SMALL, max_entries=3)
        got = alone(frame_of(rows), signals, fee_rate=0.01, slippage_bps=7, risk=rules)
        assert got.equity[-1] == pytest.approx(
            1000.0 + math.fsum(trade.pnl for trade in got.trades), rel=1e-13
        )
