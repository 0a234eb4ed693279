"""The built-in strategies written as rules, on real candles, against the built-in ones."""

from __future__ import annotations

import numpy as np
import pytest

from candlevault.backtest.data.frame import Bars
from candlevault.backtest.rules.tree import PRICES
from candlevault.backtest.strategies import registry
from tests.support.rules import same

RULES = registry.get("rules")


def bars_of(table) -> Bars:
    return Bars(
        table["open_time"].to_numpy(np.int64), *(table[name].to_numpy(float) for name in PRICES)
    )


def crossing(fast: int, slow: int) -> dict:
    up, down = ({f"crosses_{way}": ["fast", "slow"]} for way in ("above", "below"))
    return RULES.parse_params(
        {
            "indicators": {
                "fast": {"function": "SMA", "timeperiod": fast},
                "slow": {"function": "SMA", "timeperiod": slow},
            },
            "entry": {"long": up, "short": down},
            "exit": {"long": down, "short": up},
        }
    )


def reversion(period: int, lower: float, upper: float) -> dict:
    low, high = {"below": ["rsi", lower]}, {"above": ["rsi", upper]}
    return RULES.parse_params(
        {
            "indicators": {"rsi": {"function": "RSI", "timeperiod": period}},
            "entry": {"long": low, "short": high},
            "exit": {"long": high, "short": low},
        }
    )


@pytest.mark.parametrize(("fast", "slow"), [(20, 50), (1, 2), (5, 10), (7, 200)])
def test_crossing_averages_as_rules_give_the_wishes_of_the_built_in_strategy(
    real_candles, fast, slow
):
    """The library adds a running sum, the built-in average each window by itself: they differ
    by rounding, which is no cross."""
    bars = bars_of(real_candles("spot", "BTCUSDT", "1h"))
    built_in = registry.get("sma_cross")
    settings = built_in.parse_params({"fast": fast, "slow": slow})
    params = crossing(fast, slow)
    expected = built_in.signals(bars, settings)
    assert RULES.signals(bars, params).differs(expected) is None
    assert expected.enter_long.sum() > 200
    ours = built_in.lines(bars, settings).values()
    for line, other in zip(RULES.lines(bars, params).values(), ours, strict=True):
        np.testing.assert_array_equal(np.isnan(line), np.isnan(other))
        np.testing.assert_allclose(line, other, rtol=1e-13)


@pytest.mark.parametrize("period", [14, 2])
def test_reversion_as_rules_gives_the_wishes_of_the_built_in_strategy(real_candles, period):
    bars = bars_of(real_candles("spot", "BTCUSDT", "1h"))
    built_in = registry.get("rsi_reversion")
    settings = built_in.parse_params({"period": period})
    params = reversion(period, 30, 70)
    expected = built_in.signals(bars, settings)
    assert RULES.signals(bars, params).differs(expected) is None
    assert expected.enter_long.sum() > 2_000
    line, other = RULES.lines(bars, params)["rsi"], built_in.lines(bars, settings)["rsi"]
    np.testing.assert_array_equal(np.isnan(line), np.isnan(other))
    np.testing.assert_allclose(line, other, atol=1e-11)


def test_the_one_cross_that_a_running_sum_sees_by_rounding(real_candles):
    """LUNAUSDT fell from 119 to 0.00004: the running sum keeps the rounding of the large prices.
    Where both averages are 0.4096, it puts them 1.5e-12 apart."""
    bars = bars_of(real_candles("spot", "LUNAUSDT", "1h"))
    built_in = registry.get("sma_cross")
    expected = built_in.signals(bars, built_in.parse_params({"fast": 7, "slow": 200}))
    wished = RULES.signals(bars, crossing(7, 200))
    rows = np.flatnonzero(wished.enter_long != expected.enter_long)
    assert rows.tolist() == [27_152]
    assert wished.enter_long[27_152]
    assert not (wished.enter_short != expected.enter_short).any()


def test_cutting_off_real_candles_changes_no_wish(real_candles):
    bars = bars_of(real_candles("spot", "BTCUSDT", "1h"))
    for params in (crossing(20, 50), reversion(14, 30, 70)):
        whole, lines = RULES.signals(bars, params), RULES.lines(bars, params)
        for cut in (1, 50, 51, 1_000, 33_333, len(bars.close) - 1):
            past = bars.head(cut)
            assert whole.head(cut).differs(RULES.signals(past, params)) is None
            for name, line in RULES.lines(past, params).items():
                assert same(line, lines[name][:cut])
