"""Finds and fills the gaps of one series: every Sunday after 03:00 UTC, the last 90 days.

Known absences inside the series' life are examined again; one that the venue publishes by
now is withdrawn and filled. Every gap and what became of it is in the gap log.
"""

# Airflow only reads files in which it finds its own name.
from candlevault.config import universe
from candlevault.orchestration.house import wanted
from candlevault.orchestration.series_dags import build_gap_fill

for dag_id, policy in wanted("gap_fill", universe().policies):
    globals()[dag_id] = build_gap_fill(dag_id, policy, __doc__)
