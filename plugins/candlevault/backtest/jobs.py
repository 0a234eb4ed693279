"""A backtest from payload to stored result, in three steps that can each be repeated.

`accept` checks the payload, `gather` brings the candles, `execute` runs and publishes. A
step that fails ends the record with a message before it raises.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

from candlevault.backtest import outcomes, saved
from candlevault.backtest import payload as payloads
from candlevault.backtest.data import gate
from candlevault.backtest.data.gate import Fetch
from candlevault.backtest.data.preparation import prepare
from candlevault.backtest.data.reading import Gathered
from candlevault.backtest.ending import telling
from candlevault.providers.contract import Venue
from candlevault.series import Series
from candlevault.storage import backtests
from candlevault.storage.database import Connect
from candlevault.storage.storable import refuse_unstorable
from candlevault.timeframe import from_ms
from candlevault.windows import Window


def accept(
    connect: Connect,
    venue_of: Callable[[str, str], Venue],
    dag_run_id: str,
    conf: Mapping[str, object],
    *,
    default_venue: str,
    settling_ms: int = 0,
) -> payloads.BacktestRequest:
    """Open the record of a DAG run and check its payload.

    The window is held against the venue's clock, less `settling_ms`, every symbol against its
    list, and the id of a saved strategy against the store. Raises InvalidRequest after the
    record was ended as failed, naming the field.
    """
    backtests.open_record(connect, dag_run_id, conf)
    with _telling(connect, dag_run_id, "accept"):
        refuse_unstorable(conf)
        # What can be seen without the venue is refused without asking it.
        find_saved = saved.finder(connect)
        request = payloads.parse(conf, default_venue=default_venue, find_saved=find_saved)
        venue = venue_of(request.series.venue, request.series.market)
        now = from_ms(venue.server_time_ms() - settling_ms)
        request = payloads.parse(conf, now=now, default_venue=default_venue, find_saved=find_saved)
        gate.refuse_impossible(connect, venue, request)
    backtests.describe(
        connect,
        dag_run_id,
        payloads.canonical(request),
        request.window,
    )
    return request


def gather(
    connect: Connect,
    dag_run_id: str,
    request: payloads.BacktestRequest,
    fetch: Fetch,
    fetch_funding: Fetch | None = None,
) -> Gathered:
    """Make sure that every candle of the window is stored or known absent, warm-up included.

    Interior gaps count like missing ends. In market um the funding is brought too. Returns the
    account over all symbols. Raises DataMissing, naming the windows and how to load them, after
    the record was ended as failed.
    """

    def telling_of(work: Fetch) -> Fetch:
        def told(series: Series, window: Window) -> object:
            backtests.advance(connect, dag_run_id, "fetching_data")
            return work(series, window)

        return told

    with _telling(connect, dag_run_id, "gather"):
        return gate.obtain(
            connect, request, telling_of(fetch), fetch_funding and telling_of(fetch_funding)
        )


def execute(
    connect: Connect,
    dag_run_id: str,
    request: payloads.BacktestRequest,
    *,
    fetch: Fetch | None = None,
) -> dict[str, object]:
    """Run on the stored candles and publish trades, metrics and the trust report together.

    Reads one revision of each series: the current one, or the last recorded at `as_of`.
    `fetch` loads finer candles of bars in doubt. Returns the headline figures; those stored
    before, if the run had completed. Any error that no retry can mend ends the record as
    failed.
    """
    stored_before = backtests.summary(connect, dag_run_id)
    if stored_before is not None:
        return stored_before
    with _telling(connect, dag_run_id, "execute"):
        backtests.advance(connect, dag_run_id, "running")
        prepared = prepare(connect, request, fetch=fetch)
        outcome = outcomes.produce(connect, request, prepared)
        backtest_id = backtests.complete(connect, dag_run_id, outcome)
    return {
        "backtest_id": backtest_id,
        "result_hash": outcome.result_hash,
        "data_fingerprint": outcome.data_fingerprint,
        **outcome.metrics,
    }


def _telling(connect: Connect, dag_run_id: str, step: str) -> AbstractContextManager[None]:
    return telling(backtests.RECORDS, connect, dag_run_id, step)
