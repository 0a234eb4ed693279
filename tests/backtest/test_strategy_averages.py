"""Strategies of two crossing lines by hand: sma_cross, ema_cross and macd."""

from __future__ import annotations

import numpy as np
import pytest

from candlevault.backtest.indicators import crosses_above, crosses_below
from candlevault.backtest.strategies import ema_cross, macd, sma_cross
from tests.support.wishes import wished

UP, DOWN = "Ls", "lS"


class TestSmaCross:
    def test_by_hand(self, frame_of):
        # close  4  3  2  3  5  5  1  1
        # fast(2)   3.5 2.5 2.5 4  5  3  1
        # slow(3)       3   8/3 10/3 13/3 11/3 7/3
        #               <   <   >    >    <    <
        got = wished(frame_of([4, 3, 2, 3, 5, 5, 1, 1]), "sma_cross", fast=2, slow=3)
        assert got == ["", "", "", "", UP, "", DOWN, ""]

    def test_fast_above_slow_from_the_first_defined_bar_is_no_cross(self, frame_of):
        assert wished(frame_of([1, 2, 3, 4, 5]), "sma_cross", fast=2, slow=3) == [""] * 5

    def test_equal_averages_before_a_rise_count_as_not_above(self, frame_of):
        # frozen at 0.1: averages equal up to rounding; the rise at bar 4 crosses
        got = wished(frame_of([0.1, 0.1, 0.1, 0.1, 0.2]), "sma_cross", fast=2, slow=3)
        assert got == ["", "", "", "", UP]

    def test_averages_run_over_present_rows_only(self, frame_of):
        closes = [4, 3, 2, 3, 5, 5, 1, 1]
        holes = [4, 3, None, 2, 3, None, None, 5, 5, 1, None, 1]
        whole = wished(frame_of(closes), "sma_cross", fast=2, slow=3)
        assert wished(frame_of(holes), "sma_cross", fast=2, slow=3) == whole

    def test_carried_rows_take_part_in_the_averages(self, frame_of):
        # 4 3 (3) 2 3 5: fast 3.5 3 2.5 2.5 4; slow 10/3 8/3 8/3 10/3: cross at the 5
        frame = frame_of([4, 3, None, 2, 3, 5], absent="carry")
        lines = sma_cross.lines(frame.bars(), {"fast": 2, "slow": 3})
        np.testing.assert_allclose(lines["sma_fast"][1:], [3.5, 3.0, 2.5, 2.5, 4.0])
        np.testing.assert_allclose(lines["sma_slow"][2:], [10 / 3, 8 / 3, 8 / 3, 10 / 3])
        assert wished(frame, "sma_cross", fast=2, slow=3) == [""] * 5 + [UP]


class TestEmaCross:
    def test_by_hand(self, frame_of):
        # close          8   4   6   14   2
        # fast(1) = close
        # slow(3), weight 1/2: seed 18 / 3 = 6; 6 + 8 / 2 = 10; 10 - 8 / 2 = 6
        frame = frame_of([8, 4, 6, 14, 2])
        lines = ema_cross.lines(frame.bars(), {"fast": 1, "slow": 3})
        np.testing.assert_array_equal(lines["ema_fast"], [8, 4, 6, 14, 2])
        np.testing.assert_array_equal(lines["ema_slow"][2:], [6, 10, 6])
        # equal at bar 2, above at 3, below at 4
        assert wished(frame, "ema_cross", fast=1, slow=3) == ["", "", "", UP, DOWN]

    def test_nothing_crosses_at_the_first_bar_on_which_both_are_defined(self, frame_of):
        assert wished(frame_of([9, 8, 1, 2]), "ema_cross", fast=1, slow=3) == ["", "", "", ""]
        assert wished(frame_of([9, 8, 1, 9]), "ema_cross", fast=1, slow=3) == ["", "", "", UP]


class TestMacd:
    def test_by_hand(self, frame_of):
        # fast(1) = close; slow(3), weight 1/2: 6 10 6 6 12
        # line            0   4  -4   0   6
        # signal(2), weight 2/3, seeded (0 + 4) / 2 = 2 at bar 3:
        #   2 - 6 * 2/3 = -2;  -2 + 2 * 2/3 = -2/3;  -2/3 + (6 + 2/3) * 2/3 = 34/9
        #                    4>2 -4<-2 0>-2/3 6>34/9
        frame = frame_of([8, 4, 6, 14, 2, 6, 18])
        lines = macd.lines(frame.bars(), {"fast": 1, "slow": 3, "signal": 2})
        np.testing.assert_array_equal(lines["macd"][2:], [0, 4, -4, 0, 6])
        np.testing.assert_allclose(lines["macd_signal"][3:], [2, -2, -2 / 3, 34 / 9], rtol=1e-14)
        assert np.isnan(lines["macd_signal"][:3]).all()
        np.testing.assert_array_equal(lines["macd_histogram"], lines["macd"] - lines["macd_signal"])
        got = wished(frame, "macd", fast=1, slow=3, signal=2)
        assert got == ["", "", "", "", DOWN, UP, ""]

    def test_a_line_equal_to_its_signal_crosses_when_it_leaves_it(self, frame_of):
        # A straight rise: line and signal are equal; then the price runs away.
        closes = [8, 9, 10, 11, 12, 13, 14, 15, 30]
        got = wished(frame_of(closes), "macd", fast=1, slow=3, signal=2)
        assert got == [""] * 8 + [UP]

    def test_the_rounding_of_averages_of_a_straight_move_is_no_cross(self, frame_of):
        # Line and signal are 7 millionths; the averages they come from are rounded at 1e-17.
        closes = [round(0.1 + i * 1e-6, 6) for i in range(600)]
        lines = macd.lines(frame_of(closes).bars(), {"fast": 12, "slow": 26, "signal": 9})
        plain = lines["macd"], lines["macd_signal"]
        assert (crosses_above(*plain) | crosses_below(*plain)).any()
        assert not any(wished(frame_of(closes), "macd"))


@pytest.mark.parametrize("name", ["sma_cross", "ema_cross", "macd"])
@pytest.mark.parametrize("price", [0.1, 0.3, 1 / 3, 12345.67])
def test_a_frozen_price_never_crosses(frame_of, name, price):
    assert not any(wished(frame_of([price] * 300), name, fast=7, slow=23))
