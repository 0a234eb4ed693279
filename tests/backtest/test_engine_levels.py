"""Levels that the strategy names, computed by hand: 10 units at 100 unless said otherwise."""

from __future__ import annotations

import pytest

from candlevault.backtest.risk import RiskRules
from tests.support.trading import alone, ends, refused, rows_of, wished

QUIET = (100, 101, 99, 100)
RULES = RiskRules(stop_loss_pct=5, take_profit_pct=10, trailing_stop_pct=20)


def entered(frame, *, short=False, risk=None, limit=None, stop=None, levels=None, **options):
    """One entry wished in row 0 with the levels named there."""
    values = {name: {0: price} for name, price in (levels or {}).items()}
    values |= {name: {0: price} for name, price in (("limit", limit), ("stop", stop)) if price}
    side = "enter_short" if short else "enter_long"
    signals = wished(len(frame.bars().close), **{side: 0}, **values)
    return alone(frame, signals, direction="both", risk=risk, **options)


def test_a_named_stop_loss_replaces_that_of_the_rules(frame_of):
    frame = frame_of([QUIET, QUIET, (100, 101, 94, 96), (96, 97, 92, 95), 95])
    got = entered(frame, risk=RULES, levels={"stop_loss": 93.0})
    assert (ends(got), rows_of(got)) == ([("stop_loss", 100.0, 93.0)], [(1, 3)])


def test_a_named_target_replaces_that_of_the_rules(frame_of):
    frame = frame_of([QUIET, QUIET, (100, 112, 99, 111), (111, 131, 110, 130), 130])
    got = entered(frame, risk=RULES, levels={"take_profit": 130.0})
    assert (ends(got), rows_of(got)) == ([("take_profit", 100.0, 130.0)], [(1, 3)])


def test_a_named_trail_is_a_distance_in_quote(frame_of):
    # best 108: stop at 105
    frame = frame_of([QUIET, QUIET, (100, 108, 99, 107), (107, 108, 104, 106), 106])
    got = entered(frame, risk=RULES, levels={"trail": 3.0})
    assert (ends(got), rows_of(got)) == ([("trailing_stop", 100.0, 105.0)], [(1, 3)])


def test_where_nothing_is_named_the_rules_hold(frame_of):
    frame = frame_of([QUIET, QUIET, (100, 101, 94, 96), 96])
    got = entered(frame, risk=RULES, levels={"stop_loss": float("nan")})
    assert ends(got) == [("stop_loss", 100.0, 95.0)]


def test_levels_are_those_of_the_bar_that_wished_the_entry(frame_of):
    frame = frame_of([QUIET, QUIET, (100, 101, 94, 96), 96])
    signals = wished(4, enter_long=[0, 1], stop_loss={0: 95.0, 1: 50.0})
    assert ends(alone(frame, signals)) == [("stop_loss", 100.0, 95.0)]


def test_of_a_short_the_stop_lies_above_and_the_target_below(frame_of):
    rises = frame_of([QUIET, QUIET, (100, 106, 99, 101), 101])
    got = entered(rises, short=True, risk=RULES, levels={"stop_loss": 106.0, "take_profit": 80.0})
    assert ends(got) == [("stop_loss", 100.0, 106.0)]
    falls = frame_of([QUIET, QUIET, (100, 101, 80, 90), 90])
    got = entered(falls, short=True, risk=RULES, levels={"stop_loss": 106.0, "take_profit": 80.0})
    assert ends(got) == [("take_profit", 100.0, 80.0)]
    # best 92: stop at 95
    trails = frame_of([QUIET, QUIET, (100, 101, 92, 94), (94, 96, 93, 95), 95])
    got = entered(trails, short=True, levels={"trail": 3.0})
    assert ends(got) == [("trailing_stop", 100.0, 95.0)]


def test_a_target_pays_the_maker_fee_and_a_stop_the_taker_fee(frame_of):
    # fee 1/4: 8 units for 800 and a fee of 200
    costs = dict(risk=RULES, fee_rate=0.25, maker_fee_rate=0.125)
    rises = frame_of([QUIET, QUIET, (100, 112, 99, 111), 111])
    assert entered(rises, **costs).trades[0].exit_fee == 110.0
    falls = frame_of([QUIET, QUIET, (100, 101, 90, 96), 96])
    assert entered(falls, **costs).trades[0].exit_fee == 190.0


