"""The figures of a finished run, their curves and their tables."""

from candlevault.backtest.metrics.buy_and_hold import return_pct as buy_and_hold_return_pct
from candlevault.backtest.metrics.drawdowns import max_drawdown
from candlevault.backtest.metrics.figures import Metrics
from candlevault.backtest.metrics.measuring import measure
from candlevault.backtest.metrics.returns import (
    annual_return_pct,
    sharpe,
    sortino,
)

__all__ = [
    "Metrics",
    "annual_return_pct",
    "buy_and_hold_return_pct",
    "max_drawdown",
    "measure",
    "sharpe",
    "sortino",
]
