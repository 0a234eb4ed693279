"""Several symbols that share one capital of 1000, computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from candlevault.backtest.engine.simulation import simulate, stage
from candlevault.backtest.risk import RiskRules, Settings, Sizing
from candlevault.errors import InvalidRequest
from tests.support.trading import refused, rows_of, together, wished

HALF = RiskRules(Sizing("equity_fraction", 0.5))


def run(frames, wishes, **options):
    """`wishes` names rows by symbol."""
    signals = [
        wished(len(frame.bars().close), **by_row)
        for frame, by_row in zip(frames, wishes, strict=True)
    ]
    return together(frames, signals, **({"initial_capital": 1000.0} | options))


def taken(simulation):
    return [(trade.symbol, trade.quantity) for trade in simulation.trades]


def test_symbols_share_the_capital_and_the_equity_is_of_all(frame_of):
    # half of 1000 each: 5 at 100 and 10 at 50; 110 and 60 at the end
    frames = [frame_of([100, 100, 110]), frame_of([50, 50, 60])]
    got = run(frames, [dict(enter_long=0)] * 2, risk=HALF)
    assert taken(got) == [(0, 5.0), (1, 10.0)]
    assert got.equity.tolist() == [1000.0, 1000.0, 1150.0]
    assert got.cash.tolist() == [1000.0, 0.0, 1150.0]
    assert got.quantity.tolist() == [[0.0, 5.0, 0.0], [0.0, 10.0, 0.0]]


def test_at_one_open_the_first_of_the_request_is_served_first(frame_of):
    frames = [frame_of([100, 100, 110]), frame_of([50, 50, 60])]
    got = run(frames, [dict(enter_long=0)] * 2)
    assert (taken(got), refused(got)) == ([(0, 10.0)], {"no_buying_power": 1})
    got = run(frames[::-1], [dict(enter_long=0)] * 2)
    assert (taken(got), refused(got)) == ([(0, 20.0)], {"no_buying_power": 1})


@pytest.mark.parametrize("leaver", [0, 1])
def test_what_an_exit_gives_back_can_be_spent_at_the_same_open(frame_of, leaver):
    frames = [frame_of([100, 100, 120, 120, 120])] * 2
    wishes = [dict(enter_long=1), dict(enter_long=1)]
    wishes[leaver] = dict(enter_long=0, exit_long=1)
    got = run(frames, wishes)
    assert taken(got) == [(leaver, 10.0), (1 - leaver, 10.0)]
    assert rows_of(got) == [(1, 2), (2, 4)]


@pytest.mark.parametrize("leaver", [0, 1])
def test_so_can_what_a_gap_through_a_stop_gives_back(frame_of, leaver):
    # 10 at 100 sold at the open of 80: 800 buy 8 at 100
    falls, flat = frame_of([100, 100, 80, 80]), frame_of([100, 100, 100, 100])
    frames, wishes = [flat, flat], [dict(enter_long=1, stop_loss={1: 1.0})] * 2
    frames[leaver] = falls
    wishes[leaver] = dict(enter_long=0, stop_loss={0: 95.0})
    assert taken(run(frames, wishes)) == [(leaver, 10.0), (1 - leaver, 8.0)]


def test_an_entry_sees_every_symbol_at_its_open(frame_of):
    # 5 at 100 open at 150: the equity is 1250, of which half buys 6.25 at 100
    held = frame_of([100, 100, (150, 151, 89, 90), 90])
    late = frame_of([100, 100, 100, 100])
    rules = RiskRules(Sizing("equity_fraction", 0.5), max_exposure=2.0)
    wishes = [dict(enter_long=0), dict(enter_long=1)]
    assert taken(run([held, late], wishes, risk=rules)) == [(0, 5.0), (1, 6.25)]
    assert taken(run([late, held], wishes[::-1], risk=rules)) == [(0, 6.25), (1, 5.0)]


def test_one_that_is_absent_counts_at_its_last_close(frame_of):
    # 5 at 100 closed at 140 before its venue closed: 1200, of which half buys 6 at 100, where
    # it may be borrowed; else 500 of cash buy 5
    absent = frame_of([100, (100, 141, 99, 140), None, 90])
    late = frame_of([100, 100, 100, 100])
    got = run([absent, late], [dict(enter_long=0), dict(enter_long=1)], risk=HALF)
    assert taken(got) == [(0, 5.0), (1, 5.0)]
    rules = RiskRules(Sizing("equity_fraction", 0.5), max_exposure=2.0)
    got = run([absent, late], [dict(enter_long=0), dict(enter_long=1)], risk=rules)
    assert taken(got) == [(0, 5.0), (1, 6.0)]
    assert got.equity.tolist() == [1000.0, 1200.0, 1200.0, 950.0]


@pytest.mark.parametrize("absent", ["mark", "carry"])
def test_orders_of_an_absent_symbol_wait_while_others_trade(frame_of, absent):
    frames = [frame_of([100, None, 100, 100], absent=absent), frame_of([50, 50, 50, 50])]
    got = run(frames, [dict(enter_long=0)] * 2, risk=HALF)
    assert [(trade.symbol, row) for trade, row in zip(got.trades, rows_of(got), strict=True)] == [
        (0, (2, 3)), (1, (1, 3))]  # fmt: skip


def test_a_symbol_that_ends_earlier_is_closed_there_and_frees_its_capital(frame_of):
    # the first ends in row 2 at 120: 1200 buy 12 of the second in row 3
    frames = [frame_of([100, 100, 120, None, None]), frame_of([100, 100, 100, 100, 110])]
    got = run(frames, [dict(enter_long=0), dict(enter_long=2)])
    assert [(t.symbol, t.exit_reason, t.quantity) for t in got.trades] == [
        (0, "end_of_data", 10.0), (1, "end_of_data", 12.0)]  # fmt: skip
    assert rows_of(got) == [(1, 2), (3, 4)]
    assert got.equity.tolist() == [1000.0, 1000.0, 1200.0, 1200.0, 1320.0]


def test_wishes_after_the_last_candle_of_a_symbol_are_of_no_account(frame_of):
    frames = [frame_of([100, 100, None, None], absent="carry"), frame_of([50, 50, 50, 50])]
    rules = RiskRules(Sizing("equity_fraction", 0.5), max_drawdown_pct=1)
    got = run(frames, [dict(enter_long=[1, 2]), dict(enter_long=0)], risk=rules)
    assert (taken(got), refused(got)) == ([(1, 10.0)], {})


class TestOpenPositions:
    def test_more_than_allowed_are_refused(self, frame_of):
        frames = [frame_of([100, 100, 100])] * 3
        rules = RiskRules(Sizing("equity_fraction", 0.25), max_open_positions=2)
        got = run(frames, [dict(enter_long=0)] * 3, risk=rules)
        assert (taken(got), refused(got)) == ([(0, 2.5), (1, 2.5)], {"max_open_positions": 1})

    def test_lots_of_one_symbol_are_one_position(self, frame_of):
        frames = [frame_of([100, 100, 100, 100])] * 2
        rules = RiskRules(Sizing("fixed_quantity", 2.0), max_open_positions=1, max_entries=3)
        got = run(frames, [dict(enter_long=[0, 1]), dict(enter_long=1)], risk=rules)
        assert (taken(got), refused(got)) == ([(0, 2.0), (0, 2.0)], {"max_open_positions": 1})

    @pytest.mark.parametrize("leaver", [0, 1])
    def test_a_place_freed_at_an_open_can_be_taken_there(self, frame_of, leaver):
        frames = [frame_of([100, 100, 100, 100])] * 2
        wishes = [dict(enter_long=1), dict(enter_long=1)]
        wishes[leaver] = dict(enter_long=0, exit_long=1)
        got = run(frames, wishes, risk=RiskRules(max_open_positions=1))
        assert (taken(got), refused(got)) == ([(leaver, 10.0), (1 - leaver, 10.0)], {})

    @pytest.mark.parametrize("leaver", [0, 1])
    def test_one_freed_inside_a_bar_cannot_be_taken_inside_it(self, frame_of, leaver):
        # which came first, the stop or the limit, is not known; the order of the request must
        # not decide it
        falls = frame_of([100, 100, (100, 101, 89, 95), 95])
        frames, wishes = [falls] * 2, [dict(enter_long=0, limit={0: 90.0})] * 2
        wishes[leaver] = dict(enter_long=0, stop_loss={0: 95.0})
        got = run(frames, wishes, risk=RiskRules(max_open_positions=1))
        assert (taken(got), refused(got)) == ([(leaver, 10.0)], {"max_open_positions": 1})

    def test_turning_around_keeps_the_place(self, frame_of):
        frames = [frame_of([100, 100, 100, 100])] * 2
        wishes = [dict(enter_long=0, enter_short=1), dict(enter_long=1)]
        got = run(frames, wishes, direction="both", risk=RiskRules(max_open_positions=1))
        assert (taken(got), refused(got)) == ([(0, 10.0), (0, 10.0)], {"max_open_positions": 1})


def test_exposure_is_gross_over_both_sides(frame_of):
    # 600 long leave 400 to be sold short: 8 at 50
    frames = [frame_of([100, 100, 100]), frame_of([50, 50, 50])]
    rules = RiskRules(Sizing("fixed_amount", 600.0))
    got = run(frames, [dict(enter_long=0), dict(enter_short=0)], direction="both", risk=rules)
    assert [(t.side, t.quantity) for t in got.trades] == [("long", 6.0), ("short", 8.0)]


def test_trades_stand_in_the_order_in_which_they_were_closed(frame_of):
    # at the open of row 2 first the exits of 0 and 1, inside it the stop of 2
    frames = [frame_of([100, 100, 100, 100])] * 2 + [frame_of([100, 100, (100, 100, 90, 95), 95])]
    third = RiskRules(Sizing("equity_fraction", 0.3))
    wishes = [dict(enter_long=0, exit_long=1), dict(enter_long=0, exit_long=1),
              dict(enter_long=0, stop_loss={0: 95.0})]  # fmt: skip
    got = run(frames, wishes, risk=third)
    assert [trade.symbol for trade in got.trades] == [0, 1, 2]
    got = run(frames[::-1], wishes[::-1], risk=third)
    assert [trade.symbol for trade in got.trades] == [1, 2, 0]


class TestWhatIsRefused:
    def test_frames_of_different_windows(self, frame_of):
        with pytest.raises(InvalidRequest) as caught:
            stage([frame_of([100, 100]), frame_of([100, 100, 100])])
        assert caught.value.field == "frames[1]"

    def test_signals_for_another_number_of_symbols(self, frame_of):
        laid_out = stage([frame_of([100, 100])] * 2)
        with pytest.raises(InvalidRequest) as caught:
            simulate(laid_out, [wished(2)], Settings())
        assert caught.value.field == "signals"

    @pytest.mark.parametrize("rates", [[[0.0]], [[0.0, np.nan]], [[0.0, 0.0], [0.0]], []])
    def test_funding_that_is_not_one_finite_rate_a_row(self, frame_of, rates):
        with pytest.raises(InvalidRequest) as caught:
            stage([frame_of([100, 100])], [np.array(row) for row in rates])
        assert caught.value.field == "funding"

    def test_a_mode_that_is_none(self, frame_of):
        with pytest.raises(InvalidRequest) as caught:
            simulate(stage([frame_of([100, 100])]), [wished(2)], Settings(), mode=3)
        assert caught.value.field == "intrabar"
