"""Where things lie: the only module that does path arithmetic on the project."""

from __future__ import annotations

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
"""The checkout (or image) that holds dags/, plugins/, include/ and expectations/."""

INCLUDE = PROJECT / "include"
UNIVERSE = INCLUDE / "universe.yaml"
INSTRUMENTS = INCLUDE / "instruments.yaml"
MIGRATIONS = INCLUDE / "sql" / "migrations"
QUERIES = INCLUDE / "sql" / "queries"
SQL_TESTS = INCLUDE / "sql" / "tests"
EXPECTATIONS = PROJECT / "expectations"
DAGS = PROJECT / "dags"
PLUGINS = PROJECT / "plugins"


def home() -> Path:
    """All state of the local system: `CANDLEVAULT_HOME`, or `.candlevault` in the project."""
    return Path(os.environ.get("CANDLEVAULT_HOME") or PROJECT / ".candlevault").resolve()
