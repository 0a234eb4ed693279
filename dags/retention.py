"""Moves, on the 1st after 04:00 UTC, what is older than the policy keeps hot to the cold tier.

Nothing is deleted: a month goes to a Parquet file, which is read back and compared before its
rows leave the hot table. Every reading, coverage figure and backtest finds them there.
"""

# Airflow only reads files in which it finds its own name.
from candlevault.config import universe
from candlevault.orchestration.house import wanted
from candlevault.orchestration.series_dags import build_retention

for dag_id, policy in wanted("retention", universe().policies):
    globals()[dag_id] = build_retention(dag_id, policy, __doc__)
