"""Loads a window of one series: whole past months and days from the archive, the rest by REST.

Only what is missing is fetched, batch by batch; a run that was killed goes on where it
stopped. Every batch is judged before it is published. A candle the venue never published is
recorded as known absent with its evidence; what remains lost fails the check.

Trigger it with `start` and `end` (UTC, end exclusive) or `years`; empty, it loads from the
configured start to the newest closed candle.
"""

# Airflow only reads files in which it finds its own name.
from candlevault.config import universe
from candlevault.orchestration.house import wanted
from candlevault.orchestration.series_dags import build_backfill

for dag_id, policy in wanted("backfill", universe().policies):
    globals()[dag_id] = build_backfill(dag_id, policy, __doc__)
