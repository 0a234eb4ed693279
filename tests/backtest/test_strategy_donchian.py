"""donchian by hand."""

from __future__ import annotations

import numpy as np

from candlevault.backtest.strategies import donchian
from tests.support.wishes import wished

# (open, high, low, close)
ROWS = [
    (10, 12, 9, 11),
    (11, 13, 10, 12),
    (12, 16, 11, 13),   # before: 13, 9 (2 bars) and 13, 10 (1 bar): close 13 on the high
    (13, 17, 12, 17),   # 16, 10 and 16, 11: above both
    (17, 18, 12, 12),   # 17, 11 and 17, 12: 12 on the low
    (12, 13, 8, 11),    # 18, 12 and 18, 13: below both
    (11, 14, 10, 13.5), # 18, 8 and 13, 8: above the exit channel only
]  # fmt: skip
SETTINGS = {"entry_period": 2, "exit_period": 1}


def test_the_channels_leave_out_the_bar_itself(frame_of):
    lines = donchian.lines(frame_of(ROWS).bars(), SETTINGS)
    nan = np.nan
    expected = {
        "entry_high": [nan, nan, 13, 16, 17, 18, 18],
        "entry_low": [nan, nan, 9, 10, 11, 12, 8],
        "exit_high": [nan, 12, 13, 16, 17, 18, 13],
        "exit_low": [nan, 9, 10, 11, 12, 12, 8],
    }
    assert list(lines) == list(expected)
    for name, line in expected.items():
        np.testing.assert_array_equal(lines[name], line, err_msg=name)


def test_by_hand(frame_of):
    # bar 1 closes at 12, on the high of bar 0; bar 2 at 13, on the high of bar 1
    got = wished(frame_of(ROWS), "donchian", **SETTINGS)
    assert got == ["", "", "", "Ls", "", "lS", "s"]


def test_a_longer_exit_than_entry_is_allowed(frame_of):
    got = wished(frame_of([5, 6, 5, 7, 4]), "donchian", entry_period=1, exit_period=3)
    # entries: 6 > 5, 5 < 6, 7 > 5, 4 < 7; exits look at three bars: 7 > 6 and 4 < 5
    assert got == ["", "L", "S", "Ls", "lS"]


def test_a_frozen_price_does_nothing(frame_of):
    assert not any(wished(frame_of([0.1] * 60), "donchian"))
