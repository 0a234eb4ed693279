"""How much an entry takes, computed by hand. The capital is 1000, the first fill at 100."""

from __future__ import annotations

import numpy as np
import pytest

from candlevault.backtest.data.inputs import Inputs
from candlevault.backtest.engine.simulation import simulate
from candlevault.backtest.risk import RiskRules, Settings, Sizing
from candlevault.backtest.signals import Signals
from tests.support.trading import alone, refused, wished

FLAT = [100, 100, 100]


def size(
    frame, *, method, value, weight=None, short=False, slippage_bps=0.0, fee_rate=0.0, **rules
):
    """The quantity of one entry; the reason where it was refused."""
    count = len(frame.bars().close)
    values = {} if weight is None else {"weight": {0: weight}}
    signals = (
        wished(count, enter_short=0, **values) if short else wished(count, enter_long=0, **values)
    )
    got = alone(frame, signals, direction="both", slippage_bps=slippage_bps, fee_rate=fee_rate,
                risk=RiskRules(Sizing(method, value), **rules))  # fmt: skip
    return got.trades[0].quantity if got.trades else refused(got)


def test_a_fixed_quantity_is_taken_as_long_as_it_can_be_paid(frame_of):
    assert size(frame_of(FLAT), method="fixed_quantity", value=3.0) == 3.0
    assert size(frame_of(FLAT), method="fixed_quantity", value=50.0) == 10.0
    # with fee 1/4 only 8 can
    assert size(frame_of(FLAT), method="fixed_quantity", value=50.0, fee_rate=0.25) == 8.0


@pytest.mark.parametrize(
    ("method", "value", "whole"),
    [("equity_fraction", 0.5, 5.0), ("fixed_amount", 400.0, 4.0), ("fixed_quantity", 3.0, 3.0)],
)
def test_a_weight_scales_the_size(frame_of, method, value, whole):
    assert size(frame_of(FLAT), method=method, value=value) == whole
    assert size(frame_of(FLAT), method=method, value=value, weight=0.5) == whole / 2
    assert size(frame_of(FLAT), method=method, value=value, weight=float("nan")) == whole


def test_a_weight_scales_the_wish_not_the_room(frame_of):
    # a quarter of 50 is more than the 10 that can be paid
    assert size(frame_of(FLAT), method="fixed_quantity", value=50.0, weight=0.25) == 10.0


class TestFixedRisk:
    def test_loses_exactly_its_part_of_the_equity_at_the_stop(self, frame_of):
        # 2 % of 1000 is 20; the stop lies 5 below: 4 units, 980 after the stop
        frame = frame_of([100, 100, (100, 100, 90, 92), 92])
        rules = RiskRules(Sizing("fixed_risk", 0.02), stop_loss_pct=5)
        got = alone(frame, [1, 0, 0, 0], risk=rules)
        assert got.trades[0].quantity == 4.0
        assert got.equity[-1] == 980.0

    def test_of_a_short_too(self, frame_of):
        frame = frame_of([100, 100, (100, 110, 100, 108), 108])
        rules = RiskRules(Sizing("fixed_risk", 0.02), stop_loss_pct=5)
        got = alone(frame, wished(4, enter_short=0), direction="short", risk=rules)
        assert (got.trades[0].quantity, got.equity[-1]) == (4.0, 980.0)

    def test_the_nearer_of_stop_loss_and_trailing_stop_counts(self, frame_of):
        frame = frame_of(FLAT)
        both = dict(method="fixed_risk", value=0.02, stop_loss_pct=5)
        assert size(frame, **both, trailing_stop_pct=4) == 5.0
        assert size(frame, **both, trailing_stop_pct=10) == 4.0
        assert size(frame, method="fixed_risk", value=0.02, trailing_stop_pct=4) == 5.0

    def test_a_named_stop_counts_from_the_price_paid(self, frame_of):
        # bought at 101 with 100 bps: 5 to the stop at 96
        signals = wished(3, enter_long=0, stop_loss={0: 96.0})
        rules = RiskRules(Sizing("fixed_risk", 0.02))
        got = alone(frame_of(FLAT), signals, slippage_bps=100, risk=rules)
        assert got.trades[0].quantity == 4.0

    def test_never_more_than_can_be_paid(self, frame_of):
        assert size(frame_of(FLAT), method="fixed_risk", value=0.1, stop_loss_pct=5) == 10.0

    def test_without_a_stop_the_entry_is_dropped(self, frame_of):
        assert size(frame_of(FLAT), method="fixed_risk", value=0.1) == {"no_stop_distance": 1}
        assert size(frame_of(FLAT), method="fixed_risk", value=0.1, take_profit_pct=5) == {
            "no_stop_distance": 1}  # fmt: skip

    def test_a_weight_scales_the_risk(self, frame_of):
        found = size(frame_of(FLAT), method="fixed_risk", value=0.02, stop_loss_pct=5, weight=0.5)
        assert found == 2.0


