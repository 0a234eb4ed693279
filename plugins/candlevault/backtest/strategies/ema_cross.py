"""Trend following with two exponential moving averages of the close.

An average of `period` bars is the mean of the first `period` closes at bar period-1; afterwards
average[i] = average[i-1] + 2 / (period + 1) * (close[i] - average[i-1]).

Goes long when the fast average crosses above the slow one, short when it crosses below. A
cross at bar i compares bars i-1 and i; averages within 1e-12 of each other (relative)
count as equal; nothing crosses before both averages are defined on both bars.
"""

from __future__ import annotations

import numpy as np

from candlevault.backtest.data.frame import Bars
from candlevault.backtest.indicators import crosses, ema
from candlevault.backtest.signals import Signals
from candlevault.backtest.strategies.contract import Ascending, Parameter, Params, Strategy


def lines(bars: Bars, params: Params) -> dict[str, np.ndarray]:
    """The two averages, `ema_fast` and `ema_slow`, in quote."""
    return {
        "ema_fast": ema(bars.close, params["fast"]),
        "ema_slow": ema(bars.close, params["slow"]),
    }


def signals(bars: Bars, params: Params) -> Signals:
    """Long from where the fast average crosses above the slow one, short from where below."""
    fast, slow = lines(bars, params).values()
    above, below = crosses(fast, slow)
    return Signals(enter_long=above, exit_long=below, enter_short=below, exit_short=above)


STRATEGY = Strategy(
    name="ema_cross",
    version="1",
    title="Crossing exponential averages",
    description="Long while the fast exponential moving average of the close is above the slow "
    "one, short while below.",
    parameters=(
        Parameter("fast", "integer", 12, 1, 9_999, "Bars in the fast average."),
        Parameter("slow", "integer", 26, 2, 10_000, "Bars in the slow average."),
    ),
    rules=(Ascending("fast", "slow"),),
    signals=signals,
    lines=lines,
)
