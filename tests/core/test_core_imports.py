"""The core knows nothing of Airflow, FastAPI, Great Expectations, databases or networks."""

from __future__ import annotations

import subprocess
import sys

import pytest

from candlevault import paths

CORE = (
    "errors", "timeframe", "windows", "series", "instruments", "provenance", "candles", "config",
    "paths", "decimals", "identities", "leveraged",
)  # fmt: skip
BLOCKED = ("airflow", "fastapi", "great_expectations", "psycopg", "httpx", "pandas")
IMPORT = """
import importlib, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ImportError("blocked: " + name)

sys.meta_path.insert(0, Blocked())
sys.path.insert(0, {plugins!r})
importlib.import_module("candlevault.{module}")
print(*sorted(m for m in sys.modules if m.startswith("candlevault.")))
"""


def run(module: str) -> subprocess.CompletedProcess[str]:
    code = IMPORT.format(blocked=BLOCKED, plugins=str(paths.PLUGINS), module=module)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("module", CORE)
def test_core_module_is_imported_with_frameworks_blocked(module):
    done = run(module)
    assert done.returncode == 0, done.stderr
    loaded = {name.removeprefix("candlevault.") for name in done.stdout.split()}
    assert module in loaded
    assert loaded <= set(CORE)


def test_block_really_blocks():
    done = run("storage.database")
    assert done.returncode != 0
    assert "blocked: psycopg" in done.stderr