class TestVolatilityTarget:
    # true ranges 4 (row 1) and 6 (row 2): an average of 5 over two bars
    ROWS = (100, (100, 104, 100, 102), (102, 106, 100, 104))

    def rules(self, value=0.02):
        return RiskRules(Sizing("volatility_target", value, atr_period=2))

    def test_takes_what_moves_its_part_with_the_range_known_at_the_signal(self, frame_of):
        # 2 % of 1000 over 5: 4 units, however wild the bar of the fill is
        frame = frame_of([*self.ROWS, (100, 180, 20, 100), 100])
        got = alone(frame, [0, 0, 1, 0, 0], risk=self.rules())
        assert got.trades[0].quantity == 4.0

    def test_also_when_the_order_waits(self, frame_of):
        frame = frame_of([*self.ROWS, (104, 180, 101, 104), (104, 105, 79, 100), 100])
        signals = wished(6, enter_long=2, limit={2: 80.0})
        got = alone(frame, signals, risk=self.rules())
        assert (got.trades[0].entry_price, got.trades[0].quantity) == (80.0, 4.0)

    def test_without_a_range_yet_the_entry_is_dropped(self, frame_of):
        got = alone(frame_of([*self.ROWS, 100]), [1, 0, 0, 0], risk=self.rules())
        assert (got.trades, refused(got)) == ((), {"no_volatility": 1})

    def test_nor_where_prices_stood_still(self, frame_of):
        got = alone(frame_of([100, 100, 100, 100]), [0, 0, 1, 0], risk=self.rules())
        assert (got.trades, refused(got)) == ((), {"no_volatility": 1})

    def test_knows_the_bars_before_the_window(self, frame_of):
        window = frame_of([(104, 180, 20, 100), 100, 100])
        inputs = Inputs.of([window], before=[frame_of(self.ROWS)])
        signals = Signals(enter_long=np.array([True, False, False]))
        settings = Settings(initial_capital=1000.0, fee_rate=0.0, risk=self.rules())
        got = simulate(inputs.stage, [signals], settings)
        # an average of 5 before, a true range of 160 now: (5 + 160) / 2, of which 2 % of 1000
        assert got.trades[0].quantity == pytest.approx(20.0 / 82.5, rel=1e-12)

    def test_never_more_than_can_be_paid(self, frame_of):
        got = alone(frame_of([*self.ROWS, 100, 100]), [0, 0, 1, 0, 0], risk=self.rules(0.5))
        assert got.trades[0].quantity == 10.0


