"""Short positions and turning around, computed by hand. The capital is 1000 unless said."""

from __future__ import annotations

import pytest

from candlevault.backtest.risk import RiskRules
from tests.support.trading import HOUR, START, alone, ends, refused, wished

QUIET = (100, 101, 99, 100)


def shorted(frame, *, exits=(), **options):
    """Sell short at the open of bar 1."""
    signals = wished(len(frame.bars().close), enter_short=0, exit_short=list(exits))
    return alone(frame, signals, direction="short", **options)


def only(simulation):
    (trade,) = simulation.trades
    return trade.exit_reason, trade.exit_price, trade.ambiguous


def test_a_short_gains_what_the_price_falls_and_is_marked_at_each_close(frame_of):
    # 10 units sold at 100: cash 2000; marked at 96: 2000 - 960; bought back at 90: 2000 - 900
    got = shorted(frame_of([100, (100, 101, 95, 96), (90, 91, 89, 90), 90]), exits=[1])
    (trade,) = got.trades
    assert (trade.side, trade.exit_reason, trade.quantity) == ("short", "signal", 10.0)
    assert (trade.entry_price, trade.exit_price) == (100.0, 90.0)
    assert (trade.pnl, trade.return_pct, trade.bars_held) == (100.0, 10.0, 1)
    assert (trade.entry_time, trade.exit_time) == (START + HOUR, START + 2 * HOUR)
    assert got.cash.tolist() == [1000.0, 2000.0, 1100.0, 1100.0]
    assert got.quantity[0].tolist() == [0.0, -10.0, 0.0, 0.0]
    assert got.equity.tolist() == [1000.0, 1040.0, 1100.0, 1100.0]


def test_a_short_loses_what_the_price_rises(frame_of):
    got = shorted(frame_of([100, 100, 130, 130]))
    assert (got.trades[0].pnl, got.trades[0].return_pct) == (-300.0, -30.0)
    assert got.equity.tolist() == [1000.0, 1000.0, 700.0, 700.0]


def test_a_short_pays_the_fee_of_its_notional_at_both_ends(frame_of):
    # fee 1/4: 1000 pay for 8 at 100 and the fee of 200: cash 1000 + 800 - 200; bought back at
    # 50 for 400 and a fee of 100
    got = shorted(frame_of([100, 100, 50, 50]), exits=[1], fee_rate=0.25)
    (trade,) = got.trades
    assert (trade.quantity, trade.entry_fee, trade.exit_fee) == (8.0, 200.0, 100.0)
    assert (trade.pnl, trade.return_pct) == (100.0, 10.0)
    assert got.cash.tolist() == [1000.0, 1600.0, 1100.0, 1100.0]


def test_slippage_sells_cheaper_and_buys_back_dearer(frame_of):
    # 2500 bps: 750 / 75 = 10 units sold at 75, bought back at 80 * 1.25 = 100
    got = shorted(frame_of([100, 100, 80, 80]), exits=[1], slippage_bps=2500, initial_capital=750.0)
    (trade,) = got.trades
    assert (trade.entry_price, trade.exit_price, trade.quantity) == (75.0, 100.0, 10.0)
    assert got.equity.tolist() == [750.0, 500.0, 500.0, 500.0]


def test_half_the_spread_makes_every_market_fill_worse(frame_of):
    # sold at 100 - 5, bought back at 80 + 5
    got = shorted(frame_of([100, 100, 80, 80]), exits=[1], half_spread=5.0, initial_capital=950.0)
    assert ends(got) == [("signal", 95.0, 85.0)]
    assert got.trades[0].pnl == 100.0
    # with slippage first: 100 * 0.9 - 5 and 80 * 1.1 + 5
    got = shorted(frame_of([100, 100, 80, 80]), exits=[1], half_spread=5.0, slippage_bps=1000)
    assert ends(got) == [("signal", pytest.approx(85.0), pytest.approx(93.0))]


def test_a_spread_wider_than_the_price_sells_for_nothing(frame_of):
    # bought at 100 + 150; 4 sold for 0 each, never for less
    frame = frame_of([100, 100, 100, 100])
    got = alone(frame, [1, -1, 0, 0], half_spread=150.0, fee_rate=0.001, initial_capital=1001.0)
    assert ends(got) == [("signal", 250.0, 0.0)]
    assert (got.trades[0].exit_fee, got.equity[-1]) == (0.0, pytest.approx(0.0, abs=1e-9))
    # and nothing can be sold short for it
    for half_spread in (100.0, 150.0):
        got = alone(frame, wished(4, enter_short=0), direction="short", half_spread=half_spread)
        assert (got.trades, refused(got)) == ((), {"no_buying_power": 1})


def test_a_long_pays_half_the_spread_too_but_not_at_its_target(frame_of):
    # bought at 105; the target 20 % above, 126, is a limit
    frame = frame_of([100, 100, (100, 130, 100, 120), 120])
    got = alone(frame, [1, 0, 0, 0], half_spread=5.0, risk=RiskRules(take_profit_pct=20))
    assert ends(got) == [("take_profit", 105.0, 126.0)]


