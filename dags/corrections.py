"""Corrects stored candles from a CSV, or by reading a window again from the venue.

A correction is validated as a whole, applied only where it differs, and logged in
`market.corrections`; a file that breaks any rule changes nothing. The old versions stay
readable as of their time. The second task names the stored backtests that have read a
candle that changed now.

A CSV needs the columns open_time, open, high, low, close and volume; put it into the inbox
folder and name it, or paste its text.
"""

# Airflow only reads files in which it finds its own name.
from candlevault.orchestration.scrutiny_dags import build_corrections

dag = build_corrections(__doc__)
