"""Asks the venue, every day at 00:30 UTC, which pairs it trades and which have ended.

Active pairs against the quote asset, leveraged tokens left out; delisted ones are kept, from
the archive. Where the extended universe is enabled (include/universe.yaml) their candles are
loaded and kept up to date too.
"""

# Airflow only reads files in which it finds its own name.
from candlevault.orchestration.collective_dags import build_universe

dag = build_universe(__doc__)
