"""What holds for every DAG: it parses, it is documented, retried, bounded and findable."""

from __future__ import annotations

import ast
from datetime import timedelta

import pytest

from candlevault import paths
from candlevault.config import universe

KINDS = ("backfill", "increment", "gap_fill", "retention")
COLLECTIVE = {
    "initial_load",
    "quality_check",
    "market_sync",
    "backtest",
    "cancel_backtest",
    "cancel_sweep",
    "reconcile_backtests",
    "strategies",
    "sweep",
    "verify_backtests",
    "corrections",
    "restatement_radar",
    "monthly_consolidation",
    "cross_validation",
    "universe",
    "load_by_priority",
}


def test_no_import_errors(dag_bag):
    assert dag_bag.import_errors == {}


def test_one_dag_of_each_kind_per_configured_series_and_nothing_else(dag_bag):
    expected = {f"{kind}__{p.series.slug}" for kind in KINDS for p in universe().policies}
    assert len(universe().policies) == 60
    assert set(dag_bag.dags) == expected | COLLECTIVE


def test_every_dag_is_documented_tagged_and_owned(dag_bag):
    for dag in dag_bag.dags.values():
        assert dag.doc_md and len(dag.doc_md) > 80, dag.dag_id
        assert "candlevault" in dag.tags, dag.dag_id
        assert dag.owner == "candlevault", dag.dag_id
        assert dag.catchup is False, dag.dag_id


def test_every_task_retries_with_backoff_and_ends_some_day(dag_bag):
    for dag in dag_bag.dags.values():
        for task in dag.tasks:
            assert task.retries >= 1, (dag.dag_id, task.task_id)
            assert task.retry_exponential_backoff, (dag.dag_id, task.task_id)
            assert task.retry_delay >= timedelta(seconds=5), (dag.dag_id, task.task_id)
            assert task.execution_timeout, (dag.dag_id, task.task_id)
            assert task.pool, (dag.dag_id, task.task_id)


def test_dags_of_a_series_never_run_twice_at_once(dag_bag):
    for dag_id, dag in dag_bag.dags.items():
        if "__" in dag_id:
            assert dag.max_active_runs == 1, dag_id


@pytest.mark.parametrize(
    ("kind", "hour", "day", "weekday"),
    [("increment", "2", "*", "*"), ("gap_fill", "3", "*", "0"), ("retention", "4", "1", "*")],
)
def test_schedules_are_at_their_hour_and_staggered(dag_bag, kind, hour, day, weekday):
    minutes = set()
    for policy in universe().policies:
        schedule = dag_bag.dags[f"{kind}__{policy.series.slug}"].schedule
        minute, *rest = schedule.split()
        assert rest == [hour, day, "*", weekday]
        minutes.add(minute)
    assert len(minutes) >= 10


def test_what_questions_the_store_has_a_time_of_its_own(dag_bag):
    times = {
        "universe": "30 0 * * *",
        "restatement_radar": "0 5 * * 1",
        "monthly_consolidation": "0 5 2 * *",
        "cross_validation": "0 6 * * 6",
        "corrections": None,
        "load_by_priority": None,
    }
    assert {dag_id: dag_bag.dags[dag_id].schedule for dag_id in times} == times


def test_a_correction_tells_its_impact(dag_bag):
    dag = dag_bag.dags["corrections"]
    assert dag.task_dict["apply"].downstream_task_ids == {"impact"}


def test_loads_update_the_asset_of_their_series(dag_bag):
    dag = dag_bag.dags["backfill__BTCUSDT__1h"]
    outlets = [asset.uri for task in dag.tasks for asset in task.outlets]
    assert outlets == ["candlevault://binance/spot/BTCUSDT/1h"]
    assert dag.task_dict["load"].downstream_task_ids == {"check"}


def test_the_backtest_form_requires_what_the_payload_requires(dag_bag):
    from candlevault.backtest.payload import REQUIRED, properties

    params = dag_bag.dags["backtest"].params
    assert set(params) == set(properties())
    for name in params:
        param = params.get_param(name)
        # Airflow takes a default of null for none, and lets a field that may be null be empty.
        optional = param.has_value or "null" in param.schema["type"]
        assert optional is (name not in REQUIRED), name
        assert param.schema["title"], name
        assert param.description or param.schema["description_md"], name


def test_dag_files_are_thin_and_do_no_work_at_import():
    for file in sorted(paths.DAGS.glob("*.py")):
        tree = ast.parse(file.read_text())
        assert ast.get_docstring(tree), file.name
        assert not any(isinstance(node, ast.FunctionDef) for node in ast.walk(tree)), file.name
        imported = {
            name
            for node in ast.walk(tree)
            if isinstance(node, (ast.Import, ast.ImportFrom))
            for name in [getattr(node, "module", None) or node.names[0].name]
        }
        assert all(name.startswith("candlevault.") for name in imported), (file.name, imported)


def test_only_the_dag_asked_for_is_built(monkeypatch):
    from candlevault.orchestration import house

    class Asked:
        dag_id = "backfill__ETHUSDT__1d"

    monkeypatch.setattr(house, "get_parsing_context", lambda: Asked)
    assert [dag_id for dag_id, _ in house.wanted("backfill", universe().policies)] == [
        "backfill__ETHUSDT__1d"
    ]
    assert list(house.wanted("increment", universe().policies)) == []
