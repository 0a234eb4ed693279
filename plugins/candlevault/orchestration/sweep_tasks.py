"""What the tasks of the sweep DAG do. All of them find the record by the DAG run's id."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from airflow.sdk import get_current_context

from candlevault import config
from candlevault.backtest.search import concluding, jobs
from candlevault.ingest.load import SETTLING_MS
from candlevault.orchestration import announcing, assets, fetching, runtime
from candlevault.orchestration.run_ends import RunEnds
from candlevault.providers.registry import venue_of
from candlevault.storage import sweeps

DAG_ID = "sweep"

_ENDS = RunEnds(DAG_ID, sweeps.RECORDS)


def accept() -> dict[str, object]:
    """Task: open the record, check the payload; returns how many points there are."""
    context = get_current_context()
    # Params are what Airflow validated; keys it was not told of are only in the conf.
    conf = {**context["params"], **(context["dag_run"].conf or {})}
    connect, run_id = runtime.connect_by_hook(), context["run_id"]
    with runtime.task_errors(), _ENDS.told(connect, run_id, "accept"):
        request = jobs.accept(
            connect,
            venue_of,
            run_id,
            conf,
            default_venue=config.setting("CANDLEVAULT_VENUE"),
            settling_ms=SETTLING_MS,
        )
    left_out = request.combinations.left_out
    runtime.say(f"{len(request)} points; {left_out} combinations break a rule and are left out")
    return {"points": len(request), "left_out": left_out}


def gather() -> dict[str, object]:
    """Task: bring what is missing of the window; returns how many candles there are."""
    run_id = runtime.current_run_id()
    connect = runtime.connect_by_hook()
    with _ENDS.task(connect, run_id, "gather"):
        series = jobs.opened(connect, run_id)[1].backtest.series
        market = runtime.market(series.venue, series.market)
        account = jobs.gather(
            connect, run_id, fetching.candles_by(market), fetching.funding_by(market)
        )
    return {"stored": account.stored, "absent": account.absent}


def plan() -> list[dict[str, int]]:
    """Task: fix what all batches read; returns their numbers and ranges of points."""
    run_id = runtime.current_run_id()
    connect = runtime.connect_by_hook()
    with _ENDS.task(connect, run_id, "plan"):
        return [asdict(batch) for batch in jobs.plan(connect, run_id)]


def run_batch(batch: Mapping[str, int]) -> int:
    """Task: run and store the points of one batch; returns how many."""
    run_id = runtime.current_run_id()
    connect = runtime.connect_by_hook()
    with _ENDS.task(connect, run_id, "run_batch", batch=batch["number"]):
        return jobs.run_batch(connect, run_id, batch["number"], say=runtime.say)


def conclude() -> dict[str, object]:
    """Task: rank the points and complete the record; returns the headline figures."""
    run_id = runtime.current_run_id()
    connect = runtime.connect_by_hook()
    figures = None
    with _ENDS.task(connect, run_id, "conclude", completes=True):
        figures = concluding.conclude(connect, run_id, say=runtime.say)
    if figures is None:
        # A cancel came too late: after the record had completed, before the task knew.
        figures = sweeps.summary(connect, run_id)
    announcing.completed("sweep", assets.SWEEPS, run_id, figures)
    return figures


def cancel() -> dict[str, object]:
    """Task: ask a running sweep to stop; returns its id and the status it had."""
    sweep_id = get_current_context()["params"]["sweep_id"]
    with runtime.task_errors():
        status = sweeps.request_cancel(runtime.connect_by_hook(), sweep_id)
    runtime.say(f"sweep {sweep_id} ({status}) is asked to stop")
    return {"sweep_id": sweep_id, "status": status}


def reconcile() -> list[str]:
    """Task: end the records of runs that are over; returns the ids of those runs."""
    return _ENDS.reconcile()


def end_failed_run(run_id: str) -> None:
    """Outside a task: end the record of a failed run, if nothing ended it before."""
    _ENDS.end_failed_run(run_id)
