"""Asks a running sweep to stop; it ends as `cancelled` within seconds.

Batches that were stored stay; nothing of those that were running does. Ending the DAG run
itself in Airflow (mark as failed) does the same; between two tasks the record follows with the
next reconciling, within five minutes.
"""

# Airflow only reads files in which it finds its own name.
from candlevault.orchestration.sweep_dag import build_cancel

dag = build_cancel(__doc__)
