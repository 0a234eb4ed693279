"""Ends, every five minutes, the records of backtests and sweeps whose run is over and did not end
them: it was killed, or ended in Airflow between two tasks. Such a record is `cancelled` when none
of the run's tasks failed, else `failed`, which is announced. Without this it could stay `running`
for ever.
"""

# Airflow only reads files in which it finds its own name.
from candlevault.orchestration.backtest_dag import build_reconcile

dag = build_reconcile(__doc__)
