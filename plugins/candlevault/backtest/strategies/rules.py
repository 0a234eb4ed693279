"""Rules of your own, read from JSON: indicators, conditions and prices of orders.

See `backtest.rules`; nothing of what is read is executed.
"""

from __future__ import annotations

import numpy as np

from candlevault.backtest.data.frame import Bars
from candlevault.backtest.rules import evaluation
from candlevault.backtest.rules.functions import TALIB_VERSION
from candlevault.backtest.rules.params_schema import params_schema
from candlevault.backtest.rules.reading import read
from candlevault.backtest.rules.writing import written
from candlevault.backtest.signals import Signals
from candlevault.backtest.strategies.contract import Params, Strategy

_FIELD = "strategy.params"


def parse(params: Params, field: str = _FIELD) -> dict:
    """The settings in canonical form: equal rules give equal settings."""
    return written(read(params, field))


def lines(bars: Bars, params: Params) -> dict[str, np.ndarray]:
    """The indicators by name, in the order of their names."""
    return evaluation.lines(read(params, _FIELD), bars)


def signals(bars: Bars, params: Params) -> Signals:
    """What the rules wish, bar by bar."""
    return evaluation.signals(read(params, _FIELD), bars)


STRATEGY = Strategy(
    name="rules",
    version=f"1 (TA-Lib {TALIB_VERSION})",
    title="Rules of your own",
    description="Enters and leaves by conditions on indicators, all given as settings.",
    parameters=(),
    params=params_schema(),
    parse=parse,
    signals=signals,
    lines=lines,
    sets_levels=True,
)
