"""Mean reversion with Wilder's relative strength index of the close.

Wishes to be long on every bar whose RSI lies below `lower` and short on every bar whose RSI
lies above `upper`; a value on the limit does nothing. These are levels, not
crosses: after a stop closed the position, the next bar below `lower` enters again.
"""

from __future__ import annotations

import numpy as np

from candlevault.backtest.data.frame import Bars
from candlevault.backtest.indicators import rsi
from candlevault.backtest.signals import Signals
from candlevault.backtest.strategies.contract import (
    Ascending,
    Parameter,
    Params,
    Strategy,
)


def lines(bars: Bars, params: Params) -> dict[str, np.ndarray]:
    """The index, `rsi`, 0–100."""
    return {"rsi": rsi(bars.close, params["period"])}


def signals(bars: Bars, params: Params) -> Signals:
    """Long wishes where the RSI is below `lower`, short ones where it is above `upper`."""
    index = lines(bars, params)["rsi"]
    low, high = index < params["lower"], index > params["upper"]
    return Signals(enter_long=low, exit_long=high, enter_short=high, exit_short=low)


STRATEGY = Strategy(
    name="rsi_reversion",
    version="2",
    title="Oversold to overbought",
    description="Buys when the relative strength index is low, sells when it is high.",
    parameters=(
        Parameter("period", "integer", 14, 1, 10_000, "Bars of Wilder's smoothing."),
        Parameter("lower", "number", 30.0, 0.0, 100.0, "Enter below this RSI."),
        Parameter("upper", "number", 70.0, 0.0, 100.0, "Exit above this RSI."),
    ),
    rules=(Ascending("lower", "upper"),),
    signals=signals,
    lines=lines,
)
