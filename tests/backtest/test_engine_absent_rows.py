"""What happens while the venue is closed: orders wait, nothing trades, equity stands still."""

from __future__ import annotations

import numpy as np
import pytest

from candlevault.backtest.risk import RiskRules
from tests.support.trading import traded

HOUR = 3_600_000
START = 1_704_067_200_000


def simulated(frame, by_row, **options):
    """Signals given by grid row; they must fall on rows that hold prices."""
    priced = np.flatnonzero(frame.present | frame.carried).tolist()
    signals = np.zeros(len(priced), dtype=np.int8)
    for row, wish in by_row.items():
        signals[priced.index(row)] = wish
    return traded(frame, signals, initial_capital=1000.0, **options)


@pytest.mark.parametrize("absent", ["mark", "carry"])
def test_an_order_waits_over_absent_rows_for_the_next_present_open(frame_of, absent):
    frame = frame_of([80, None, None, 100, 110, 120], absent=absent)
    (trade,) = simulated(frame, {0: 1, 3: -1}).trades
    assert (trade.signal_time, trade.entry_time) == (START, START + 3 * HOUR)
    assert (trade.entry_price, trade.exit_price) == (100.0, 110.0)


@pytest.mark.parametrize("absent", ["mark", "carry"])
def test_an_exit_order_waits_likewise_and_the_rows_count_as_held(frame_of, absent):
    frame = frame_of([100, 100, None, None, 130, 140], absent=absent)
    got = simulated(frame, {0: 1, 1: -1})
    (trade,) = got.trades
    assert (trade.exit_price, trade.exit_time) == (130.0, START + 4 * HOUR)
    assert trade.bars_held == 3
    assert got.equity.tolist() == [1000.0, 1000.0, 1000.0, 1000.0, 1300.0, 1300.0]
    assert got.quantity[0].tolist() == [0.0, 10.0, 10.0, 10.0, 0.0, 0.0]


def test_equity_of_an_absent_row_is_that_of_the_row_before(frame_of):
    got = simulated(frame_of([100, (100, 150, 100, 120), None, 140]), {0: 1})
    assert got.equity.tolist() == [1000.0, 1200.0, 1200.0, 1400.0]


@pytest.mark.parametrize("absent", ["mark", "carry"])
def test_a_leading_absence_keeps_the_capital(frame_of, absent):
    got = simulated(frame_of([None, None, 100, 110, 120], absent=absent), {2: 1})
    assert got.equity.tolist() == pytest.approx([1000, 1000, 1000, 1000, 12000 / 11], rel=1e-14)


@pytest.mark.parametrize("absent", ["mark", "carry"])
def test_the_end_of_the_data_is_the_last_present_close(frame_of, absent):
    frame = frame_of([100, 100, (110, 130, 105, 120), None, None], absent=absent)
    got = simulated(frame, {0: 1})
    (trade,) = got.trades
    assert (trade.exit_reason, trade.exit_price) == ("end_of_data", 120.0)
    assert trade.exit_time == START + 2 * HOUR
    assert got.equity.tolist() == [1000.0, 1000.0, 1200.0, 1200.0, 1200.0]
    assert got.quantity[0].tolist() == [0.0, 10.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("absent", ["mark", "carry"])
def test_an_order_that_still_waits_at_the_end_never_fills(frame_of, absent):
    assert simulated(frame_of([100, 100, None], absent=absent), {1: 1}).trades == ()


def test_stops_do_not_act_in_a_carried_row(frame_of):
    # After bar 1 the trailing stop is 130 - 10 = 120, above the close of 105 that is carried.
    frame = frame_of([100, (100, 130, 100, 105), None, (118, 119, 117, 118), 118], absent="carry")
    (trade,) = simulated(frame, {0: 1}, risk=RiskRules(trailing_stop_pct=10)).trades
    assert (trade.exit_price, trade.exit_time) == (118.0, START + 3 * HOUR)


def test_a_carried_row_can_signal_and_the_order_waits(frame_of):
    frame = frame_of([80, None, None, 100, 110], absent="carry")
    (trade,) = simulated(frame, {1: 1}).trades
    assert (trade.signal_time, trade.entry_time) == (START + HOUR, START + 3 * HOUR)


def test_the_newest_signal_cancels_a_waiting_order(frame_of):
    frame = frame_of([100, None, None, 100, 110], absent="carry")
    assert simulated(frame, {0: 1, 1: -1}).trades == ()
    (trade,) = simulated(frame, {0: 1, 1: -1, 2: 1}).trades
    assert trade.signal_time == START + 2 * HOUR
    holding = frame_of([100, 100, None, 100, 110], absent="carry")
    (trade,) = simulated(holding, {0: 1, 1: -1, 2: 1}).trades
    assert trade.exit_reason == "end_of_data"


def test_the_gap_after_an_outage_goes_through_the_stop(frame_of):
    frame = frame_of([100, 100, None, (80, 99, 70, 90), 90])
    (trade,) = simulated(frame, {0: 1}, risk=RiskRules(stop_loss_pct=5)).trades
    assert (trade.exit_reason, trade.exit_price) == ("stop_loss", 80.0)
