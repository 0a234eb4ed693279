"""The sweep DAG: check the payload, bring the candles, run the points in batches, conclude."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param, task

from candlevault.backtest.search.schema import REQUIRED, properties
from candlevault.orchestration import assets, house, payload_form

_SHOWN = ("type", "enum", "title", "description", "examples")


def form() -> dict[str, Param]:
    """The fields of the trigger form, from the payload's JSON schema.

    What lies inside the fields is explained, but left to the first task: its message names the
    nearest known key and stays in the failed record. No file of the user's is executed.
    """
    return {
        name: payload_form.field(
            schema,
            {word: schema[word] for word in _SHOWN if word in schema},
            required=name in REQUIRED,
            # The form of the DAG `backtest` explains the fields inside its fields.
            deep=name != "backtest",
        )
        for name, schema in properties().items()
    }


def build_sweep(doc: str) -> DAG:
    """One DAG run is one sweep; its batches are mapped tasks that all workers share."""
    with house.dag(
        "sweep",
        doc,
        tags=["backtest"],
        params=form(),
        max_active_runs=2,
        task_args={
            "retries": 2,
            "retry_delay": timedelta(seconds=5),
            "max_retry_delay": timedelta(seconds=60),
        },
        on_failure_callback=_end_record,
    ) as dag:

        @task
        def accept() -> dict:
            from candlevault.orchestration import sweep_tasks

            return sweep_tasks.accept()

        @task
        def gather() -> dict:
            from candlevault.orchestration import sweep_tasks

            return sweep_tasks.gather()

        @task
        def plan() -> list[dict]:
            from candlevault.orchestration import sweep_tasks

            return sweep_tasks.plan()

        @task
        def run_batch(batch: dict) -> int:
            from candlevault.orchestration import sweep_tasks

            return sweep_tasks.run_batch(batch)

        @task(outlets=[assets.SWEEPS])
        def conclude() -> dict:
            from candlevault.orchestration import sweep_tasks

            return sweep_tasks.conclude()

        planned = plan()
        accept() >> gather() >> planned
        run_batch.expand(batch=planned) >> conclude()
    return dag


def build_cancel(doc: str) -> DAG:
    """Ask a running sweep to stop."""
    with house.dag(
        "cancel_sweep",
        doc,
        tags=["backtest"],
        params={
            "sweep_id": Param(
                type="integer",
                minimum=1,
                title="Sweep",
                description="Id of a sweep in market.sweeps.",
            )
        },
        max_active_runs=4,
        task_args={"retries": 1, "execution_timeout": timedelta(minutes=5)},
    ) as dag:

        @task
        def cancel() -> dict:
            from candlevault.orchestration import sweep_tasks

            return sweep_tasks.cancel()

        cancel()
    return dag


def _end_record(context) -> None:
    """End the record of a run that failed without having ended it (a killed process)."""
    from candlevault.orchestration import sweep_tasks

    sweep_tasks.end_failed_run(context["run_id"])
