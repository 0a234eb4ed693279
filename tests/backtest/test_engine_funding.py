"""Funding of perpetual futures, computed by hand: 10 units at 100 unless said otherwise."""

from __future__ import annotations

import math

import pytest

from candlevault.backtest.risk import RiskRules, Sizing
from tests.support.trading import alone, together, wished


def test_a_long_pays_a_positive_rate_on_its_value_at_the_open(frame_of):
    # 10 * 110 * 1 % = 11
    got = alone(frame_of([100, 100, (110, 111, 104, 105), 105]), [1, 0, 0, 0],
                funding=[[0, 0, 0.01, 0]])  # fmt: skip
    (trade,) = got.trades
    assert (trade.funding, trade.pnl) == (11.0, 39.0)
    assert trade.return_pct == pytest.approx(3.9)
    assert got.cash.tolist() == [1000.0, 0.0, -11.0, 1039.0]
    assert got.equity.tolist() == [1000.0, 1000.0, 1039.0, 1039.0]


def test_a_short_receives_it(frame_of):
    got = alone(frame_of([100, 100, 100, 100]), wished(4, enter_short=0), direction="short",
                funding=[[0, 0, 0.01, 0]])  # fmt: skip
    assert (got.trades[0].funding, got.trades[0].pnl) == (-10.0, 10.0)
    assert got.equity.tolist() == [1000.0, 1000.0, 1010.0, 1010.0]


def test_a_negative_rate_goes_the_other_way(frame_of):
    frame, rates = frame_of([100, 100, 100, 100]), [[0, 0, -0.01, 0]]
    assert alone(frame, [1, 0, 0, 0], funding=rates).trades[0].funding == -10.0
    short = alone(frame, wished(4, enter_short=0), direction="short", funding=rates)
    assert short.trades[0].funding == 10.0


def test_what_is_bought_at_an_open_pays_nothing_there(frame_of):
    got = alone(frame_of([100, 100, 100, 100]), [1, 0, 0, 0], funding=[[0.5, 0.5, 0, 0]])
    assert got.trades[0].funding == 0.0


def test_what_leaves_at_an_open_still_pays_there(frame_of):
    # by signal, and by a gap through the stop at 80
    got = alone(frame_of([100, 100, 120, 120]), [1, -1, 0, 0], funding=[[0, 0, 0.01, 0.5]])
    assert got.trades[0].funding == 12.0
    got = alone(frame_of([100, 100, 80, 80]), [1, 0, 0, 0], funding=[[0, 0, 0.01, 0.5]],
                risk=RiskRules(stop_loss_pct=5))  # fmt: skip
    assert got.trades[0].funding == 8.0


@pytest.mark.parametrize("absent", ["mark", "carry"])
def test_nothing_is_paid_while_the_venue_is_closed(frame_of, absent):
    got = alone(frame_of([100, 100, None, 100, 100], absent=absent),
                wished(4 if absent == "mark" else 5, enter_long=0),
                funding=[[0, 0, 0.5, 0.01, 0]])  # fmt: skip
    assert got.trades[0].funding == 10.0


def test_nor_while_nothing_is_held(frame_of):
    got = alone(frame_of([100, 100, 100, 100]), [0, 0, 0, 0], funding=[[0.5] * 4])
    assert got.equity.tolist() == [1000.0] * 4


def test_every_lot_pays_for_itself_from_the_open_after_its_own(frame_of):
    # 2 from row 1 on and 4 from row 2 on: row 2 pays 2 * 50 %, row 3 2 + 4 times 50 %
    rules = RiskRules(Sizing("fixed_amount", 200.0), max_entries=2)
    got = alone(frame_of([100, 100, 50, 50, 50]), [1, 1, 0, 0, 0], risk=rules,
                funding=[[0, 0, 0.01, 0.01, 0]])  # fmt: skip
    assert [trade.funding for trade in got.trades] == [2.0, 2.0]


def test_the_rate_is_that_of_the_symbol(frame_of):
    frames = [frame_of([100, 100, 100, 100])] * 2
    signals = [wished(4, enter_long=0), wished(4, enter_short=0)]
    rules = RiskRules(Sizing("equity_fraction", 0.5))
    got = together(frames, signals, initial_capital=1000.0, direction="both", risk=rules,
                   funding=[[0, 0, 0.01, 0], [0, 0, 0, 0.02]])  # fmt: skip
    assert [trade.funding for trade in got.trades] == [5.0, -10.0]
    assert got.equity.tolist() == [1000.0, 1000.0, 995.0, 1005.0]


def test_funding_is_paid_before_entries_are_sized(frame_of):
    # the first symbol pays 5 at the open at which the second takes half of 995
    frames = [frame_of([100, 100, 100, 100])] * 2
    signals = [wished(4, enter_long=1), wished(4, enter_long=0)]
    rules = RiskRules(Sizing("equity_fraction", 0.5))
    got = together(frames, signals, initial_capital=1000.0, risk=rules,
                   funding=[[0] * 4, [0, 0, 0.01, 0]])  # fmt: skip
    assert [(t.symbol, t.quantity) for t in got.trades] == [(0, 4.95), (1, 5.0)]


def test_it_is_a_part_of_the_pnl_and_adds_up(frame_of):
    rates = [[0.001, -0.002, 0.003, 0.004, -0.005, 0.006]]
    got = alone(frame_of([100, 103, 99, 97, 108, 111]), [1, 0, 0, -1, 1, 0], fee_rate=0.001,
                funding=rates)  # fmt: skip
    total = math.fsum(trade.pnl for trade in got.trades)
    assert got.equity[-1] == pytest.approx(1000.0 + total, rel=1e-13)
    for trade in got.trades:
        gross = (trade.exit_price - trade.entry_price) * trade.quantity
        assert trade.pnl == pytest.approx(gross - trade.fees - trade.funding, abs=1e-12)
