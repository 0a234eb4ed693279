"""bollinger_breakout and bollinger_reversion by hand."""

from __future__ import annotations

import numpy as np
import pytest

from candlevault.backtest.strategies import bollinger_breakout, bollinger_reversion
from tests.support.wishes import wished

# close        2     2     2     8     5     2     2     2
# middle(3)                2     4     5     5     3     2
# deviation                0    √8    √6    √6    √2     0
# upper(1)                 2   6.83  7.45  7.45  4.41    2
# lower(1)                 2   1.17  2.55  2.55  1.59    2
CLOSES = [2, 2, 2, 8, 5, 2, 2, 2]
SETTINGS = {"period": 3, "width": 1.0}


@pytest.mark.parametrize("strategy", [bollinger_breakout, bollinger_reversion])
def test_the_bands_by_hand(frame_of, strategy):
    lines = strategy.lines(frame_of(CLOSES).bars(), SETTINGS)
    middle = np.array([2, 4, 5, 5, 3, 2])
    deviation = np.sqrt([0, 8, 6, 6, 2, 0])
    assert list(lines) == ["bollinger_lower", "bollinger_middle", "bollinger_upper"]
    for line, expected in zip(
        lines.values(), (middle - deviation, middle, middle + deviation), strict=True
    ):
        assert np.isnan(line[:2]).all()
        np.testing.assert_allclose(line[2:], expected, rtol=1e-14)


def test_breakout_by_hand(frame_of):
    # 2 = middle: both sides leave; 8 > upper; 5 = middle; 2 < lower; 2 below the middle; 2 = middle
    got = wished(frame_of(CLOSES), "bollinger_breakout", **SETTINGS)
    assert got == ["", "", "ls", "Ls", "ls", "lS", "l", "ls"]


def test_reversion_is_the_breakout_the_other_way_round(frame_of):
    got = wished(frame_of(CLOSES), "bollinger_reversion", **SETTINGS)
    assert got == ["", "", "ls", "lS", "ls", "Ls", "s", "ls"]


def test_a_close_on_a_band_does_not_enter(frame_of):
    # 1 and 3: middle 2, deviation 1; the close 3 is the upper band
    assert wished(frame_of([1, 3]), "bollinger_breakout", period=2, width=1.0) == ["", "s"]
    assert wished(frame_of([3, 1]), "bollinger_breakout", period=2, width=1.0) == ["", "l"]
    assert wished(frame_of([1, 3]), "bollinger_reversion", period=2, width=1.0) == ["", "l"]


def test_a_close_that_stays_beyond_the_band_wishes_on_every_bar(frame_of):
    got = wished(frame_of([1, 1, 1, 1, 4, 16, 64]), "bollinger_breakout", period=4, width=1.0)
    assert got[-3:] == ["Ls", "Ls", "Ls"]


@pytest.mark.parametrize("name", ["bollinger_breakout", "bollinger_reversion"])
@pytest.mark.parametrize(("price", "period"), [(0.1, 3), (0.3, 7), (7.7, 13), (12345.67, 23)])
def test_a_frozen_price_never_enters(frame_of, name, price, period):
    """Its average and deviation are rounded, so that some closes lie beyond a band by 1e-16."""
    frame, settings = frame_of([price] * 120), {"period": period, "width": 0.1}
    lower, _, upper = bollinger_breakout.lines(frame.bars(), settings).values()
    assert ((price > upper) | (price < lower)).any()
    words = wished(frame, name, **settings)
    assert words == [""] * (period - 1) + ["ls"] * (121 - period)
