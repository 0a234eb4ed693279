"""Indicators against TA-Lib, an independent implementation, where the definitions coincide.

They differ in three places. MACD: TA-Lib seeds the fast average with the closes just before the
slow one's first row, this house at the first closes; the difference dies away by 1 - 2 / (fast+1)
a row. RSI: where nothing ever moved TA-Lib gives 0, this house 50. Bollinger: TA-Lib subtracts
two large sums, which costs digits of the deviation, so the bands are compared as prices.
"""

from __future__ import annotations

import numpy as np
import pytest
import talib

from candlevault.backtest import indicators as ind

PERIODS = (2, 5, 14, 50, 200)
NEAR = {"rtol": 1e-9, "atol": 0.0}


@pytest.fixture(scope="module", params=["a walk", "real hours"])
def candles(request):
    """High, low and close: of 5,000 made-up candles, and of BTCUSDT 2020-2025."""
    if request.param == "real hours":
        table = request.getfixturevalue("real_candles")("spot", "BTCUSDT", "1h")
        return tuple(table[name].to_numpy(np.float64) for name in ("high", "low", "close"))
    steps = np.random.default_rng(20_240_101).integers(-300, 301, (3, 5_000))
    close = 50_000.0 + np.cumsum(steps[0])
    return close + np.abs(steps[1]), close - np.abs(steps[2]), close


def same(got, expected, **near):
    """Equal within the tolerance, and undefined in the same rows."""
    np.testing.assert_allclose(got, expected, **(near or NEAR), equal_nan=True)


@pytest.mark.parametrize("period", PERIODS)
def test_averages(candles, period):
    close = candles[2]
    same(ind.sma(close, period), talib.SMA(close, period))
    same(ind.ema(close, period), talib.EMA(close, period))


@pytest.mark.parametrize("period", PERIODS)
def test_relative_strength(candles, period):
    close = candles[2]
    same(ind.rsi(close, period), talib.RSI(close, period), rtol=1e-9, atol=1e-9)


def test_relative_strength_of_a_frozen_price_differs_on_purpose():
    frozen = np.full(40, 7.0)
    assert ind.rsi(frozen, 14)[-1] == 50.0
    assert talib.RSI(frozen, 14)[-1] == 0.0


@pytest.mark.parametrize("period", PERIODS)
def test_ranges(candles, period):
    same(ind.true_range(*candles), talib.TRANGE(*candles))
    same(ind.atr(*candles, period), talib.ATR(*candles, period))


@pytest.mark.parametrize(("fast", "slow", "signal"), [(12, 26, 9), (5, 35, 5), (50, 200, 30)])
def test_macd(candles, fast, slow, signal):
    close = candles[2]
    got = ind.macd(close, fast, slow, signal)
    same(got.line, talib.EMA(close, fast) - talib.EMA(close, slow), rtol=0.0, atol=1e-9)
    settled = slow + signal + 25 * fast
    for mine, theirs in zip(got, talib.MACD(close, fast, slow, signal), strict=True):
        same(mine[settled:], theirs[settled:], rtol=0.0, atol=1e-9 * close.max())
    assert (
        np.nanmax(
            np.abs(
                got.signal[: slow + signal]
                - talib.MACD(close, fast, slow, signal)[1][: slow + signal]
            )
        )
        > 1e-3
    )


@pytest.mark.parametrize("width", [1.0, 2.5])
@pytest.mark.parametrize("period", PERIODS)
def test_bollinger(candles, period, width):
    close = candles[2]
    bands = ind.bollinger(close, period, width)
    upper, middle, lower = talib.BBANDS(close, period, width, width)
    for mine, theirs in zip(bands, (lower, middle, upper), strict=True):
        same(mine, theirs)


@pytest.mark.parametrize("period", PERIODS)
def test_extremes_and_rate_of_change(candles, period):
    high, low, close = candles
    np.testing.assert_array_equal(ind.highest(high, period), talib.MAX(high, period))
    np.testing.assert_array_equal(ind.lowest(low, period), talib.MIN(low, period))
    same(ind.roc(close, period), talib.ROC(close, period), rtol=0.0, atol=1e-9)
