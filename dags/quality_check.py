"""Checks stored series on request: every SQL test and the month suite over the last days.

Writes a row of data_quality per series and fails on any finding of severity fail.
"""

# Airflow only reads files in which it finds its own name.
from candlevault.orchestration.collective_dags import build_quality_check

dag = build_quality_check(__doc__)
