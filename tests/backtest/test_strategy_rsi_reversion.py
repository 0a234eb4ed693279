"""rsi_reversion by hand."""

from __future__ import annotations

import numpy as np

from candlevault.backtest.strategies import rsi_reversion
from tests.support.wishes import wished

LOW, HIGH = "Ls", "lS"


def test_by_hand(frame_of):
    # period 2: changes +2 -1 +3 -4; RSI . . 66.67 88.89 32 (see the test of the indicator)
    frame = frame_of([10, 12, 11, 14, 10])
    line = rsi_reversion.lines(frame.bars(), {"period": 2})["rsi"]
    np.testing.assert_allclose(line[2:], [200 / 3, 800 / 9, 32.0], rtol=1e-14)
    got = wished(frame, "rsi_reversion", period=2, lower=40, upper=80)
    assert got == ["", "", "", HIGH, LOW]


def test_the_limits_themselves_do_nothing(frame_of):
    # gain 1, loss 1 -> RSI exactly 50
    frame = frame_of([10, 11, 10])
    assert wished(frame, "rsi_reversion", period=2, lower=50, upper=60) == [""] * 3
    assert wished(frame, "rsi_reversion", period=2, lower=40, upper=50) == [""] * 3


def test_wishes_on_every_bar_while_the_level_holds(frame_of):
    assert wished(frame_of([9, 8, 7, 6, 5]), "rsi_reversion", period=2) == ["", "", LOW, LOW, LOW]


def test_a_frozen_price_is_neither_low_nor_high(frame_of):
    assert not any(wished(frame_of([0.1] * 100), "rsi_reversion", lower=49.9, upper=50.1))
