"""Orders, fees, slippage, sizing and the end of the data, computed by hand."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from candlevault.backtest.engine.simulation import simulate, stage
from candlevault.backtest.risk import RiskRules, Settings, Sizing
from candlevault.backtest.signals import Signals
from candlevault.errors import InvalidRequest
from tests.support.trading import traded

HOUR = 3_600_000
START = 1_704_067_200_000


def bar(open_, close):
    return (open_, max(open_, close) + 1, min(open_, close) - 1, close)


RISE = [bar(90, 95), bar(100, 110), bar(115, 120), bar(150, 140), bar(130, 135)]


def simulated(frame, signals, capital=1000.0, **options):
    return traded(frame, np.array(signals, dtype=np.int8), initial_capital=capital, **options)


def test_a_signal_fills_at_the_next_open_and_is_marked_at_each_close(frame_of):
    # enter at 100: 1000 / 100 = 10 units; leave at 150: 1500
    got = simulated(frame_of(RISE), [1, 0, -1, 0, 0])
    (trade,) = got.trades
    assert (trade.side, trade.exit_reason, trade.ambiguous) == ("long", "signal", False)
    assert (trade.signal_time, trade.entry_time, trade.exit_time) == (
        START, START + HOUR, START + 3 * HOUR)
    assert (trade.entry_price, trade.exit_price, trade.quantity) == (100.0, 150.0, 10.0)
    assert (trade.pnl, trade.return_pct, trade.bars_held) == (500.0, 50.0, 2)
    assert got.equity.tolist() == [1000.0, 1100.0, 1200.0, 1500.0, 1500.0]
    assert got.cash.tolist() == [1000.0, 0.0, 0.0, 1500.0, 1500.0]
    assert got.quantity[0].tolist() == [0.0, 10.0, 10.0, 0.0, 0.0]


def test_no_signal_no_trade(frame_of):
    got = simulated(frame_of(RISE), [0] * 5)
    assert got.trades == ()
    assert got.equity.tolist() == [1000.0] * 5


def test_the_whole_equity_pays_for_the_entry_fee_too(frame_of):
    # fee 1/4: 1000 buys 8 at 100 (800 + 200 fee); 8 * 150 = 1200, fee 300, cash 900
    got = simulated(frame_of(RISE), [1, 0, -1, 0, 0], fee_rate=0.25)
    (trade,) = got.trades
    assert (trade.quantity, trade.entry_fee, trade.exit_fee, trade.fees) == (8, 200, 300, 500)
    assert (trade.pnl, trade.return_pct) == (-100.0, -10.0)
    assert got.equity.tolist() == [1000.0, 880.0, 960.0, 900.0, 900.0]


def test_slippage_makes_both_market_fills_worse(frame_of):
    # 2500 bps: buys at 125 -> 8 units; sells at 150 * 3/4 = 112.5 -> 900
    got = simulated(frame_of(RISE), [1, 0, -1, 0, 0], slippage_bps=2500)
    (trade,) = got.trades
    assert (trade.entry_price, trade.exit_price, trade.quantity) == (125.0, 112.5, 8.0)
    assert got.equity.tolist() == [1000.0, 880.0, 960.0, 900.0, 900.0]


def test_realistic_costs_against_exact_fractions(frame_of):
    fee, slip = Fraction(1, 1000), Fraction(5, 10_000)
    buy, sell = 100 * (1 + slip), 150 * (1 - slip)
    quantity = 10_000 / (buy * (1 + fee))
    final = quantity * sell * (1 - fee)
    got = simulated(frame_of(RISE), [1, 0, -1, 0, 0], 10_000.0, fee_rate=0.001, slippage_bps=5.0)
    assert got.trades[0].quantity == pytest.approx(float(quantity), rel=1e-14)
    assert got.equity[-1] == pytest.approx(float(final), rel=1e-14)


def test_equity_fraction_spends_a_part_and_keeps_the_rest(frame_of):
    # half of 1000 buys 5 at 100; 500 stay; 5 * 150 + 500 = 1250
    rules = RiskRules(sizing=Sizing("equity_fraction", 0.5))
    got = simulated(frame_of(RISE), [1, 0, -1, 0, 0], risk=rules)
    assert got.trades[0].quantity == 5.0
    assert got.cash.tolist() == [1000.0, 500.0, 500.0, 1250.0, 1250.0]
    assert got.trades[0].return_pct == 50.0


def test_the_next_trade_is_sized_by_the_equity_left(frame_of):
    rows = [100, 100, 200, 200, 100]
    got = simulated(frame_of(rows), [1, -1, 1, 0, 0])
    # 10 units to 2000, then 10 units at 200 to 1000 at the end
    assert [trade.quantity for trade in got.trades] == [10.0, 10.0]
    assert got.equity[-1] == 1000.0


def test_fixed_amount_spends_the_amount_fee_included(frame_of):
    # 500 with fee 1/4 buys 4 at 100; 4 * 150 = 600, fee 150: cash 500 + 450
    rules = RiskRules(sizing=Sizing("fixed_amount", 500.0))
    got = simulated(frame_of(RISE), [1, 0, -1, 0, 0], fee_rate=0.25, risk=rules)
    assert got.trades[0].quantity == 4.0
    assert got.cash.tolist() == [1000.0, 500.0, 500.0, 950.0, 950.0]


def test_fixed_amount_beyond_the_cash_spends_the_cash(frame_of):
    rules = RiskRules(sizing=Sizing("fixed_amount", 5000.0))
    got = simulated(frame_of(RISE), [1, 0, -1, 0, 0], risk=rules)
    assert got.trades[0].quantity == 10.0
    assert got.cash[1] == 0.0


def test_an_open_position_is_closed_at_the_last_close_with_costs(frame_of):
    # 10 units at 100; last close 135
    got = simulated(frame_of(RISE), [1, 0, 0, 0, 0])
    (trade,) = got.trades
    assert (trade.exit_reason, trade.exit_price) == ("end_of_data", 135.0)
    assert (trade.exit_time, trade.bars_held) == (START + 4 * HOUR, 4)
    assert got.equity[-1] == got.cash[-1] == 1350.0
    assert got.quantity[0][-1] == 0.0
    # with fee 1/4 and slippage 20 %: 1000 / (120 * 1.25) units sold at 135 * 0.8 less 1/4
    got = simulated(frame_of(RISE), [1, 0, 0, 0, 0], fee_rate=0.25, slippage_bps=2000)
    assert got.equity[-1] == pytest.approx(1000 / 150 * 108 * 0.75, rel=1e-14)


def test_an_exit_order_on_the_last_bar_fills_at_its_open(frame_of):
    got = simulated(frame_of(RISE), [1, 0, 0, -1, 0])
    assert (got.trades[0].exit_reason, got.trades[0].exit_price) == ("signal", 130.0)


def test_a_signal_on_the_last_bar_never_fills(frame_of):
    got = simulated(frame_of(RISE), [0, 0, 0, 0, 1])
    assert got.trades == ()
    got = simulated(frame_of(RISE), [1, 0, 0, 0, -1])
    assert got.trades[0].exit_reason == "end_of_data"


def test_an_entry_on_the_last_bar_is_closed_in_it(frame_of):
    got = simulated(frame_of(RISE), [0, 0, 0, 1, 0])
    (trade,) = got.trades
    assert (trade.entry_price, trade.exit_price, trade.bars_held) == (130.0, 135.0, 1)


def test_a_single_bar_trades_nothing(frame_of):
    assert simulated(frame_of([100]), [1]).trades == ()


def test_repeated_entry_signals_do_not_add_and_exits_while_flat_do_nothing(frame_of):
    got = simulated(frame_of(RISE), [1, 1, 1, -1, -1])
    assert len(got.trades) == 1
    assert got.trades[0].signal_time == START
    assert simulated(frame_of(RISE), [-1, -1, 0, 0, 0]).trades == ()


def test_an_exit_signal_after_the_entry_signal_holds_one_bar(frame_of):
    # entered at 100 on bar 1, whose close wishes out; left at 115 on bar 2
    got = simulated(frame_of(RISE), [1, -1, 0, 0, 0])
    assert (got.trades[0].exit_price, got.trades[0].bars_held) == (115.0, 1)


def test_an_exit_signal_and_the_next_entry_alternate(frame_of):
    got = simulated(frame_of(RISE), [1, -1, 1, -1, 0])
    assert [(t.entry_price, t.exit_price) for t in got.trades] == [(100.0, 115.0), (150.0, 130.0)]


def test_excursions_are_measured_from_the_entry_price(frame_of):
    rows = [100, (100, 130, 90, 110), (110, 120, 80, 115), (105, 200, 10, 100), 100]
    got = simulated(frame_of(rows), [1, 0, -1, 0, 0])
    # bars 1 and 2 are held whole (80 to 130); of bar 3 only the open, 105, was met
    assert (got.trades[0].mae_pct, got.trades[0].mfe_pct) == (-20.0, 30.0)
    held = simulated(frame_of(rows), [1, 0, 0, 0, 0]).trades[0]
    assert (held.mae_pct, held.mfe_pct) == (-90.0, 100.0)


def test_a_trade_that_only_rose_has_no_adverse_excursion(frame_of):
    rows = [100, (100, 130, 100, 120), (125, 125, 125, 125)]
    trade = simulated(frame_of(rows), [1, -1, 0]).trades[0]
    assert (trade.mae_pct, trade.mfe_pct) == (0.0, 30.0)


def test_the_exit_price_counts_as_met(frame_of):
    # of the exit bar neither the low of 60 nor the high of 150 is known to have been met
    frame = frame_of([100, 100, (99, 150, 60, 100)])
    stopped = simulated(frame, [1, 0, 0], risk=RiskRules(stop_loss_pct=5)).trades[0]
    assert (stopped.mae_pct, stopped.mfe_pct) == (-5.0, 0.0)
    gained = simulated(frame, [1, 0, 0], risk=RiskRules(take_profit_pct=25)).trades[0]
    assert (gained.mae_pct, gained.mfe_pct) == (0.0, 25.0)


def test_money_too_small_to_buy_anything_buys_nothing(frame_of):
    got = simulated(frame_of(RISE), [1, 0, -1, 0, 0], capital=5e-324)
    assert got.trades == ()


@pytest.mark.parametrize(
    ("signals", "field"),
    [
        (Signals(enter_long=np.zeros(4, dtype=bool)), "signals.enter_long"),
        (Signals(exit_short=np.zeros((5, 1), dtype=bool)), "signals.exit_short"),
        (Signals(enter_long=np.zeros(5, dtype=np.int8)), "signals.enter_long"),
        (Signals(enter_long=[True] * 5), "signals.enter_long"),
        (Signals(limit=np.zeros(5, dtype=np.float32)), "signals.limit"),
        (Signals(enter_long=np.ones(5, dtype=bool), limit=np.zeros(5)), "signals.limit"),
        (Signals(enter_long=np.ones(5, dtype=bool), stop=np.full(5, np.inf)), "signals.stop"),
        (Signals(enter_long=np.ones(5, dtype=bool), weight=np.full(5, 1.5)), "signals.weight"),
        (Signals(enter_long=np.ones(5, dtype=bool), enter_short=np.ones(5, dtype=bool)),
         "signals.enter_short"),
    ],
)
def test_signals_of_another_shape_type_or_value_are_refused(frame_of, signals, field):
    with pytest.raises(InvalidRequest) as caught:
        traded(frame_of(RISE), signals, initial_capital=1000.0)
    assert caught.value.field == field


def test_something_else_than_signals_is_refused(frame_of):
    with pytest.raises(InvalidRequest, match="must be Signals"):
        simulate(stage([frame_of(RISE)]), [np.zeros(5)], Settings())
