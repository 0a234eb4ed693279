"""Holds stored candles against second sources: every Saturday at 06:00 UTC.

Each source's candles are stored as its own series and compared by open time; what is further
apart than the tolerance is recorded in `market.discrepancies`. Nothing is changed by it. A
source without its key is skipped, and the log says which Airflow Connection it wants.
"""

# Airflow only reads files in which it finds its own name.
from candlevault.config import universe
from candlevault.orchestration.scrutiny_dags import build_cross_validation

dag = build_cross_validation(universe(), __doc__)
