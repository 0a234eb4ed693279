"""What the trigger forms of `backtest` and `sweep` tell, and that making them runs nothing."""

from __future__ import annotations

import subprocess

import pytest

from candlevault.backtest.payload import properties
from candlevault.backtest.strategies import registry
from candlevault.backtest.user_strategies import catalog
from candlevault.orchestration import backtest_dag, sweep_dag
from tests.support.user_strategies import text, write


def explained(form: dict, name: str) -> str:
    """What Airflow's form shows below a field."""
    # It shows the Markdown only where there is no plain description.
    assert form[name].description is None, name
    return form[name].schema["description_md"]


def row(table: str, field: str) -> list[str]:
    (line,) = (line for line in table.splitlines() if line.startswith(f"| `{field}` |"))
    return [cell.strip() for cell in line.split("|")[1:-1]]


def test_every_setting_of_every_strategy_is_in_both_forms():
    for form, name in ((backtest_dag.form(), "strategy"), (sweep_dag.form(), "backtest")):
        shown = explained(form, name)
        for strategy in registry.builtin().values():
            own = shown.split(f"| **`{strategy.name}`** |")[1].split("| **")[0]
            assert strategy.params_schema["description"] in own
            for parameter in strategy.parameters:
                _, kind, default, span, meaning = row(own, parameter.name)
                assert (kind, default) == (parameter.kind, str(parameter.default))
                assert span == f"{parameter.minimum:,} to {parameter.maximum:,}".replace(".0", "")
                assert meaning == parameter.description


def test_every_nested_field_is_in_the_form():
    form = backtest_dag.form()
    for name in ("entry", "risk", "intrabar", "data"):
        shown = explained(form, name)
        for field, schema in properties()[name]["properties"].items():
            assert row(shown, field)[4] == schema["description"]
    sizing = explained(form, "risk")
    assert row(sizing, "sizing.cap")[1:4] == ["number", "0.25", "above 0, at most 1"]
    sweep = sweep_dag.form()
    assert row(explained(sweep, "search"), "params.*.step")[2] == "1"
    assert row(explained(sweep, "walk_forward"), "in_sample_days")[2] == "required"


def test_plain_fields_keep_their_description_and_their_limits():
    form = backtest_dag.form()
    rate = form["fee_rate"]
    assert rate.description == properties()["fee_rate"]["description"]
    assert (rate.value, rate.schema["minimum"], rate.schema["exclusiveMaximum"]) == (0.001, 0, 1)
    assert form["symbol"].schema["examples"] == ["BTCUSDT", "BTC"]


def test_a_list_is_free_to_hold_what_no_example_names():
    # Airflow takes the examples of a list for all there is to choose from.
    assert "examples" not in backtest_dag.form()["also"].schema


@pytest.fixture
def own_strategies(tmp_path, monkeypatch):
    monkeypatch.setenv("CANDLEVAULT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CANDLEVAULT_STRATEGIES", str(tmp_path))
    monkeypatch.setattr(catalog, "_known", {})
    return tmp_path


def test_a_file_that_never_ends_does_not_hold_up_the_parsing_of_dags(own_strategies, monkeypatch):
    write(own_strategies, "endless", text(name="endless", top="while True: pass"))
    started = []

    def refuse(*arguments, **_):
        started.append(arguments)
        raise OSError("no process today")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    for form in (backtest_dag.form(), sweep_dag.form()):
        assert "endless" not in str(form)
    assert started == []


def test_a_file_that_was_read_before_is_in_the_form(own_strategies, monkeypatch):
    parameters = 'Parameter("my_bars", "integer", 3, 1, 9, "Bars of mine."),'
    write(own_strategies, "mine", text(name="mine", parameters=parameters))
    assert "my_bars" not in explained(backtest_dag.form(), "strategy")
    registry.get("mine")
    monkeypatch.setattr(catalog, "_known", {})
    shown = explained(backtest_dag.form(), "strategy")
    assert row(shown, "my_bars") == ["`my_bars`", "integer", "3", "1 to 9", "Bars of mine."]
    # Airflow leaves the name to the first task, which knows why one cannot run.
    form = backtest_dag.form()["strategy"]
    assert form.resolve({"name": "anything"}) == {"name": "anything"}
