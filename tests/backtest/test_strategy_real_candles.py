"""Every strategy on BTCUSDT 1h 2020-2025 against a naive one, signal for signal.

The naive ones share nothing with the library: pandas' rolling windows, and textbook recursions
in Python floats written the other way round (old * (1 - weight) + new * weight).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from candlevault.backtest.data.frame import build_frame
from candlevault.timeframe import parse as timeframe
from candlevault.windows import Window
from tests.support.wishes import signals_of

ROWS = 50_400
SIDES = ("enter_long", "exit_long", "enter_short", "exit_short")


@pytest.fixture(scope="module")
def table(real_candles):
    return real_candles("spot", "BTCUSDT", "1h")


@pytest.fixture(scope="module")
def frame(table):
    start = int(table["open_time"].iloc[0])
    return build_frame(timeframe("1h"), Window(start, start + ROWS * 3_600_000), table)


def recursion(values: pd.Series, period: int, weight: float) -> pd.Series:
    """Seeded with the mean of the first `period` values that are defined."""
    defined = values.dropna()
    out, average = {}, None
    for count, (label, value) in enumerate(defined.items(), start=1):
        if count == period:
            average = float(defined.iloc[:period].mean())
        elif average is not None:
            average = average * (1.0 - weight) + value * weight
        if average is not None:
            out[label] = average
    return pd.Series(out, dtype=float).reindex(values.index)


def average(values: pd.Series, period: int) -> pd.Series:
    return recursion(values, period, 2.0 / (period + 1))


def ranges(table: pd.DataFrame) -> pd.Series:
    before = table["close"].shift()
    parts = [table["high"] - table["low"], (table["high"] - before).abs(),
             (table["low"] - before).abs()]  # fmt: skip
    return pd.concat(parts, axis=1).max(axis=1).where(before.notna())


def order(left: pd.Series, right: pd.Series, scale: pd.Series | None = None) -> pd.Series:
    """1, 0 or -1 where left is above, at or below right; NaN where one is undefined."""
    gap = left - right
    scale = np.maximum(left.abs(), right.abs()) if scale is None else scale
    return np.sign(gap.where(gap.isna() | (gap.abs() > 1e-12 * scale), 0.0))


def crossing(way: pd.Series) -> dict[str, pd.Series]:
    up, down = (way > 0) & (way.shift() <= 0), (way < 0) & (way.shift() >= 0)
    return dict(zip(SIDES, (up, down, down, up), strict=True))


def sma_cross(table, fast, slow):
    close = table["close"]
    return crossing(order(close.rolling(fast).mean(), close.rolling(slow).mean()))


def ema_cross(table, fast, slow):
    return crossing(order(average(table["close"], fast), average(table["close"], slow)))


def macd(table, fast, slow, signal):
    line = average(table["close"], fast) - average(table["close"], slow)
    return crossing(order(line, average(line, signal), table["close"]))


def rsi_reversion(table, period, lower, upper):
    change = table["close"].diff()
    rise = recursion(change.clip(lower=0.0), period, 1.0 / period)
    fall = recursion((-change).clip(lower=0.0), period, 1.0 / period)
    index = 100.0 - 100.0 / (1.0 + rise / fall)
    low, high = index < lower, index > upper
    return dict(zip(SIDES, (low, high, high, low), strict=True))


def bands(table, period, width):
    """Where the close lies: to the upper band, to the middle, to the lower band."""
    close = table["close"]
    window = close.rolling(period)
    middle, deviation = window.mean(), width * window.std(ddof=0)
    return tuple(order(close, line) for line in (middle + deviation, middle, middle - deviation))


def bollinger_breakout(table, period, width):
    upper, middle, lower = bands(table, period, width)
    return dict(zip(SIDES, (upper > 0, middle <= 0, lower < 0, middle >= 0), strict=True))


def bollinger_reversion(table, period, width):
    upper, middle, lower = bands(table, period, width)
    return dict(zip(SIDES, (lower < 0, middle >= 0, upper > 0, middle <= 0), strict=True))


def donchian(table, entry_period, exit_period):
    def beyond(period):
        top = table["high"].rolling(period).max().shift()
        bottom = table["low"].rolling(period).min().shift()
        return table["close"] > top, table["close"] < bottom

    (up, down), (back, off) = beyond(entry_period), beyond(exit_period)
    return dict(zip(SIDES, (up, off, down, back), strict=True))


def atr_trailing(table, period, atr_period, multiple):
    close = table["close"]
    trail = multiple * recursion(ranges(table), atr_period, 1.0 / atr_period)
    cross = crossing(order(close, close.rolling(period).mean()))
    return {
        "enter_long": cross["enter_long"] & (trail > 0),
        "enter_short": cross["enter_short"] & (trail > 0),
        "trail": trail,
    }


def buy_and_hold(table):
    return {"enter_long": pd.Series(table.index == table.index[0])}


# The naive strategy, its settings, and how many long entries there are at least.
CASES = [
    (sma_cross, {"fast": 20, "slow": 50}, 600),
    (sma_cross, {"fast": 7, "slow": 333}, 200),
    (ema_cross, {"fast": 12, "slow": 26}, 800),
    (ema_cross, {"fast": 1, "slow": 200}, 800),
    (macd, {"fast": 12, "slow": 26, "signal": 9}, 1900),
    (macd, {"fast": 5, "slow": 35, "signal": 5}, 1900),
    (rsi_reversion, {"period": 14, "lower": 30.0, "upper": 70.0}, 2000),
    (rsi_reversion, {"period": 3, "lower": 10.0, "upper": 95.0}, 1900),
    (bollinger_breakout, {"period": 20, "width": 2.0}, 3000),
    (bollinger_breakout, {"period": 7, "width": 0.7}, 9000),
    (bollinger_reversion, {"period": 20, "width": 2.0}, 3000),
    (bollinger_reversion, {"period": 100, "width": 3.1}, 200),
    (donchian, {"entry_period": 20, "exit_period": 10}, 1700),
    (donchian, {"entry_period": 5, "exit_period": 55}, 4000),
    (atr_trailing, {"period": 50, "atr_period": 14, "multiple": 3.0}, 1800),
    (atr_trailing, {"period": 10, "atr_period": 100, "multiple": 0.5}, 4000),
    (buy_and_hold, {}, 1),
]  # fmt: skip


@pytest.mark.parametrize(
    ("naive", "params", "least"), CASES, ids=lambda value: getattr(value, "__name__", "")
)
def test_every_signal_of_real_hours_is_that_of_a_naive_strategy(table, frame, naive, params, least):
    got = signals_of(frame, naive.__name__, **params)
    expected = naive(table, **params)
    for side in SIDES:
        flags = getattr(got, side)
        if side not in expected:
            assert flags is None
            continue
        rows = np.flatnonzero(flags != expected[side].to_numpy())
        assert rows.tolist() == [], f"{side} differs"
    assert int(got.enter_long.sum()) >= least
    if "trail" in expected:
        np.testing.assert_allclose(got.trail, expected["trail"], rtol=1e-9)
