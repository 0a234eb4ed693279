"""Loads symbols of any class of assets from the first provider that delivers.

Each provider's candles are stored as its own venue's series, never mixed. One without its key
is skipped, one that fails is passed over; the log says why. Keys are the passwords of the
Airflow Connections candlevault_polygon, candlevault_coingecko, candlevault_alphavantage and
candlevault_oanda.
"""

# Airflow only reads files in which it finds its own name.
from candlevault.orchestration.collective_dags import build_load_by_priority

dag = build_load_by_priority(__doc__)
