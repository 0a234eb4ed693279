"""Runs stored backtests again, on the candles as they were read, and compares every byte.

The run fails when one comes out different; its log says where. `same figures` means that only
the code's version has changed since, which is part of a result; `other version` that the candles
are the same but the engine's or the strategy's version has changed, and with it figures.
"""

# Airflow only reads files in which it finds its own name.
from candlevault.orchestration.backtest_dag import build_verify

dag = build_verify(__doc__)
