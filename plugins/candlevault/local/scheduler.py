"""`python -m candlevault.local.scheduler`: Airflow's scheduler with warm workers.

The scheduler forks the workers that run tasks. What it has imported by then, no task has
to import again: Great Expectations alone takes several seconds in a cold task. The
imports run while the API server starts, so they cost no time.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import time

PRELOADED = ("pandas", "pyarrow", "great_expectations", "psycopg", "requests")
"""Third-party libraries only: the project's own code is read afresh by every task."""

PATIENCE_SECONDS = 180.0


def main() -> None:
    """Import the heavy libraries, wait for the API server, then become the scheduler."""
    for name in PRELOADED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)

    from candlevault.local.services import Health

    # A task that starts before the API server answers fails.
    health = Health(os.environ["AIRFLOW__API__BASE_URL"])
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not health.serves_tasks() and time.monotonic() < deadline:
        time.sleep(0.2)

    from airflow.__main__ import main as airflow

    sys.argv = ["airflow", "scheduler", "--skip-serve-logs"]
    airflow()


if __name__ == "__main__":
    main()
