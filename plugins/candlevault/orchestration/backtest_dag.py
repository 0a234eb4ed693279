"""The backtest DAG: check the payload, bring the candles, run, publish."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param, task

from candlevault import config
from candlevault.backtest.payload import REQUIRED, outline, properties
from candlevault.orchestration import assets, house, payload_form


def form() -> dict[str, Param]:
    """The fields of the trigger form, from the payload's JSON schema.

    It explains the built-in strategies, and those of the user's that were read before: no file
    is executed while DAGs are parsed. Unknown keys, strategies and their settings are left to
    the first task: its message names the nearest known one and stays in the failed record.
    """
    checked = outline()["properties"]
    del checked["strategy"]["anyOf"], checked["strategy"]["allOf"]
    checked["venue"]["default"] = config.setting("CANDLEVAULT_VENUE")
    return {
        name: payload_form.field(schema, _open(checked[name]), required=name in REQUIRED)
        for name, schema in properties().items()
    }


def _open(schema):
    """The schema without what only our own checker reads or says better."""
    if isinstance(schema, list):
        return [_open(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    left_out = ("x-rule", "additionalProperties")
    return {key: _open(value) for key, value in schema.items() if key not in left_out}


def build_backtest(doc: str) -> DAG:
    """One DAG run is one backtest."""
    with house.dag(
        "backtest",
        doc,
        tags=["backtest"],
        params=form(),
        max_active_runs=8,
        task_args={
            "retries": 2,
            "retry_delay": timedelta(seconds=5),
            "max_retry_delay": timedelta(seconds=60),
            "execution_timeout": timedelta(hours=2),
        },
        on_failure_callback=_end_record,
    ) as dag:

        @task
        def accept() -> dict:
            from candlevault.orchestration import backtest_tasks

            return backtest_tasks.accept()

        @task
        def gather(request: dict) -> dict:
            from candlevault.orchestration import backtest_tasks

            return backtest_tasks.gather(request)

        @task(outlets=[assets.BACKTESTS])
        def execute(request: dict) -> dict:
            from candlevault.orchestration import backtest_tasks

            return backtest_tasks.execute(request)

        execute(gather(accept()))
    return dag


def build_cancel(doc: str) -> DAG:
    """Ask a running backtest to stop."""
    with house.dag(
        "cancel_backtest",
        doc,
        tags=["backtest"],
        params={"backtest_id": _backtest_id(required=True)},
        max_active_runs=4,
        task_args={"retries": 1, "execution_timeout": timedelta(minutes=5)},
    ) as dag:

        @task
        def cancel() -> dict:
            from candlevault.orchestration import backtest_tasks

            return backtest_tasks.cancel()

        cancel()
    return dag


def build_verify(doc: str) -> DAG:
    """Run stored backtests again and compare them byte by byte."""
    with house.dag(
        "verify_backtests",
        doc,
        tags=["backtest"],
        params={
            "backtest_id": _backtest_id(required=False),
            "newest": Param(
                10,
                type="integer",
                minimum=1,
                maximum=10_000,
                title="Newest",
                description="Without an id: so many of the backtests that completed last.",
            ),
        },
        task_args={"retries": 1, "execution_timeout": timedelta(hours=2)},
    ) as dag:

        @task
        def verify() -> list[dict]:
            from candlevault.orchestration import backtest_tasks

            return backtest_tasks.verify()

        verify()
    return dag


def _backtest_id(*, required: bool) -> Param:
    words = {"title": "Backtest", "description": "Id of a backtest in market.backtests."}
    if required:
        return Param(type="integer", minimum=1, **words)
    return Param(None, type=["null", "integer"], minimum=1, **words)


def build_reconcile(doc: str) -> DAG:
    """Every five minutes: no record of a backtest or a sweep stays open whose run is over."""
    with house.dag(
        "reconcile_backtests",
        doc,
        tags=["backtest"],
        schedule="*/5 * * * *",
        task_args={"retries": 1, "execution_timeout": timedelta(minutes=4)},
    ) as dag:

        @task
        def reconcile() -> list[str]:
            from candlevault.orchestration import backtest_tasks

            return backtest_tasks.reconcile()

        @task
        def reconcile_sweeps() -> list[str]:
            from candlevault.orchestration import sweep_tasks

            return sweep_tasks.reconcile()

        reconcile()
        reconcile_sweeps()
    return dag


def _end_record(context) -> None:
    """End the record of a run that failed without having ended it (a killed process)."""
    from candlevault.orchestration import backtest_tasks

    backtest_tasks.end_failed_run(context["run_id"])
