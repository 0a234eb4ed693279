"""Momentum by the convergence and divergence of two exponential averages of the close.

line = average(fast) - average(slow), each seeded with the mean of its own first closes;
signal = exponential average of the line over `signal` bars, seeded with the mean of the first
`signal` values of the line, from bar slow+signal-2 on. An average of `period` bars moves by
2 / (period + 1) of its distance to each new value.

Goes long when the line crosses above its signal, short when it crosses below. A cross at bar i
compares bars i-1 and i; both are compared at the height of the price, close + line with
close + signal, which count as equal within 1e-12 of each other (relative); nothing crosses before
both are defined on both bars.
"""

from __future__ import annotations

import numpy as np

from candlevault.backtest import indicators
from candlevault.backtest.data.frame import Bars
from candlevault.backtest.indicators import crosses
from candlevault.backtest.signals import Signals
from candlevault.backtest.strategies.contract import Ascending, Parameter, Params, Strategy


def lines(bars: Bars, params: Params) -> dict[str, np.ndarray]:
    """`macd`, its signal `macd_signal` and their difference `macd_histogram`, in quote."""
    line, signal, histogram = indicators.macd(
        bars.close, params["fast"], params["slow"], params["signal"]
    )
    return {"macd": line, "macd_signal": signal, "macd_histogram": histogram}


def signals(bars: Bars, params: Params) -> Signals:
    """Long from where the line crosses above its signal, short from where below."""
    # Along a straight move they differ only by the rounding of averages as large as the price.
    line, signal, _ = (bars.close + value for value in lines(bars, params).values())
    above, below = crosses(line, signal)
    return Signals(enter_long=above, exit_long=below, enter_short=below, exit_short=above)


STRATEGY = Strategy(
    name="macd",
    version="1",
    title="MACD and its signal",
    description="Long while the MACD line (fast less slow exponential average of the close) is "
    "above its signal line, short while below.",
    parameters=(
        Parameter("fast", "integer", 12, 1, 9_999, "Bars in the fast average."),
        Parameter("slow", "integer", 26, 2, 10_000, "Bars in the slow average."),
        Parameter("signal", "integer", 9, 1, 10_000, "Bars in the average of the line."),
    ),
    rules=(Ascending("fast", "slow"),),
    signals=signals,
    lines=lines,
)