def test_excursions_of_a_short_are_mirrored(frame_of):
    # bars 1 and 2 are held: 90 to 115; of bar 3 only the open, 105, was met
    rows = [100, (100, 110, 90, 100), (100, 115, 95, 105), (105, 300, 10, 105)]
    trade = shorted(frame_of(rows), exits=[2]).trades[0]
    assert (trade.mae_pct, trade.mfe_pct) == (-15.0, 10.0)


class TestLevels:
    def test_the_stop_lies_above(self, frame_of):
        frame = frame_of([QUIET, QUIET, (102, 106, 101, 103), 103])
        assert only(shorted(frame, risk=RiskRules(stop_loss_pct=5))) == ("stop_loss", 105.0, False)
        # a stop of a short buys: slippage makes it dearer. Sold at 99: stop at 103.95
        got = shorted(frame, risk=RiskRules(stop_loss_pct=5), slippage_bps=100)
        assert got.trades[0].exit_price == pytest.approx(103.95 * 1.01, rel=1e-15)

    def test_a_high_below_the_stop_does_not_trigger_it(self, frame_of):
        frame = frame_of([QUIET, QUIET, (102, 104.99, 101, 103), 103])
        assert only(shorted(frame, risk=RiskRules(stop_loss_pct=5)))[0] == "end_of_data"

    def test_the_target_lies_below(self, frame_of):
        frame = frame_of([QUIET, QUIET, (98, 99, 89, 95), 95])
        rules = RiskRules(take_profit_pct=10)
        assert only(shorted(frame, risk=rules)) == ("take_profit", 90.0, False)
        assert only(shorted(frame, risk=rules, slippage_bps=100))[1] == pytest.approx(89.1)

    def test_a_gap_above_the_stop_buys_at_the_open(self, frame_of):
        frame = frame_of([QUIET, QUIET, (108, 109, 80, 100), 100])
        got = shorted(frame, risk=RiskRules(stop_loss_pct=5, take_profit_pct=10))
        assert only(got) == ("stop_loss", 108.0, False)
        assert got.trades[0].bars_held == 1

    def test_a_gap_below_the_target_buys_at_the_better_open(self, frame_of):
        frame = frame_of([QUIET, QUIET, (85, 120, 84, 100), 100])
        got = shorted(frame, risk=RiskRules(stop_loss_pct=5, take_profit_pct=10))
        assert only(got) == ("take_profit", 85.0, False)

    def test_stop_and_target_in_one_bar_take_the_stop_and_say_so(self, frame_of):
        frame = frame_of([QUIET, QUIET, (100, 106, 89, 100), 100])
        rules = RiskRules(stop_loss_pct=5, take_profit_pct=10)
        assert only(shorted(frame, risk=rules)) == ("stop_loss", 105.0, True)
        assert only(shorted(frame, risk=rules, mode=1)) == ("take_profit", 90.0, True)

    def test_the_trailing_stop_follows_the_lowest_low_from_above(self, frame_of):
        # distance 10; low 70: stop at 80
        frame = frame_of([QUIET, QUIET, (100, 101, 70, 75), (75, 81, 74, 76), 76])
        got = shorted(frame, risk=RiskRules(trailing_stop_pct=10))
        assert only(got) == ("trailing_stop", 80.0, False)
        # in the bar of the low the stop is still 99 + 10
        frame = frame_of([QUIET, QUIET, (100, 108, 70, 75), 75])
        assert only(shorted(frame, risk=RiskRules(trailing_stop_pct=10)))[0] == "end_of_data"

    def test_the_lower_of_both_stops_gives_the_reason(self, frame_of):
        frame = frame_of([QUIET, 100, (100, 120, 100, 110), 110])
        assert only(shorted(frame, risk=RiskRules(stop_loss_pct=5, trailing_stop_pct=10))) == (
            "stop_loss", 105.0, False)  # fmt: skip
        assert only(shorted(frame, risk=RiskRules(stop_loss_pct=10, trailing_stop_pct=5))) == (
            "trailing_stop", 105.0, False)  # fmt: skip
        equal = shorted(frame, risk=RiskRules(stop_loss_pct=5, trailing_stop_pct=5))
        assert only(equal)[0] == "stop_loss"

    def test_a_touch_does_not_depend_on_the_rounding_of_the_level(self, frame_of):
        for cents in range(10_000, 10_400, 7):
            entry, high, low = cents / 100, cents * 103 / 10_000, cents * 93 / 10_000
            flat = (entry,) * 4
            rises = frame_of([flat, flat, (entry, high, entry, entry)])
            assert only(shorted(rises, risk=RiskRules(stop_loss_pct=3)))[0] == "stop_loss"
            both = RiskRules(stop_loss_pct=3, trailing_stop_pct=3)
            assert only(shorted(rises, risk=both))[0] == "stop_loss"
            falls = frame_of([flat, flat, (entry, entry, low, entry)])
            assert only(shorted(falls, risk=RiskRules(take_profit_pct=7)))[0] == "take_profit"

    def test_a_stop_inside_the_slippage_buys_back_at_once(self, frame_of):
        # sold at 90 with 1000 bps; the stop at 94.5 lies below the open of 100: bought at 110
        got = shorted(frame_of([QUIET, QUIET, QUIET]), slippage_bps=1000,
                      risk=RiskRules(stop_loss_pct=5))  # fmt: skip
        assert ends(got) == [("stop_loss", 90.0, pytest.approx(110.0))]
        assert got.trades[0].bars_held == 0


