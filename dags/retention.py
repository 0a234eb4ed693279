"""Reports, on the 1st after 04:00 UTC, which candles are older than the policy keeps hot.

Nothing is deleted: without a cold tier, deleting would cost coverage and old backtests.
"""

# Airflow only reads files in which it finds its own name.
from candlevault.config import universe
from candlevault.orchestration.house import wanted
from candlevault.orchestration.series_dags import build_retention

for dag_id, policy in wanted("retention", universe().policies):
    globals()[dag_id] = build_retention(dag_id, policy, __doc__)
