"""What the tasks of the backtest DAG do."""

from __future__ import annotations

from collections.abc import Mapping

from airflow.sdk import get_current_context

from candlevault import config
from candlevault.backtest import jobs, payload
from candlevault.backtest.trust import verification
from candlevault.errors import NotRepeated
from candlevault.ingest.load import SETTLING_MS
from candlevault.orchestration import announcing, assets, fetching, runtime
from candlevault.orchestration.run_ends import RunEnds
from candlevault.providers.registry import venue_of
from candlevault.storage import backtests

DAG_ID = "backtest"

_ENDS = RunEnds(DAG_ID, backtests.RECORDS)


def accept() -> dict[str, object]:
    """Task: open the record, check the payload; returns the payload with all defaults."""
    context = get_current_context()
    run_id = context["run_id"]
    connect = runtime.connect_by_hook()
    # Params are what Airflow validated; keys it was not told of are only in the conf.
    conf = {**context["params"], **(context["dag_run"].conf or {})}
    with runtime.task_errors(), _ENDS.told(connect, run_id, "accept"):
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
    return _ENDS.reconcile()


def gather(request: Mapping[str, object]) -> dict[str, object]:
    """Task: bring what is missing of the window; returns the payload."""
    checked = payload.parse(request)
    run_id = runtime.current_run_id()
    market = runtime.market(checked.series.venue, checked.series.market)
    with _ENDS.task(market.connect, run_id, "gather"):
        account = jobs.gather(
            market.connect,
            run_id,
            checked,
            fetching.candles_by(market),
            fetching.funding_by(market),
        )
    market.say(f"{checked.series}: {account.stored} candles, {account.absent} absent")
    return dict(request)


def execute(request: Mapping[str, object]) -> dict[str, object]:
    """Task: run and publish; returns the headline figures."""
    checked = payload.parse(request)
    run_id = runtime.current_run_id()
    market = runtime.market(checked.series.venue, checked.series.market)
    connect = market.connect
    figures = None
    with _ENDS.task(connect, run_id, "execute", completes=True):
        figures = jobs.execute(connect, run_id, checked, fetch=fetching.candles_by(market))
    if figures is None:
        # A cancel came too late: after the record had completed, before the task knew.
        figures = backtests.summary(connect, run_id)
    announcing.completed("backtest", assets.BACKTESTS, run_id, figures)
    return figures


def cancel() -> dict[str, object]:
    """Task: ask a running backtest to stop; returns its id and the status it had."""
    params = get_current_context()["params"]
    connect = runtime.connect_by_hook()
    with runtime.task_errors():
        status = backtests.request_cancel(connect, params["backtest_id"])
    runtime.say(f"backtest {params['backtest_id']} ({status}) is asked to stop")
    return {"backtest_id": params["backtest_id"], "status": status}


def verify() -> list[dict[str, object]]:
    """Task: run stored backtests again and compare; fails when one came out different."""
    params = get_current_context()["params"]
    connect = runtime.connect_by_hook()
    with runtime.task_errors():
        chosen = [params["backtest_id"]] if params["backtest_id"] else backtests.newest(
            connect, params["newest"]
        )
        verdicts = []
        for backtest_id in chosen:
            verdict = verification.verify(connect, backtest_id)
            changed = [f"{name} {was} then, {now} now"
                       for name, (was, now) in verdict.versions.items()]
            details = "; ".join([*verdict.differences, *changed]) or "nothing differs"
            runtime.say(f"backtest {backtest_id}: {verdict.verdict} ({details})")
            verdicts.append(verdict)
        if any(one.verdict == verification.DIFFERENT for one in verdicts):
            raise NotRepeated(verification.summary(verdicts))
        runtime.say(verification.summary(verdicts))
    return [one.as_dict() for one in verdicts]


def end_failed_run(run_id: str) -> None:
    """Outside a task: end the record of a failed run, if nothing ended it before."""
    _ENDS.end_failed_run(run_id)
