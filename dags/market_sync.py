"""Keeps the active list fresh: every five minutes the last 500 candles of each symbol.

Results per symbol: status, candles_added, total_candles. One symbol's failure never stops
the others.
"""

# Airflow only reads files in which it finds its own name.
from candlevault.config import universe
from candlevault.orchestration.collective_dags import build_market_sync

dag = build_market_sync(universe(), __doc__)
