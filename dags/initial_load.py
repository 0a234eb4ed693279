"""Loads many series at once: daily candles of all symbols first, then the finer ones of the
first 20 symbols, then the rest; at the end every series is checked and filled once more.

One symbol's failure never stops the others; it fails the run at its end. The plan's log
says how many candles and megabytes the chosen window takes at most.
"""

# Airflow only reads files in which it finds its own name.
from candlevault.config import universe
from candlevault.orchestration.collective_dags import build_initial_load

dag = build_initial_load(universe(), __doc__)
