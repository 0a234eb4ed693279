"""Trend following with two simple moving averages of the close.

Enters when the fast average crosses above the slow one, exits when it crosses below. A
cross at bar i compares bars i-1 and i; averages within 1e-12 of each other (relative)
count as equal; nothing crosses before both averages are defined on both bars.
"""

from __future__ import annotations

import numpy as np

from candlevault.backtest.frame import Bars
from candlevault.backtest.indicators import crosses_above, crosses_below, sma
from candlevault.backtest.strategies.contract import (
    ENTER,
    EXIT,
    Ascending,
    Parameter,
    Params,
    Strategy,
)


def lines(bars: Bars, params: Params) -> dict[str, np.ndarray]:
    """The two averages, `sma_fast` and `sma_slow`, in quote."""
    return {
        "sma_fast": sma(bars.close, params["fast"]),
        "sma_slow": sma(bars.close, params["slow"]),
    }


def signals(bars: Bars, params: Params) -> np.ndarray:
    """ENTER where the fast average crosses above the slow one, EXIT where below; int8."""
    fast, slow = lines(bars, params).values()
    out = np.zeros(len(bars.close), dtype=np.int8)
    out[crosses_above(fast, slow)] = ENTER
    out[crosses_below(fast, slow)] = EXIT
    return out


STRATEGY = Strategy(
    name="sma_cross",
    version="1",
    title="Crossing averages",
    description="Long while the fast simple moving average of the close is above the slow one.",
    parameters=(
        Parameter("fast", "integer", 20, 1, 9_999, "Bars in the fast average."),
        Parameter("slow", "integer", 50, 2, 10_000, "Bars in the slow average."),
    ),
    rules=(Ascending("fast", "slow"),),
    signals=signals,
    lines=lines,
)
