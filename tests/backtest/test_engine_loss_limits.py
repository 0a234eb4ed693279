"""Daily loss, drawdown and liquidation, computed by hand with a capital of 1000.

Rows of 12 hours: two to a UTC day, the first two are 2024-01-01.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from candlevault.backtest.risk import RiskRules, Sizing
from candlevault.timeframe import Timeframe
from tests.support.trading import HOUR, alone, ends, refused, rows_of, together, wished

DAILY = RiskRules(daily_loss_pct=10)
DRAWDOWN = RiskRules(max_drawdown_pct=20)


@pytest.fixture
def rows_at(frame_of):
    """Frames of candles of `hours` hours."""

    def frame(rows, hours=12, **options):
        hourly = frame_of(rows, **options)
        times = hourly.open_time[0] + np.arange(len(hourly)) * hours * HOUR
        return replace(hourly, timeframe=Timeframe(f"{hours}h", hours * HOUR), open_time=times)

    return frame


class TestDailyLoss:
    def test_leaves_everything_at_the_next_open(self, rows_at):
        # 10 at 100; the first close of day 1 is 89: 11 % below the start of the day
        frame = rows_at([100, 100, (100, 100, 85, 89), (88, 99, 87, 95), 100])
        got = alone(frame, [1, 0, 0, 0, 0], risk=DAILY)
        assert ends(got) == [("daily_loss", 100.0, 88.0)]
        assert rows_of(got) == [(1, 3)]
        assert got.trades[0].bars_held == 2

    def test_slips_and_pays_like_any_market_fill(self, rows_at):
        frame = rows_at([100, 100, 80, 80, 80])
        got = alone(frame, [1, 0, 0, 0, 0], risk=DAILY, slippage_bps=1000, fee_rate=0.25,
                    maker_fee_rate=0.0)  # fmt: skip
        (trade,) = got.trades
        assert trade.exit_price == 72.0
        assert trade.exit_fee == pytest.approx(trade.quantity * 18.0)

    def test_a_loss_of_exactly_the_limit_counts_and_less_does_not(self, rows_at):
        exactly = alone(rows_at([100, 100, 90, 90, 90]), [1, 0, 0, 0, 0], risk=DAILY)
        assert ends(exactly)[0][0] == "daily_loss"
        less = alone(rows_at([100, 100, 90.01, 90.01, 90.01]), [1, 0, 0, 0, 0], risk=DAILY)
        assert ends(less)[0][0] == "end_of_data"

    def test_rounding_does_not_hide_a_loss_of_exactly_the_limit(self, rows_at):
        for cents in range(10_000, 10_400):
            rows = [cents / 100, cents / 100, cents * 93 / 10_000, 50, 50]
            got = alone(rows_at(rows), [1, 0, 0, 0, 0], risk=RiskRules(daily_loss_pct=7))
            assert ends(got)[0][0] == "daily_loss"

    def test_is_measured_from_the_last_close_of_the_day_before(self, rows_at):
        # day 0 ends at 120; 109 is 9.2 % below that, and 108 is 10 %
        frame = rows_at([100, (100, 120, 100, 120), 109, 109, 110, 110])
        assert ends(alone(frame, [1, 0, 0, 0, 0, 0], risk=DAILY))[0][0] == "end_of_data"
        frame = rows_at([100, (100, 120, 100, 120), 109, 108, 110, 110])
        got = alone(frame, [1, 0, 0, 0, 0, 0], risk=DAILY)
        assert ends(got) == [("daily_loss", 100.0, 110.0)]

    def test_losses_of_two_days_do_not_add_up(self, rows_at):
        frame = rows_at([100, 100, 95, 92, 88, 84, 80, 80])
        assert ends(alone(frame, [1] + [0] * 7, risk=DAILY))[0][0] == "end_of_data"

    def test_nothing_is_entered_before_the_next_day(self, rows_at):
        # day 1 is rows 3 to 5 of 8 hours: lost in row 3, whose wish is dropped with the loss;
        # the wish of row 4 is refused in row 5; that of row 5 fills in row 6, on day 2
        frame = rows_at([100, 100, 100, 80, 80, 80, 80, 80], hours=8)
        got = alone(frame, [1, 0, 0, 1, 1, 1, 0, 0], risk=RiskRules(daily_loss_pct=10))
        assert rows_of(got) == [(1, 4), (6, 7)]
        assert refused(got) == {"trading_halted": 1}

    def test_what_waits_is_dropped_with_the_loss(self, rows_at):
        # a second lot waits for 70, which only comes on day 2
        frame = rows_at([100, 100, 80, 80, (80, 81, 69, 75), 75])
        signals = wished(6, enter_long=[0, 1], limit={1: 70.0})
        rules = RiskRules(Sizing("equity_fraction", 0.9), daily_loss_pct=10, max_entries=2)
        got = alone(frame, signals, risk=rules)
        assert ends(got) == [("daily_loss", 100.0, 80.0)]
        assert refused(got) == {"trading_halted": 1}

    def test_a_resting_order_of_the_halted_day_is_refused_where_it_would_fill(self, rows_at):
        frame = rows_at([100, 100, 100, 80, 80, (80, 81, 69, 75), 75], hours=8)
        signals = wished(7, enter_long=[0, 4], limit={4: 70.0})
        got = alone(frame, signals, risk=DAILY)
        assert (len(got.trades), refused(got)) == (1, {"trading_halted": 1})
        # the next day it is taken
        frame = rows_at([100, 100, 100, 80, 80, 80, (80, 81, 69, 75), 75], hours=8)
        signals = wished(8, enter_long=[0, 4], limit={4: 70.0})
        assert rows_of(alone(frame, signals, risk=DAILY)) == [(1, 4), (6, 7)]

    def test_a_loss_of_the_last_row_of_a_day_halts_no_other_day(self, rows_at):
        # 80 closes day 0; the wish of row 2 fills in row 3
        frame = rows_at([100, (100, 100, 80, 80), 80, 80, 80])
        got = alone(frame, [1, 0, 1, 0, 0], risk=DAILY)
        assert rows_of(got) == [(1, 2), (3, 4)]

    def test_the_exit_waits_over_absent_rows_and_no_wish_takes_it_back(self, rows_at):
        # the loss of row 1 (day 0) cannot be left before row 4 (day 2)
        frame = rows_at([100, (100, 100, 80, 80), None, None, 85, 90, 90], absent="carry")
        for wishes in (
            dict(enter_long=[0, 2]),
            dict(enter_long=0, exit_long=2, reduce={2: 0.25}),
            dict(enter_long=0, exit_long=2),
        ):
            got = alone(frame, wished(7, **wishes), risk=DAILY)
            assert ends(got)[0] == ("daily_loss", 100.0, 85.0)
            assert got.trades[0].quantity == 10.0

    def test_shorts_are_left_too(self, rows_at):
        frame = rows_at([100, 100, 112, 113, 100])
        got = alone(frame, wished(5, enter_short=0), direction="short", risk=DAILY)
        assert ends(got) == [("daily_loss", 100.0, 113.0)]

    def test_all_symbols_are_left_by_the_loss_of_one(self, rows_at):
        frames = [rows_at([100, 100, 70, 70, 70]), rows_at([50, 50, 50, 50, 50])]
        rules = RiskRules(Sizing("equity_fraction", 0.5), daily_loss_pct=10)
        got = together(frames, [wished(5, enter_long=0)] * 2, initial_capital=1000.0, risk=rules)
        assert [(t.symbol, t.exit_reason) for t in got.trades] == [
            (0, "daily_loss"), (1, "daily_loss")]  # fmt: skip
        assert rows_of(got) == [(1, 3), (1, 3)]


class TestDrawdown:
    def test_stops_the_trading_for_good(self, rows_at):
        # highest equity 1500; 1200 is 20 % below
        frame = rows_at([100, 100, 150, 120, 130, 130, 130, 130])
        got = alone(frame, [1, 0, 0, 0, 1, 1, 0, 0], risk=DRAWDOWN)
        assert ends(got) == [("drawdown", 100.0, 130.0)]
        assert refused(got) == {"trading_halted": 2}

    def test_is_measured_at_closes_from_the_highest_of_all(self, rows_at):
        # the low of 50 inside a bar does not count, nor does 1210 of 1500
        frame = rows_at([100, 100, 150, (150, 150, 50, 121), 121])
        assert ends(alone(frame, [1, 0, 0, 0, 0], risk=DRAWDOWN))[0][0] == "end_of_data"

    def test_the_capital_counts_as_an_equity(self, rows_at):
        got = alone(rows_at([100, 100, 80, 79, 79]), [1, 0, 0, 0, 0], risk=DRAWDOWN)
        assert ends(got) == [("drawdown", 100.0, 79.0)]

    def test_goes_before_a_daily_loss_at_the_same_close(self, rows_at):
        rules = RiskRules(max_drawdown_pct=20, daily_loss_pct=10)
        got = alone(rows_at([100, 100, 75, 75, 75, 75]), [1, 0, 0, 0, 1, 0], risk=rules)
        assert ends(got) == [("drawdown", 100.0, 75.0)]
        assert refused(got) == {"trading_halted": 1}

    def test_holds_where_the_loss_was_locked_in_before(self, rows_at):
        # sold at a loss of 25 % in row 2 by a stop; nothing is open when the limit is hit
        rules = RiskRules(max_drawdown_pct=20, stop_loss_pct=25)
        got = alone(rows_at([100, 100, 75, 75, 75]), [1, 0, 1, 1, 0], risk=rules)
        assert (len(got.trades), refused(got)) == (1, {"trading_halted": 2})


class TestLiquidation:
    def test_a_short_is_closed_where_the_equity_is_used_up(self, rows_at):
        # 10 short at 100: nothing is left at 200
        frame = rows_at([100, 100, (120, 250, 110, 130), 130, 130])
        got = alone(frame, wished(5, enter_short=[0, 3]), direction="short")
        assert ends(got) == [("liquidation", 100.0, 200.0)]
        assert got.trades[0].bars_held == 2
        assert got.equity.tolist() == [1000.0, 1000.0, 0.0, 0.0, 0.0]
        assert refused(got) == {"trading_halted": 1}

    def test_a_bar_that_stays_below_leaves_it_open(self, rows_at):
        frame = rows_at([100, 100, (120, 199, 110, 130), 130])
        assert (
            ends(alone(frame, wished(4, enter_short=0), direction="short"))[0][0] == "end_of_data"
        )

    def test_touching_nothing_is_nothing(self, rows_at):
        frame = rows_at([100, 100, (120, 200, 110, 130), 130])
        got = alone(frame, wished(4, enter_short=0), direction="short")
        assert ends(got) == [("liquidation", 100.0, 200.0)]

    def test_a_gap_beyond_it_closes_at_the_open_below_zero(self, rows_at):
        frame = rows_at([100, 100, (250, 260, 90, 100), 100])
        got = alone(frame, wished(4, enter_short=0), direction="short",
                    risk=RiskRules(take_profit_pct=5))  # fmt: skip
        assert ends(got) == [("liquidation", 100.0, 250.0)]
        assert got.trades[0].bars_held == 1
        assert got.equity.tolist() == [1000.0, 1000.0, -500.0, -500.0]

    def test_costs_come_on_top(self, rows_at):
        # fee 1/4: 8 short at 100, cash 1600: used up at 200; then 8 * 200 / 4 of fee
        frame = rows_at([100, 100, (120, 250, 110, 130), 130])
        got = alone(frame, wished(4, enter_short=0), direction="short", fee_rate=0.25,
                    maker_fee_rate=0.0)  # fmt: skip
        assert (ends(got), got.equity[-1]) == ([("liquidation", 100.0, 200.0)], -400.0)
        # half a spread of 1: 1000 / 99 short at 99, cash 2000: used up at 198, bought at 199
        got = alone(frame, wished(4, enter_short=0), direction="short", half_spread=1.0)
        assert ends(got) == [("liquidation", 99.0, pytest.approx(199.0, rel=1e-14))]

    def test_of_a_long_by_borrowed_money(self, rows_at):
        # 30 at 100 for 3000: 2000 owed; 30 * 66.67 = 2000
        frame = rows_at([100, 100, (100, 101, 60, 90), 90])
        got = alone(frame, [1, 0, 0, 0], risk=RiskRules(Sizing("fixed_amount", 3000.0),
                                                        max_exposure=3.0))  # fmt: skip
        assert ends(got) == [("liquidation", 100.0, pytest.approx(200 / 3))]
        assert got.equity[-1] == pytest.approx(0.0, abs=1e-9)

    def test_a_nearer_stop_goes_before_it(self, rows_at):
        frame = rows_at([100, 100, (100, 250, 95, 130), 130])
        got = alone(frame, wished(4, enter_short=0), direction="short",
                    risk=RiskRules(stop_loss_pct=20))  # fmt: skip
        assert ends(got) == [("stop_loss", 100.0, 120.0)]
        assert got.equity[-1] == 800.0

    def test_a_stop_beyond_it_comes_too_late(self, rows_at):
        # three times the capital: used up at 133.3, the stop lies at 150
        frame = rows_at([100, 100, (100, 160, 95, 130), 130])
        rules = RiskRules(Sizing("fixed_amount", 3000.0), max_exposure=3.0, stop_loss_pct=50)
        got = alone(frame, wished(4, enter_short=0), direction="short", risk=rules)
        assert ends(got) == [("liquidation", 100.0, pytest.approx(400 / 3))]
        assert got.equity[-1] == pytest.approx(0.0, abs=1e-9)

    @pytest.mark.parametrize("mode", [0, 1])
    def test_a_target_in_the_same_bar_does_not_save_it(self, rows_at, mode):
        frame = rows_at([100, 100, (100, 250, 85, 90), 90])
        got = alone(frame, wished(4, enter_short=0), direction="short", mode=mode,
                    risk=RiskRules(take_profit_pct=10))  # fmt: skip
        assert ends(got) == [("liquidation", 100.0, 200.0)]

    def test_symbols_go_to_their_worst_prices_together(self, rows_at):
        # 10 short of each at 100, cash 3000; at worst 180 and 140: 1200 are lost, the capital
        # is after 1000 / 1200 of the way
        first = rows_at([100, 100, (100, 180, 90, 100), 100])
        second = rows_at([100, 100, (100, 140, 90, 100), 100])
        rules = RiskRules(Sizing("fixed_amount", 1000.0), max_exposure=2.0)
        got = together([first, second], [wished(4, enter_short=0)] * 2, initial_capital=1000.0,
                       direction="short", risk=rules)  # fmt: skip
        assert ends(got) == [
            ("liquidation", 100.0, pytest.approx(100 + 80 / 1.2)),
            ("liquidation", 100.0, pytest.approx(100 + 40 / 1.2)),
        ]
        assert got.equity[-1] == pytest.approx(0.0, abs=1e-9)

    def test_a_stop_on_the_way_may_save_the_rest(self, rows_at):
        # the first stops at 110 (a loss of 100); the second loses 400 at worst
        first = rows_at([100, 100, (100, 180, 90, 100), 100])
        second = rows_at([100, 100, (100, 140, 90, 100), 100])
        rules = RiskRules(Sizing("fixed_amount", 1000.0), max_exposure=2.0)
        signals = [wished(4, enter_short=0, stop_loss={0: 110.0}), wished(4, enter_short=0)]
        got = together([first, second], signals, initial_capital=1000.0, direction="short",
                       risk=rules)  # fmt: skip
        assert ends(got) == [("stop_loss", 100.0, 110.0), ("end_of_data", 100.0, 100.0)]

    def test_what_a_stop_on_the_way_costs_may_be_the_last_of_it(self, rows_at):
        # 50 of each bought at 101, cash -9100; at 91.2 they are worth 9120. The first stops there
        # and sells a spread lower, for 50 less: at that price nothing is left
        frame = rows_at([100, 100, (100, 100, 90, 100), 100])
        rules = RiskRules(Sizing("fixed_quantity", 50.0), max_exposure=20.0)
        signals = [wished(4, enter_long=0, stop_loss={0: 91.2}), wished(4, enter_long=0)]
        got = together([frame, frame], signals, initial_capital=1000.0, half_spread=1.0,
                       risk=rules)  # fmt: skip
        assert ends(got) == [
            ("stop_loss", 101.0, pytest.approx(90.2, rel=1e-14)),
            ("liquidation", 101.0, pytest.approx(90.2, rel=1e-14)),
        ]

    def test_or_not(self, rows_at):
        # the first stops at 110 after an eighth of the way (a loss of 100), the other 900 are
        # used up at 190, after nine tenths of the second's way to 200
        first = rows_at([100, 100, (100, 180, 90, 100), 100])
        second = rows_at([100, 100, (100, 200, 90, 100), 100])
        rules = RiskRules(Sizing("fixed_amount", 1000.0), max_exposure=2.0)
        signals = [wished(4, enter_short=0, stop_loss={0: 110.0}), wished(4, enter_short=0)]
        got = together([first, second], signals, initial_capital=1000.0, direction="short",
                       risk=rules)  # fmt: skip
        assert ends(got) == [("stop_loss", 100.0, 110.0),
                             ("liquidation", 100.0, pytest.approx(190.0))]  # fmt: skip

    def test_one_that_is_absent_leaves_at_its_next_open(self, rows_at):
        first = rows_at([100, 100, (100, 250, 90, 100), 100, 100])
        second = rows_at([100, 100, None, None, 90], absent="carry")
        rules = RiskRules(Sizing("fixed_amount", 1000.0), max_exposure=2.0)
        signals = [wished(5, enter_short=0), wished(5, enter_short=[0, 3])]
        got = together([first, second], signals, initial_capital=1000.0, direction="short",
                       risk=rules)  # fmt: skip
        assert ends(got) == [("liquidation", 100.0, 200.0), ("liquidation", 100.0, 90.0)]
        assert rows_of(got) == [(1, 2), (1, 4)]

    def test_orders_that_wait_are_dropped(self, rows_at):
        frame = rows_at([100, 100, (120, 250, 110, 130), (130, 131, 50, 60), 60])
        signals = wished(5, enter_short=[0, 1], limit={1: 300.0})
        got = alone(frame, signals, direction="short", risk=RiskRules(max_entries=2))
        assert (len(got.trades), refused(got)) == (1, {"trading_halted": 1})

    def test_a_long_that_owns_what_it_holds_is_never_liquidated(self, rows_at):
        frame = rows_at([100, 100, (100, 101, 0.0001, 0.0002), 0.0001])
        assert ends(alone(frame, [1, 0, 0, 0]))[0][0] == "end_of_data"

    def test_unless_funding_eats_it_up(self, rows_at):
        # 10 at 100 pay 900: 100 are left, gone at 90
        frame = rows_at([100, 100, (100, 101, 80, 95), 95])
        got = alone(frame, [1, 0, 0, 0], funding=[[0, 0, 0.9, 0]])
        assert ends(got) == [("liquidation", 100.0, pytest.approx(90.0))]
