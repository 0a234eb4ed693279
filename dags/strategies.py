"""Saves, lists and retires strategies that backtests run by id.

Saving under a name that exists makes its next version; versions never change, and every result
names the one it ran. A backtest runs one with `"strategy": {"id": 1}` in its payload, or an
older one with `"version"` beside it.
"""

# Airflow only reads files in which it finds its own name.
from candlevault.orchestration.strategies_dag import build_strategies

dag = build_strategies(__doc__)