class TestWrongSide:
    @pytest.mark.parametrize("level", [100.0, 100.01, 250.0])
    def test_an_entry_whose_stop_is_not_below_is_dropped(self, frame_of, level):
        got = entered(frame_of([QUIET, QUIET, QUIET]), levels={"stop_loss": level})
        assert (got.trades, refused(got)) == ((), {"no_stop_distance": 1})

    @pytest.mark.parametrize("level", [100.0, 99.99, 1.0])
    def test_nor_may_that_of_a_short_be_above(self, frame_of, level):
        got = entered(frame_of([QUIET, QUIET, QUIET]), short=True, levels={"stop_loss": level})
        assert (got.trades, refused(got)) == ((), {"no_stop_distance": 1})

    def test_the_price_of_the_fill_decides(self, frame_of):
        # the stop of 90 was below the close of 100; the market opens at 85
        got = entered(frame_of([QUIET, 85, 85]), levels={"stop_loss": 90.0})
        assert refused(got) == {"no_stop_distance": 1}

    def test_a_dropped_order_is_gone(self, frame_of):
        got = entered(frame_of([QUIET, 85, 95, 95]), levels={"stop_loss": 90.0})
        assert got.trades == ()

    def test_a_stop_that_only_slippage_lies_above_sells_at_once_at_the_open(self, frame_of):
        # bought at 105: the stop of 104 is below, the open of 100 beyond it: sold at 95
        got = entered(
            frame_of([QUIET, QUIET, QUIET]), slippage_bps=500, levels={"stop_loss": 104.0}
        )
        assert ends(got) == [("stop_loss", 105.0, 95.0)]
        assert got.trades[0].bars_held == 0

    def test_a_target_below_the_open_sells_at_once_at_the_open(self, frame_of):
        # a limit: no slippage on the way out, and the maker fee
        got = entered(
            frame_of([QUIET, QUIET, QUIET]),
            levels={"take_profit": 90.0}, fee_rate=0.25, maker_fee_rate=0.125,
        )  # fmt: skip
        (trade,) = got.trades
        assert (trade.exit_reason, trade.exit_price, trade.bars_held) == ("take_profit", 100.0, 0)
        assert (trade.entry_fee, trade.exit_fee) == (200.0, 100.0)


class TestInsideTheBarOfTheEntry:
    """What lies beyond a level at the entry leaves at the price of the market there."""

    def test_a_target_above_which_a_limit_buys_sells_at_the_limit(self, frame_of):
        # never at the target of 70, where the market was not
        frame = frame_of([QUIET, (100, 101, 79, 90), 90])
        got = entered(frame, limit=80.0, levels={"take_profit": 70.0})
        assert ends(got) == [("take_profit", 80.0, 80.0)]
        assert got.trades[0].bars_held == 1

    def test_a_stop_inside_the_slippage_of_a_stop_entry_sells_at_the_trigger(self, frame_of):
        # triggered at 110, bought at 121; the stop 5 % below, 114.95, is above the market of
        # 110: sold at 110 less 10 %
        frame = frame_of([QUIET, (100, 112, 99, 111), 111])
        got = entered(frame, stop=110.0, slippage_bps=1000, risk=RiskRules(stop_loss_pct=5))
        assert ends(got) == [("stop_loss", pytest.approx(121.0), pytest.approx(99.0))]
        assert got.trades[0].ambiguous is False

    def test_likewise_for_a_short(self, frame_of):
        frame = frame_of([QUIET, (100, 121, 99, 110), 110])
        got = entered(frame, short=True, limit=120.0, levels={"take_profit": 130.0})
        assert ends(got) == [("take_profit", 120.0, 120.0)]


@pytest.mark.parametrize(
    ("low", "high", "reason"),
    [
        (95.0 * (1 + 4e-13), 101.0, "stop_loss"),
        (99.0, 110.0 * (1 - 4e-13), "take_profit"),
        (95.0 * (1 + 4e-12), 110.0 * (1 - 4e-12), "end_of_data"),
    ],
)
def test_what_lies_within_rounding_of_a_level_touches_it_long_after_the_entry(
    frame_of, low, high, reason
):
    frame = frame_of([100, 100, 100, 100, (100, high, low, 100), 100])
    rules = RiskRules(stop_loss_pct=5, take_profit_pct=10)
    assert alone(frame, [1, 0, 0, 0, 0, 0], risk=rules).trades[0].exit_reason == reason
