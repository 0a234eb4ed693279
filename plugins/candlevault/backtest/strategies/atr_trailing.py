"""Trend following that only a trailing stop ends, as wide as the market swings.

Enters long where the close crosses above its simple average of `period` bars, short where it
crosses below. A cross at bar i compares bars i-1 and i; prices within 1e-12 of each other
(relative) count as equal; nothing crosses before the average is defined on both bars.

The trailing stop lies `multiple` times the average true range of the bar of the entry signal
behind the best price of the trade; the distance stays as it was at the entry. True range =
max(high, previous close) - min(low, previous close), from bar 1 on; its average over
`atr_period` bars is the mean of the first ones at bar atr_period, afterwards it moves by
1 / atr_period of its distance to each new value. Nothing enters before it is defined, nor where
it is 0. There are no exit signals: a trade ends at its stop, or where the other side enters.
"""

from __future__ import annotations

import numpy as np

from candlevault.backtest.data.frame import Bars
from candlevault.backtest.indicators import atr, crosses_above, crosses_below, sma
from candlevault.backtest.signals import Signals
from candlevault.backtest.strategies.contract import Parameter, Params, Strategy


def lines(bars: Bars, params: Params) -> dict[str, np.ndarray]:
    """The average `sma` of the close and the average true range `atr`, in quote."""
    return {
        "sma": sma(bars.close, params["period"]),
        "atr": atr(bars.high, bars.low, bars.close, params["atr_period"]),
    }


def signals(bars: Bars, params: Params) -> Signals:
    """Entries where the close crosses its average, each with the distance of its stop."""
    average, swing = lines(bars, params).values()
    trail = params["multiple"] * swing
    guarded = trail > 0.0
    return Signals(
        enter_long=crosses_above(bars.close, average) & guarded,
        enter_short=crosses_below(bars.close, average) & guarded,
        trail=trail,
    )


STRATEGY = Strategy(
    name="atr_trailing",
    version="1",
    title="Trend with an ATR trailing stop",
    description="Enters where the close crosses its simple moving average, in the direction of the "
    "cross; leaves at a trailing stop some average true ranges wide.",
    parameters=(
        Parameter("period", "integer", 50, 2, 10_000, "Bars in the average of the close."),
        Parameter("atr_period", "integer", 14, 1, 10_000, "Bars of the average true range."),
        Parameter("multiple", "number", 3.0, 0.1, 100.0, "Average true ranges to the stop."),
    ),
    sets_levels=True,
    signals=signals,
    lines=lines,
)
