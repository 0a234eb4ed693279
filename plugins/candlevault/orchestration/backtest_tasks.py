"""What the tasks of the backtest DAG do."""

from __future__ import annotations

from collections.abc import Mapping

from airflow.sdk import get_current_context

from candlevault import config
from candlevault.backtest import jobs, payload
from candlevault.ingest import syncs
from candlevault.ingest.load import SETTLING_MS
from candlevault.orchestration import runtime
from candlevault.providers.registry import venue_of
from candlevault.series import Series
from candlevault.storage import backtests
from candlevault.storage.database import connector_from_environment
from candlevault.windows import Window

DAG_ID = "backtest"


def accept() -> dict[str, object]:
    """Task: open the record, check the payload; returns the payload with all defaults."""
    context = get_current_context()
    run_id = context["run_id"]
    connect = runtime.connect_by_hook()
    # Params are what Airflow validated; keys it was not told of are only in the conf.
    conf = {**context["params"], **(context["dag_run"].conf or {})}
    with runtime.task_errors():
        request = jobs.accept(
            connect,
            venue_of,
            run_id,
            conf,
            default_venue=config.setting("CANDLEVAULT_VENUE"),
            settling_ms=SETTLING_MS,
        )
    return payload.canonical(request)


def reconcile() -> list[str]:
    """Task: end the records of runs that are over; returns the ids of those runs."""
    with runtime.task_errors():
        return backtests.reconcile(runtime.connect_by_hook(), runtime.run_state_of(DAG_ID))


def gather(request: Mapping[str, object]) -> dict[str, object]:
    """Task: bring what is missing of the window; returns the payload."""
    checked = payload.parse(request)
    market = runtime.market(checked.series.venue, checked.series.market)

    def fetch(series: Series, window: Window) -> object:
        market.say(f"{series}: candles of {window} are missing; loading them first")
        return syncs.load(market, series, window, purpose="backtest")

    with runtime.task_errors():
        account = jobs.gather(market.connect, runtime.current_run_id(), checked, fetch)
    market.say(f"{checked.series}: {account.stored} candles, {account.absent} absent")
    return dict(request)


def execute(request: Mapping[str, object]) -> dict[str, object]:
    """Task: run and publish; returns the headline figures."""
    with runtime.task_errors():
        return jobs.execute(
            runtime.connect_by_hook(), runtime.current_run_id(), payload.parse(request)
        )


def end_failed_run(run_id: str) -> None:
    """Outside a task: end the record of a failed run, if nothing ended it before."""
    backtests.fail(
        connector_from_environment(),
        run_id,
        "the DAG run failed before the backtest was finished (see its task logs)",
    )
