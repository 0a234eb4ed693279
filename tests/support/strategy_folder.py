"""A folder of the user's strategies for each test, and what is known of it."""

from __future__ import annotations

import tempfile

import psutil
import pytest

from candlevault.backtest.strategies import registry
from candlevault.backtest.user_strategies import calls, catalog


@pytest.fixture(autouse=True)
def strategies(tmp_path, monkeypatch):
    """The user's folder, empty; nothing is known of any file."""
    place = tmp_path / "strategies"
    place.mkdir()
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setenv("CANDLEVAULT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CANDLEVAULT_STRATEGIES", str(place))
    monkeypatch.setattr(catalog, "_known", {})
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    yield place
    assert {child.pid for child in psutil.Process().children(recursive=True)} == before
    assert list(temporary.glob("candlevault-strategy-*")) == []


@pytest.fixture
def started(monkeypatch):
    """The files that were executed, one entry each time."""
    seen = []
    describe = calls.describe

    def counted(file, limits):
        seen.append(file.name)
        return describe(file, limits)

    monkeypatch.setattr(calls, "describe", counted)
    return seen


def own() -> dict:
    """The strategies that are known and not built in, by name."""
    return {name: one for name, one in registry.known().items() if name not in registry.builtin()}
