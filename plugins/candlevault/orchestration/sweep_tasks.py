"""What the tasks of the sweep DAG do. All of them find the record by the DAG run's id."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict

from airflow.sdk import get_current_context

from candlevault import config
from candlevault.backtest.search import concluding, jobs
from candlevault.errors import CandlevaultError
from candlevault.ingest import funding, syncs
from candlevault.ingest.load import SETTLING_MS
from candlevault.orchestration import announcing, assets, cancelling, runtime
from candlevault.providers.registry import venue_of
from candlevault.series import Series
from candlevault.storage import sweeps
from candlevault.storage.backtests import Failure
from candlevault.storage.database import Connect, connector_from_environment
from candlevault.windows import Window

DAG_ID = "sweep"


def accept() -> dict[str, object]:
    """Task: open the record, check the payload; returns how many points there are."""
    context = get_current_context()
    # Params are what Airflow validated; keys it was not told of are only in the conf.
    conf = {**context["params"], **(context["dag_run"].conf or {})}
    connect, run_id = runtime.connect_by_hook(), context["run_id"]
    with runtime.task_errors(), _ended_with_word(connect, run_id):
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
    with _task(connect, run_id):
        series = jobs.opened(connect, run_id)[1].backtest.series
        market = runtime.market(series.venue, series.market)

        def fetch(wanted: Series, window: Window) -> object:
            runtime.say(f"{wanted}: candles of {window} are missing; loading them first")
            return syncs.load(market, wanted, window, purpose="backtest")

        def fetch_funding(wanted: Series, window: Window) -> object:
            runtime.say(f"{wanted}: funding of {window} is missing; loading it first")
            return funding.load(market, wanted, window)

        account = jobs.gather(connect, run_id, fetch, fetch_funding)
    return {"stored": account.stored, "absent": account.absent}


def plan() -> list[dict[str, int]]:
    """Task: fix what all batches read; returns their numbers and ranges of points."""
    run_id = runtime.current_run_id()
    connect = runtime.connect_by_hook()
    with _task(connect, run_id):
        return [asdict(batch) for batch in jobs.plan(connect, run_id)]


def run_batch(batch: Mapping[str, int]) -> int:
    """Task: run and store the points of one batch; returns how many."""
    run_id = runtime.current_run_id()
    connect = runtime.connect_by_hook()
    with _task(connect, run_id):
        return jobs.run_batch(connect, run_id, batch["number"], say=runtime.say)


def conclude() -> dict[str, object]:
    """Task: rank the points and complete the record; returns the headline figures."""
    run_id = runtime.current_run_id()
    connect = runtime.connect_by_hook()
    with _task(connect, run_id):
        figures = concluding.conclude(connect, run_id, say=runtime.say)
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
    with runtime.task_errors():
        return sweeps.reconcile(runtime.connect_by_hook(), runtime.run_state_of(DAG_ID))


def end_failed_run(run_id: str) -> None:
    """Outside a task: end the record of a failed run, if nothing ended it before."""
    connect = connector_from_environment()
    why = Failure("the DAG run failed before the sweep was finished (see its task logs)")
    if sweeps.fail(connect, run_id, why):
        record = sweeps.get(connect, run_id)
        announcing.failed("sweep", run_id, record.sweep_id, record.message)


@contextmanager
def _task(connect: Connect, run_id: str) -> Iterator[None]:
    """Stops within seconds when the sweep is cancelled; permanent errors fail without retry."""
    state_of = runtime.run_state_of(DAG_ID)
    with (
        runtime.task_errors(),
        cancelling.cancellable(
            connect,
            lambda connection: sweeps.cancel_requested(connection, run_id),
            lambda message: sweeps.cancel(connect, run_id, message),
            lambda: state_of(run_id),
        ),
        _ended_with_word(connect, run_id),
    ):
        yield


@contextmanager
def _ended_with_word(connect: Connect, run_id: str) -> Iterator[None]:
    """Announce a sweep that failed for good; the error goes on."""
    try:
        yield
    except CandlevaultError as error:
        if not error.transient:
            record = sweeps.get(connect, run_id)
            announcing.failed("sweep", run_id, record.sweep_id if record else None, str(error))
        raise
