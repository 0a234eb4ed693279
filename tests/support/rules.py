"""Short ways into the strategy of rules for tests."""

from __future__ import annotations

import numpy as np

from candlevault.backtest.data.frame import Bars
from candlevault.backtest.signals import Signals
from candlevault.backtest.strategies.rules import STRATEGY

HOUR_MS = 3_600_000


def bars_of(close, **columns) -> Bars:
    """Hourly bars; columns that are not given equal the close, the volume is 1."""
    close = np.array(close, dtype=np.float64)
    given = {name: np.array(values, dtype=np.float64) for name, values in columns.items()}
    given = {name: close for name in ("open", "high", "low")} | {"close": close} | given
    given.setdefault("volume", np.ones(len(close)))
    return Bars(open_time=np.arange(len(close)) * HOUR_MS, **given)


def walk(count: int, seed: int = 7) -> Bars:
    """A random walk of `count` bars."""
    random = np.random.default_rng(seed)
    close = 100.0 * np.cumprod(1.0 + 0.01 * random.standard_normal(count))
    opened = np.concatenate(([100.0], close[:-1]))[:count]
    return bars_of(
        close,
        open=opened,
        high=np.maximum(opened, close) * (1.0 + 0.004 * random.random(count)),
        low=np.minimum(opened, close) * (1.0 - 0.004 * random.random(count)),
        volume=random.integers(0, 50, count),
    )


def ticks(count: int, seed: int = 7) -> Bars:
    """Prices of a few steps, many of them equal, with bars of no volume and no range."""
    random = np.random.default_rng(seed)
    close, opened = (random.integers(1, 6, count).astype(float) for _ in range(2))
    return bars_of(
        close,
        open=opened,
        high=np.maximum(opened, close) + random.integers(0, 2, count),
        low=np.maximum(np.minimum(opened, close) - random.integers(0, 2, count), 0.5),
        volume=random.integers(0, 3, count),
    )


def signals(bars: Bars, **params) -> Signals:
    """The wishes of the rules `params` on `bars`."""
    return STRATEGY.signals(bars, STRATEGY.parse_params(params))


def fires(bars: Bars, condition: dict, **indicators) -> list[int]:
    """The rows in which `condition` is true."""
    wished = signals(bars, indicators=indicators, entry={"long": condition}).enter_long
    return np.flatnonzero(wished).tolist()


def same(left: np.ndarray, right: np.ndarray) -> bool:
    """Equal bit for bit, NaN to NaN."""
    return left.shape == right.shape and bool(
        np.all((left == right) | (np.isnan(left) & np.isnan(right)))
    )
