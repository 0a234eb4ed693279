"""Runs stored backtests again, on the candles as they were read, and compares every byte.

The run fails when one comes out different; its log says where. `same figures` means that only
the code's version has changed since, which is part of a result.
"""

# Airflow only reads files in which it finds its own name.
from candlevault.orchestration.backtest_dag import build_verify

dag = build_verify(__doc__)
