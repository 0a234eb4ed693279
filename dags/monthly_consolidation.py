"""Certifies the month before: on the 2nd at 05:00 UTC, for every stored series.

What is lost is filled, everything is checked, and the verdict is kept in
`market.series_months`. A month that was certified and has not changed since is left alone.
Fails if a month cannot be certified, naming the checks that do not hold.
"""

# Airflow only reads files in which it finds its own name.
from candlevault.orchestration.scrutiny_dags import build_consolidation

dag = build_consolidation(__doc__)
