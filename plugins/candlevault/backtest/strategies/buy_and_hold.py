"""The yardstick: buys once and holds to the end.

Wishes to be long at the first bar, so that the next open fills it, and nothing afterwards. Long
only; there are no settings.
"""

from __future__ import annotations

import numpy as np

from candlevault.backtest.data.frame import Bars
from candlevault.backtest.signals import Signals
from candlevault.backtest.strategies.contract import Params, Strategy


def lines(bars: Bars, params: Params) -> dict[str, np.ndarray]:
    """None."""
    return {}


def signals(bars: Bars, params: Params) -> Signals:
    """One entry, at the first bar."""
    first = np.zeros(len(bars.close), dtype=np.bool_)
    first[:1] = True
    return Signals(enter_long=first)


STRATEGY = Strategy(
    name="buy_and_hold",
    version="1",
    title="Buy and hold",
    description="Buys at the start and holds to the end. Long only.",
    parameters=(),
    signals=signals,
    lines=lines,
)
