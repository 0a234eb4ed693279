"""Imports point inward: the arrows between the rooms of the library, read from the code."""

from __future__ import annotations

import ast
from pathlib import Path

from candlevault import paths

ROOT = paths.PLUGINS / "candlevault"
ALLOWED = {
    "core": set(),
    "providers": set(),
    "storage": set(),
    "quality": {"storage"},
    "ingest": {"providers", "storage", "quality"},
    "backtest": {"providers", "storage"},
    "orchestration": {"providers", "storage", "quality", "ingest", "backtest"},
    "simulator": set(),
    "local": {"storage"},
    "export": {"storage"},
}
"""What each room may import besides itself and the core."""

AIRFLOW_ROOMS = {"orchestration", "local"}


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and (ROOT / parts[1]).is_dir() else "core"


def imports_of(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def test_every_import_follows_an_arrow_of_the_house():
    wrong = []
    for file in sorted(ROOT.rglob("*.py")):
        relative = file.relative_to(ROOT)
        room = relative.parts[0] if len(relative.parts) > 1 else "core"
        for name in imports_of(file):
            if name.startswith("candlevault."):
                target = room_of(name)
                if target not in {room, "core"} and target not in ALLOWED[room]:
                    wrong.append(f"{relative}: {name}")
    assert wrong == []


def test_airflow_is_imported_only_where_it_is_met():
    wrong = [
        f"{file.relative_to(ROOT)}: {name}"
        for file in ROOT.rglob("*.py")
        if file.relative_to(ROOT).parts[0] not in AIRFLOW_ROOMS
        for name in imports_of(file)
        if name.split(".")[0] == "airflow"
    ]
    assert wrong == []


def test_nothing_but_the_bridge_imports_great_expectations():
    users = {
        str(file.relative_to(ROOT))
        for file in ROOT.rglob("*.py")
        for name in imports_of(file)
        if name.split(".")[0] == "great_expectations"
    }
    assert users == {"quality/suites.py"}