class TestTurningAround:
    def test_an_entry_on_the_other_side_leaves_and_enters_at_one_open(self, frame_of):
        # 10 long at 100, sold at 120: 1200 sell 10 short at 120, marked at 110
        frame = frame_of([100, 100, 120, (120, 121, 109, 110), 100])
        got = alone(frame, wished(5, enter_long=0, enter_short=2), direction="both")
        assert [(t.side, t.exit_reason, t.entry_price, t.exit_price) for t in got.trades] == [
            ("long", "signal", 100.0, 120.0), ("short", "end_of_data", 120.0, 100.0)]  # fmt: skip
        assert got.trades[0].exit_time == got.trades[1].entry_time
        assert got.quantity[0].tolist() == [0.0, 10.0, 10.0, -10.0, 0.0]
        assert got.equity.tolist() == [1000.0, 1000.0, 1200.0, 1300.0, 1400.0]

    def test_a_short_turns_long_likewise(self, frame_of):
        # 10 short at 100 bought back at 80: 1200 buy 15 at 80
        frame = frame_of([100, 100, 80, 80, 90])
        got = alone(frame, wished(5, enter_short=0, enter_long=2), direction="both")
        assert [(t.side, t.quantity, t.pnl) for t in got.trades] == [
            ("short", 10.0, 200.0), ("long", 15.0, 150.0)]  # fmt: skip

    def test_whoever_turns_around_leaves_all_even_where_a_part_was_named(self, frame_of):
        frame = frame_of([100, 100, 120, 120, 100])
        signals = wished(5, enter_long=0, exit_long=2, enter_short=2, reduce={2: 0.5})
        got = alone(frame, signals, direction="both")
        assert [trade.quantity for trade in got.trades] == [10.0, 10.0]

    def test_a_later_exit_of_a_part_does_not_keep_the_rest_of_a_turning_position(self, frame_of):
        # turn wished in row 1; while the venue is closed half is wished away: both sides of a
        # symbol must never be open together
        frame = frame_of([100, 100, None, 120, 100], absent="carry")
        signals = wished(5, enter_long=0, enter_short=1, exit_long=2, reduce={2: 0.5})
        got = alone(frame, signals, direction="both")
        assert [(t.side, t.quantity) for t in got.trades] == [("long", 10.0), ("short", 10.0)]
        assert got.quantity[0].tolist() == [0.0, 10.0, 10.0, -10.0, 0.0]

    def test_an_entry_of_the_side_held_takes_the_turn_back(self, frame_of):
        frame = frame_of([100, 100, None, 120, 100], absent="carry")
        signals = wished(5, enter_long=[0, 2], enter_short=1)
        got = alone(frame, signals, direction="both")
        assert ends(got) == [("end_of_data", 100.0, 100.0)]

    def test_leaving_and_turning_wished_at_once_is_turning(self, frame_of):
        frame = frame_of([100, 100, 120, 120, 100])
        both = wished(5, enter_long=0, exit_long=2, enter_short=2)
        turn = wished(5, enter_long=0, enter_short=2)
        assert (
            alone(frame, both, direction="both").trades
            == alone(frame, turn, direction="both").trades
        )


class TestDirection:
    ROWS = (100, 100, 110, 120, 90)
    WISHES = wished(5, enter_long=0, enter_short=2)

    @pytest.mark.parametrize(
        ("direction", "sides"),
        [("long", ["long"]), ("short", ["short"]), ("both", ["long", "short"])],
    )
    def test_entries_on_a_forbidden_side_are_not_taken(self, frame_of, direction, sides):
        got = alone(frame_of(self.ROWS), self.WISHES, direction=direction)
        assert [trade.side for trade in got.trades] == sides

    def test_a_forbidden_entry_does_not_leave_what_is_held(self, frame_of):
        got = alone(frame_of(self.ROWS), self.WISHES, direction="long")
        assert ends(got) == [("end_of_data", 100.0, 90.0)]
        assert refused(got) == {}

    def test_the_default_is_long(self, frame_of):
        got = alone(frame_of(self.ROWS), self.WISHES)
        assert [trade.side for trade in got.trades] == ["long"]

    def test_an_exit_of_the_other_side_does_nothing(self, frame_of):
        got = alone(frame_of(self.ROWS), wished(5, enter_long=0, exit_short=2), direction="both")
        assert ends(got) == [("end_of_data", 100.0, 90.0)]
