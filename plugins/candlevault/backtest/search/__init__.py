"""Parameter sweeps: many backtests that differ in some settings only, and walk-forward analysis.

A payload becomes a `SweepRequest` (`parsing`), which is a list of points in a stable order;
`evaluation` runs points, `ranking` and `deflated_sharpe` judge them, `folds` and `walk_forward`
choose on one window and run on the next. `jobs` does all of it on the store.
"""

from candlevault.backtest.search.parsing import canonical, parse, sweep_hash
from candlevault.backtest.search.request import Point, SweepRequest, WalkForward
from candlevault.backtest.search.schema import REQUIRED, document, properties

__all__ = [
    "REQUIRED",
    "Point",
    "SweepRequest",
    "WalkForward",
    "canonical",
    "document",
    "parse",
    "properties",
    "sweep_hash",
]
