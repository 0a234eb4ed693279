"""Indicators: float64 arrays in, read-only float64 arrays of the same length out.

NaN until an indicator is defined. Value i depends on inputs 0..i only, so cutting off the
future changes nothing. The inputs are rows without holes; leading NaN (an indicator of an
indicator) is skipped.

Additions stand in a fixed order, in compiled loops that the compiler may not reorder, never in
`np.sum` or `np.mean`: their order depends on the processor, and results must agree to the byte.

Sources: J. Welles Wilder, "New Concepts in Technical Trading Systems" (1978) for RSI,
true range and ATR; G. Appel, "Technical Analysis: Power Tools" (2005) for MACD;
J. Bollinger, "Bollinger on Bollinger Bands" (2001); R. Donchian's channel as described in
C. Faith, "Way of the Turtle" (2007).
"""

from __future__ import annotations

from candlevault.backtest.indicators.averages import ema, sma, wilder
from candlevault.backtest.indicators.channels import highest, lowest, previous
from candlevault.backtest.indicators.comparison import (
    EQUAL_RATIO,
    above,
    at_least,
    at_most,
    below,
    crosses,
    crosses_above,
    crosses_below,
)
from candlevault.backtest.indicators.memory import remembering
from candlevault.backtest.indicators.momentum import Macd, macd, roc, rsi
from candlevault.backtest.indicators.volatility import (
    Bollinger,
    atr,
    bollinger,
    standard_deviation,
    true_range,
)

__all__ = [
    "EQUAL_RATIO",
    "Bollinger",
    "Macd",
    "above",
    "at_least",
    "at_most",
    "atr",
    "below",
    "bollinger",
    "crosses",
    "crosses_above",
    "crosses_below",
    "ema",
    "highest",
    "lowest",
    "macd",
    "previous",
    "remembering",
    "roc",
    "rsi",
    "sma",
    "standard_deviation",
    "true_range",
    "wilder",
]
