"""atr_trailing by hand, and what the engine makes of its stop."""

from __future__ import annotations

import numpy as np
import pytest

from candlevault.backtest.strategies import atr_trailing
from tests.support.trading import traded
from tests.support.wishes import signals_of, wished

# (open, high, low, close): average of 2 closes; true ranges from bar 1 on
ROWS = [
    (10, 10, 10, 10),
    (10, 10, 8, 8),     # mean 9, below; range 10 - 8 = 2
    (8, 13, 8, 12),     # mean 10, crosses above; range 13 - 8 = 5; average range (2 + 5) / 2 = 3.5
    (12, 14, 12, 14),   # mean 13, above; range 14 - 12 = 2; (3.5 + 2) / 2 = 2.75
    (14, 14, 9, 10),    # mean 12, crosses below; range 14 - 9 = 5; (2.75 + 5) / 2 = 3.875
    (10, 10, 9, 9),
]  # fmt: skip
SETTINGS = {"period": 2, "atr_period": 2, "multiple": 2.0}


def test_by_hand(frame_of):
    frame = frame_of(ROWS)
    lines = atr_trailing.lines(frame.bars(), SETTINGS)
    np.testing.assert_array_equal(lines["sma"][1:], [9, 10, 13, 12, 9.5])
    np.testing.assert_array_equal(lines["atr"][2:5], [3.5, 2.75, 3.875])
    assert wished(frame, "atr_trailing", **SETTINGS) == ["", "", "L", "", "S", ""]
    signals = signals_of(frame, "atr_trailing", **SETTINGS)
    assert signals.trail[2] == 7.0
    assert signals.trail[4] == 7.75


def test_nothing_enters_before_the_range_is_defined(frame_of):
    settings = {**SETTINGS, "atr_period": 3}
    assert wished(frame_of(ROWS), "atr_trailing", **settings) == ["", "", "", "", "S", ""]


def test_nothing_enters_without_any_range(frame_of):
    # The mean of three falls below the standing close of bar 4, which has no range of its own.
    frame = frame_of([10, 12, 8, 9.6, 9.6])
    settings = {"period": 3, "multiple": 1.0}
    assert wished(frame, "atr_trailing", atr_period=2, **settings)[4] == "L"
    assert wished(frame, "atr_trailing", atr_period=1, **settings)[4] == ""


def test_the_stop_trails_by_the_distance_of_the_entry_signal(frame_of):
    # Signal at bar 2, entry at the open of bar 3 (12); the best price 30 of bar 4 counts from
    # bar 5 on: stop 30 - 7 = 23, although the average range has grown by then.
    rows = [*ROWS[:3], (12, 14, 12, 14), (14, 30, 14, 28), (28, 28, 22, 24)]
    signals = signals_of(frame_of(rows), "atr_trailing", **SETTINGS)
    got = traded(frame_of(rows), signals)
    (trade,) = got.trades
    assert (trade.entry_price, trade.exit_price, trade.exit_reason) == (12, 23, "trailing_stop")


def test_the_opposite_cross_ends_a_trade_only_where_it_may_enter(frame_of):
    rows = [*ROWS, (9, 10, 9, 10)]
    signals = signals_of(frame_of(rows), "atr_trailing", **{**SETTINGS, "multiple": 50.0})
    long_only = traded(frame_of(rows), signals, direction="long").trades
    both = traded(frame_of(rows), signals, direction="both").trades
    assert [(t.side, t.exit_reason) for t in long_only] == [("long", "end_of_data")]
    assert [(t.side, t.exit_reason) for t in both] == [("long", "signal"), ("short", "end_of_data")]


@pytest.mark.parametrize("price", [0.1, 12345.67])
def test_a_frozen_price_never_enters(frame_of, price):
    assert not any(wished(frame_of([price] * 200), "atr_trailing"))
