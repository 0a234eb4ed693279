"""A payload knows the strategy it names; files of the user's are executed for nothing else."""

from __future__ import annotations

import json
import subprocess
import tempfile

import pytest

from candlevault.backtest import __main__ as command
from candlevault.backtest.payload import document, parse, properties
from candlevault.backtest.search import parsing as sweeps
from candlevault.backtest.search import schema as sweep
from candlevault.backtest.strategies import registry
from candlevault.backtest.user_strategies import catalog
from candlevault.errors import InvalidRequest
from tests.support.user_strategies import text, write

PAYLOAD = {
    "symbol": "BTCUSDT",
    "timeframe": "1h",
    "start_time": "2023-01-01T00:00:00Z",
    "end_time": "2024-01-01T00:00:00Z",
}
BUILT_IN = {"name": "sma_cross", "params": {"fast": 5}}


@pytest.fixture(autouse=True)
def strategies(tmp_path, monkeypatch):
    """The user's folder: one file that nobody has read, and reading it would never end."""
    place = tmp_path / "strategies"
    place.mkdir()
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setenv("CANDLEVAULT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CANDLEVAULT_STRATEGIES", str(place))
    monkeypatch.setattr(catalog, "_known", {})
    write(place, "endless", text(name="endless", top="while True: pass"))
    return place


@pytest.fixture
def started(monkeypatch):
    """The processes that anything tried to start; none is."""
    seen = []

    def refuse(*arguments, **_):
        seen.append(arguments)
        raise OSError("no process today")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    return seen


def listed(schema: dict) -> list[str]:
    return schema["properties"]["name"]["enum"]


def test_the_schemas_execute_no_file(started):
    builtin = list(registry.builtin())
    assert listed(properties()["strategy"]) == builtin
    assert listed(document()["properties"]["strategy"]) == builtin
    assert listed(sweep.properties()["backtest"]["properties"]["strategy"]) == builtin
    assert started == []


def test_a_payload_of_a_built_in_strategy_executes_no_file(started):
    assert parse({**PAYLOAD, "strategy": BUILT_IN}).strategy.params["fast"] == 5
    backtest = {**PAYLOAD, "strategy": {"name": "sma_cross"}}
    swept = {"fast": [5, 7], "risk.stop_loss_pct": [None, 5]}
    assert len(sweeps.parse({"backtest": backtest, "search": {"params": swept}})) == 4
    assert started == []


def test_a_name_that_nothing_has_is_refused_without_executing_the_files(started):
    with pytest.raises(InvalidRequest, match="did you mean endless") as caught:
        parse({**PAYLOAD, "strategy": {"name": "endles"}})
    assert caught.value.field == "strategy.name"
    assert started == []


def test_a_file_that_is_known_to_be_broken_is_not_among_the_names(strategies):
    (strategies / "endless.py").unlink()
    write(strategies, "broken", "1 / 0")
    assert list(registry.broken()) == ["broken"]
    with pytest.raises(InvalidRequest, match="must be one of") as caught:
        registry.get("brokn")
    assert "broken" not in caught.value.rule


def test_a_payload_executes_the_file_that_it_names_and_no_other(strategies, monkeypatch):
    (strategies / "endless.py").rename(strategies / "later.py")
    write(
        strategies, "mine", text(name="mine", parameters='Parameter("bars", "integer", 3, 1, 9),')
    )
    request = parse({**PAYLOAD, "strategy": {"name": "mine"}})
    assert request.strategy.params == {"bars": 3}
    # From now on its settings are known, here and in every other process.
    monkeypatch.setattr(catalog, "_known", {})
    assert [name for name in registry.described() if name not in registry.builtin()] == ["mine"]
    shown = properties()["strategy"]
    assert "mine" in listed(shown)
    (params,) = (
        rule["then"]["properties"]["params"]
        for rule in shown["allOf"]
        if rule["if"]["properties"]["name"]["const"] == "mine"
    )
    assert params["properties"]["bars"]["maximum"] == 9


def test_the_command_prints_the_schema_of_either_payload(strategies, capsys):
    (strategies / "endless.py").unlink()
    write(strategies, "mine")
    for arguments, title in (
        (["schema"], "Backtest"),
        (["schema", "backtest"], "Backtest"),
        (["schema", "sweep"], "Sweep"),
    ):
        assert command.main(arguments) == 0
        printed = json.loads(capsys.readouterr().out)
        assert printed["title"] == title
        inner = printed["properties"]
        inner = inner.get("backtest", {}).get("properties", inner)
        # Who asks by hand gets those of the user's as well.
        assert listed(inner["strategy"]) == sorted([*registry.builtin(), "mine"])
