"""Looks for rewritten history: every Monday at 05:00 UTC, the archive's listings.

A file whose ETag is not that of the version last compared is loaded again. Where it differs
from what is stored, REST decides, then the daily file; what changes is published as a
correction, and who was wrong is recorded in `market.discrepancies`.
"""

# Airflow only reads files in which it finds its own name.
from candlevault.orchestration.scrutiny_dags import build_restatement_radar

dag = build_restatement_radar(__doc__)
