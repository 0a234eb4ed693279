"""Ends, every five minutes, the records of backtests and sweeps whose run is over but was killed or
cancelled before it could end its record itself. Without this a record could stay `running`
for ever.
"""

# Airflow only reads files in which it finds its own name.
from candlevault.orchestration.backtest_dag import build_reconcile

dag = build_reconcile(__doc__)
