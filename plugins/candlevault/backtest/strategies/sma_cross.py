"""Trend following with two simple moving averages of the close.

Goes long when the fast average crosses above the slow one, short when it crosses below. A
cross at bar i compares bars i-1 and i; averages within 1e-12 of each other (relative)
count as equal; nothing crosses before both averages are defined on both bars.
"""

from __future__ import annotations

import numpy as np

from candlevault.backtest.data.frame import Bars
from candlevault.backtest.indicators import crosses, sma
from candlevault.backtest.signals import Signals
from candlevault.backtest.strategies.contract import (
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


def signals(bars: Bars, params: Params) -> Signals:
    """Long from where the fast average crosses above the slow one, short from where below."""
    fast, slow = lines(bars, params).values()
    above, below = crosses(fast, slow)
    return Signals(enter_long=above, exit_long=below, enter_short=below, exit_short=above)


STRATEGY = Strategy(
    name="sma_cross",
    version="2",
    title="Crossing averages",
    description="Long while the fast simple moving average of the close is above the slow one, "
    "short while below.",
    parameters=(
        Parameter("fast", "integer", 20, 1, 9_999, "Bars in the fast average."),
        Parameter("slow", "integer", 50, 2, 10_000, "Bars in the slow average."),
    ),
    rules=(Ascending("fast", "slow"),),
    signals=signals,
    lines=lines,
)
