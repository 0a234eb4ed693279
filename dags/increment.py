"""Keeps one series up to date: every day after 02:00 UTC, by the venue's clock.

Reads the last three days again as well and replaces only what the venue has changed; the
old version of a changed candle is kept.
"""

# Airflow only reads files in which it finds its own name.
from candlevault.config import universe
from candlevault.orchestration.house import wanted
from candlevault.orchestration.series_dags import build_increment

for dag_id, policy in wanted("increment", universe().policies):
    globals()[dag_id] = build_increment(dag_id, policy, __doc__)
