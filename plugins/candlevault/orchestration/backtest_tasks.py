"""What the tasks of the backtest DAG do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

from airflow.sdk import get_current_context

from candlevault import config
from candlevault.backtest import jobs, payload
from candlevault.backtest.trust import verification
from candlevault.errors import CandlevaultError, NotRepeated
from candlevault.ingest import funding, syncs
from candlevault.ingest.load import SETTLING_MS, Market
from candlevault.orchestration import announcing, assets, cancelling, runtime
from candlevault.providers.registry import venue_of
from candlevault.series import Series
from candlevault.storage import backtests
from candlevault.storage.backtests import Failure
from candlevault.storage.database import Connect, connector_from_environment
from candlevault.windows import Window

DAG_ID = "backtest"


def accept() -> dict[str, object]:
    """Task: open the record, check the payload; returns the payload with all defaults."""
    context = get_current_context()
    run_id = context["run_id"]
    connect = runtime.connect_by_hook()
    # Params are what Airflow validated; keys it was not told of are only in the conf.
    conf = {**context["params"], **(context["dag_run"].conf or {})}
    with runtime.task_errors(), _ended_with_word(connect, run_id):
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
    run_id = runtime.current_run_id()
    market = runtime.market(checked.series.venue, checked.series.market)
    with (
        runtime.task_errors(),
        _cancellable(market.connect, run_id),
        _ended_with_word(market.connect, run_id),
    ):
        account = jobs.gather(
            market.connect, run_id, checked, _fetch_by(market), _fetch_funding_by(market)
        )
    market.say(f"{checked.series}: {account.stored} candles, {account.absent} absent")
    return dict(request)


def execute(request: Mapping[str, object]) -> dict[str, object]:
    """Task: run and publish; returns the headline figures."""
    checked = payload.parse(request)
    run_id = runtime.current_run_id()
    market = runtime.market(checked.series.venue, checked.series.market)
    connect = market.connect
    with (
        runtime.task_errors(),
        _cancellable(connect, run_id),
        _ended_with_word(connect, run_id),
    ):
        figures = jobs.execute(connect, run_id, checked, fetch=_fetch_by(market))
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
            details = "; ".join(verdict.differences) or "nothing differs"
            runtime.say(f"backtest {backtest_id}: {verdict.verdict} ({details})")
            verdicts.append(verdict)
        different = [one for one in verdicts if one.verdict == verification.DIFFERENT]
        if different:
            raise NotRepeated(
                f"{len(different)} of {len(verdicts)} backtests came out different: "
                + ", ".join(str(one.backtest_id) for one in different)
            )
    return [one.as_dict() for one in verdicts]


def _fetch_by(market: Market) -> Callable[[Series, Window], object]:
    def fetch(series: Series, window: Window) -> object:
        market.say(f"{series}: candles of {window} are missing; loading them first")
        return syncs.load(market, series, window, purpose="backtest")

    return fetch


def _fetch_funding_by(market: Market) -> Callable[[Series, Window], object]:
    def fetch(series: Series, window: Window) -> object:
        market.say(f"{series}: funding of {window} is missing; loading it first")
        return funding.load(market, series, window)

    return fetch


def _cancellable(connect: Connect, run_id: str) -> AbstractContextManager[None]:
    state_of = runtime.run_state_of(DAG_ID)
    return cancelling.cancellable(
        connect,
        lambda connection: backtests.cancel_requested(connection, run_id),
        lambda message: backtests.cancel(connect, run_id, message),
        lambda: state_of(run_id),
    )


@contextmanager
def _ended_with_word(connect: Connect, run_id: str) -> Iterator[None]:
    """Announce a backtest that failed for good; the error goes on."""
    try:
        yield
    except CandlevaultError as error:
        if not error.transient:
            record = backtests.get(connect, run_id)
            number = record.backtest_id if record else None
            announcing.failed("backtest", run_id, number, str(error))
        raise


def end_failed_run(run_id: str) -> None:
    """Outside a task: end the record of a failed run, if nothing ended it before."""
    connect = connector_from_environment()
    why = Failure("the DAG run failed before the backtest was finished (see its task logs)")
    if backtests.fail(connect, run_id, why):
        record = backtests.get(connect, run_id)
        announcing.failed("backtest", run_id, record.backtest_id, record.message)
