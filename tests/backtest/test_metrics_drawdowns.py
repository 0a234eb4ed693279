"""Falls of the equity: the deepest one, the list of them, and the curve."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candlevault.backtest.metrics import drawdowns
from candlevault.backtest.metrics.drawdowns import Drawdown

DAY = 86_400_000


def times(count):
    return np.arange(count) * DAY


def test_the_deepest_fall_has_its_peak_its_bottom_and_its_way_back():
    found = drawdowns.deepest(np.array([100.0, 120, 120, 90, 84, 84, 119, 120, 60, 70]))
    # 120 to 60 is 50 %: peak in row 7, bottom in row 8, never made good; before it 2 to 7
    assert (found.depth_pct, found.start, found.trough, found.end) == (50.0, 7, 8, -1)
    assert (found.amount, found.longest) == (60.0, 5)


def test_the_first_of_equally_deep_falls_counts():
    found = drawdowns.deepest(np.array([100.0, 50, 100, 50, 100]))
    assert (found.start, found.trough, found.end) == (0, 1, 2)


def test_the_largest_amount_need_not_be_the_deepest_fall():
    found = drawdowns.deepest(np.array([100.0, 50, 1000, 900]))
    assert (found.depth_pct, found.amount) == (50.0, 100.0)


def test_without_a_fall_there_is_no_drawdown():
    rising = np.array([100.0, 100, 101])
    assert drawdowns.deepest(rising) == (0.0, -1, -1, -1, 0.0, 0)
    assert drawdowns.worst(times(3), rising, DAY) == ()
    assert drawdowns.curve(rising).tolist() == [0, 0, 0]


def test_the_worst_falls_are_listed_deepest_first_with_times():
    equity = np.array([100.0, 90, 100, 110, 55, 66, 110, 99, 110, 109])
    assert drawdowns.worst(times(10), equity, DAY, 3) == (
        Drawdown(3 * DAY, 4 * DAY, 6 * DAY, 50.0, 3 * 86_400),
        Drawdown(0, 1 * DAY, 2 * DAY, 10.0, 2 * 86_400),
        Drawdown(6 * DAY, 7 * DAY, 8 * DAY, 10.0, 2 * 86_400),
    )
    last = drawdowns.worst(times(10), equity, DAY, 9)[-1]
    assert last == Drawdown(8 * DAY, 9 * DAY, None, pytest.approx(100 / 110), 86_400)


def test_equity_below_zero_is_a_fall_of_more_than_everything():
    equity = np.array([100.0, 50, -25, -25])
    assert drawdowns.deepest(equity).depth_pct == 125.0
    assert drawdowns.curve(equity).tolist() == [0, 50, 125, 125]
    assert drawdowns.worst(times(4), equity, DAY)[0].depth_pct == 125.0


@settings(database=None, deadline=None, derandomize=True, max_examples=200)
@given(st.lists(st.integers(-50, 200), max_size=40).map(lambda rest: [100, *rest]))
def test_list_curve_and_deepest_fall_tell_the_same(values):
    equity = np.array(values, dtype=float)
    found, listed = drawdowns.deepest(equity), drawdowns.worst(times(len(values)), equity, DAY, 99)
    curve = drawdowns.curve(equity)
    assert found.depth_pct == max(curve)
    assert found.longest == max((d.duration_seconds // 86_400 for d in listed), default=0)
    # rows under water are exactly those between a start and an end
    under = {
        row
        for d in listed
        for row in range(
            d.start_time // DAY + 1, len(values) if d.end_time is None else d.end_time // DAY
        )
    }
    assert under == set(np.flatnonzero(curve > 0).tolist())
    if listed:
        assert (listed[0].depth_pct, listed[0].start_time) == (found.depth_pct, found.start * DAY)
        assert listed[0].trough_time == found.trough * DAY
        assert [d.depth_pct for d in listed] == sorted((d.depth_pct for d in listed), reverse=True)
    # naively: for every pair of rows
    pairs = [(values[i] - values[j]) for i in range(len(values)) for j in range(i, len(values))]
    assert found.amount == max(pairs)
