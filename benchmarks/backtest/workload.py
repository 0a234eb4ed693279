"""What every contender is given: made candles, one strategy, a grid of its settings.

Needs NumPy only, since it runs in the others' Pythons as well.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np

CAPITAL, FEE_RATE = 10_000.0, 0.001
START_MS, HOUR_MS = 1_577_836_800_000, 3_600_000  # 2020-01-01
ROWS = 50_400
FAST, SLOW = 20, 50
GRID_FAST = tuple(range(5, 55, 2))
GRID_SLOW = tuple(range(55, 215, 4))
GRID = tuple(product(GRID_FAST, GRID_SLOW))
"""1,000 pairs of a fast and a slow average."""


class Candles(NamedTuple):
    """Hours without holes, ascending; `open_time` in ms UTC, prices float64."""

    open_time: np.ndarray
    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray


def candles(rows: int = ROWS) -> Candles:
    """A random walk from a fixed seed: the same candles everywhere."""
    rng = np.random.default_rng(7)
    close = 10_000.0 * np.cumprod(1.0 + rng.normal(0.0, 0.006, rows))
    open_ = np.append(10_000.0, close[:-1])
    wick = 1.0 + np.abs(rng.normal(0.0, 0.002, (2, rows)))
    return Candles(
        START_MS + HOUR_MS * np.arange(rows),
        open_,
        np.maximum(open_, close) * wick[0],
        np.minimum(open_, close) / wick[1],
        close,
    )