class TestKelly:
    # bought at 100 and sold at 110, then bought at 100 and sold at 95, then bought at 100
    ROWS = (100, 100, 110, 100, 95, 100, 100)
    WISHES = (1, -1, 1, -1, 1, 0, 0)

    def quantities(self, frame, value=1.0, cap=1.0, min_trades=2, initial=0.1):
        sizing = Sizing("kelly", value, cap=cap, min_trades=min_trades, initial_fraction=initial)
        got = alone(frame, list(self.WISHES), risk=RiskRules(sizing))
        return [trade.quantity for trade in got.trades], refused(got)

    def test_starts_with_a_fraction_until_enough_trades_closed(self, frame_of):
        # 10 % of 1000: 1 unit to 1010; 1.01 units to 1004.95; and again 10 % of that
        found, _ = self.quantities(frame_of(self.ROWS), min_trades=3)
        assert found == pytest.approx([1.0, 1.01, 1.00495], rel=1e-14)

    def test_then_takes_the_share_of_the_formula(self, frame_of):
        # one of two won 10 %, one lost 5 %: 1/2 - 1/2 / 2 = 1/4 of 1004.95
        found, _ = self.quantities(frame_of(self.ROWS))
        assert found[2] == pytest.approx(2.512375, rel=1e-14)

    def test_half_kelly_takes_half_of_it(self, frame_of):
        found, _ = self.quantities(frame_of(self.ROWS), value=0.5)
        assert found[2] == pytest.approx(1.2561875, rel=1e-14)

    def test_no_more_than_its_cap(self, frame_of):
        found, _ = self.quantities(frame_of(self.ROWS), cap=0.2)
        assert found[2] == pytest.approx(2.0099, rel=1e-14)

    def test_nothing_where_the_odds_are_against_it(self, frame_of):
        # won 5 %, lost 10 %: 1/2 - 1/2 * 2 is below zero
        found, dropped = self.quantities(frame_of((100, 100, 105, 100, 90, 100, 100)))
        assert (len(found), dropped) == (2, {"no_buying_power": 1})

    def test_nothing_after_losses_only_and_the_cap_after_gains_only(self, frame_of):
        found, dropped = self.quantities(frame_of((100, 100, 95, 100, 90, 100, 100)))
        assert (len(found), dropped) == (2, {"no_buying_power": 1})
        found, _ = self.quantities(frame_of((100, 100, 110, 100, 110, 100, 100)), cap=0.5)
        # 1000 -> 1010 -> 1020.1; half of that
        assert found[2] == pytest.approx(5.1005, rel=1e-14)

    def test_odds_of_exactly_nothing_buy_nothing(self, frame_of):
        # two won 5 % and one lost 10 %: 2/3 - 1/3 * 2 = 0, which rounding may miss by a hair
        rows = (100, 100, 105, 100, 105, 100, 90, 100, 100)
        sizing = Sizing("kelly", 1.0, cap=1.0, min_trades=3, initial_fraction=0.25)
        got = alone(frame_of(rows), [1, -1, 1, -1, 1, -1, 1, 0, 0], risk=RiskRules(sizing))
        assert (len(got.trades), refused(got)) == (3, {"no_buying_power": 1})

    def test_a_trade_that_came_out_even_counts_for_nothing(self, frame_of):
        # even, won 10 %, lost 5 %: a quarter as above, of 25 % of 1000 twice traded
        rows = (100, 100, 100, 100, 110, 100, 95, 100, 100)
        sizing = Sizing("kelly", 1.0, cap=1.0, min_trades=2, initial_fraction=0.1)
        got = alone(frame_of(rows), [1, -1, 1, -1, 1, -1, 1, 0, 0], risk=RiskRules(sizing))
        assert got.trades[3].quantity == pytest.approx(2.512375, rel=1e-14)


class TestMaxExposure:
    def test_below_one_keeps_a_part_out_of_the_market(self, frame_of):
        assert size(frame_of(FLAT), method="equity_fraction", value=1.0, max_exposure=0.5) == 5.0

    def test_above_one_borrows(self, frame_of):
        # 25 at 100 for 2500: 1500 owed; at 120 worth 3000
        frame = frame_of([100, 100, 120, 120])
        rules = RiskRules(Sizing("fixed_amount", 2500.0), max_exposure=3.0)
        got = alone(frame, [1, 0, 0, 0], risk=rules)
        assert got.cash.tolist() == [1000.0, -1500.0, -1500.0, 1500.0]
        assert got.equity.tolist() == [1000.0, 1000.0, 1500.0, 1500.0]

    def test_is_the_most_that_any_sizing_takes(self, frame_of):
        frame = frame_of(FLAT)
        assert size(frame, method="fixed_amount", value=9999.0, max_exposure=3.0) == 30.0
        assert size(frame, method="fixed_quantity", value=99.0, max_exposure=3.0) == 30.0
        assert (
            size(frame, method="fixed_amount", value=9999.0, max_exposure=3.0, short=True) == 30.0
        )
        assert size(frame, method="fixed_amount", value=9999.0, max_exposure=3.0,
                    fee_rate=0.25) == 24.0  # fmt: skip

    def test_counts_what_is_held_at_its_value_now(self, frame_of):
        # 5 at 100 for half of the equity; at 200 they are worth 1000 of 1500: no room
        rules = RiskRules(max_exposure=0.5, max_entries=2)
        got = alone(frame_of([100, 100, 200, 200]), [1, 1, 0, 0], risk=rules)
        assert (len(got.trades), refused(got)) == (1, {"no_buying_power": 1})
        # at 50 they are worth 250 of 750: room for 125
        got = alone(frame_of([100, 100, 50, 50]), [1, 1, 0, 0], risk=rules)
        assert [trade.quantity for trade in got.trades] == [5.0, 2.5]

    def test_shorts_count_by_what_they_are_worth(self, frame_of):
        # 10 short at 100; at 80 they are worth 800 of 1200: room for 400
        rules = RiskRules(max_entries=2)
        got = alone(frame_of([100, 100, 80, 80]), wished(4, enter_short=[0, 1]),
                    direction="short", risk=rules)  # fmt: skip
        assert [trade.quantity for trade in got.trades] == [10.0, 5.0]
