"""A backtest from payload to stored result, in three steps that can each be repeated.

`accept` checks the payload, `gather` brings the candles, `execute` runs and publishes. A
step that fails ends the record with a message before it raises.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from candlevault.backtest import advice, outcomes, saved
from candlevault.backtest import payload as payloads
from candlevault.backtest.data import reading
from candlevault.backtest.data.preparation import prepare
from candlevault.backtest.data.reading import Gathered
from candlevault.errors import CandlevaultError, DataMissing, InvalidRequest, UnknownSymbol
from candlevault.providers.contract import Venue
from candlevault.series import Series
from candlevault.storage import backtests
from candlevault.storage.database import Connect
from candlevault.timeframe import from_ms
from candlevault.windows import Window

Fetch = Callable[[Series, Window], object]
"""Loads what is missing of a window of a series; waits for others who load it."""


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
    try:
        # What can be seen without the venue is refused without asking it.
        find_saved = saved.finder(connect)
        request = payloads.parse(conf, default_venue=default_venue, find_saved=find_saved)
        venue = venue_of(request.series.venue, request.series.market)
        now = from_ms(venue.server_time_ms() - settling_ms)
        as_of = request.data.as_of
        if as_of is not None and as_of > _database_now(connect):
            raise InvalidRequest("data.as_of", "must not lie in the future", as_of.isoformat())
        request = payloads.parse(
            conf, now=now, default_venue=default_venue, find_saved=find_saved
        )
        _refuse_unknown(venue, request)
        reading.refuse_crossing(connect, request)
    except CandlevaultError as error:
        _told(connect, dag_run_id, "accept", error)
        raise
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
    try:
        accounts = [
            _gathered(connect, dag_run_id, series, window, fetch, needed=window == grid)
            for series in request.all_series
            for grid in (reading.grid_of(request, series),)
            for window in (reading.warm_up_of(request, series), grid)
            if window is not None
        ]
        if request.is_funded and fetch_funding is not None:
            _bring_funding(connect, dag_run_id, request, fetch_funding)
        # Only now is it known for sure when the instruments lived.
        reading.refuse_crossing(connect, request)
    except CandlevaultError as error:
        _told(connect, dag_run_id, "gather", error)
        raise
    return Gathered(
        sum(one.stored for one in accounts), sum(one.absent for one in accounts), 0, []
    )


def _gathered(
    connect: Connect, dag_run_id: str, series: Series, window: Window, fetch: Fetch, *, needed: bool
) -> Gathered:
    account = reading.gathered(connect, series, window)
    if account.lost:
        backtests.advance(connect, dag_run_id, "fetching_data")
        fetch(series, window)
        account = reading.gathered(connect, series, window)
    if account.lost:
        raise DataMissing(_missing(series, account))
    if needed and not account.stored:
        raise DataMissing(f"{series}: the venue published no candle in {window}")
    return account


def _bring_funding(
    connect: Connect, dag_run_id: str, request: payloads.BacktestRequest, fetch: Fetch
) -> None:
    found, _ = reading.read_funding(connect, request, reading.Revisions())
    for series, one in zip(request.all_series, found, strict=True):
        for window in one.missing:
            backtests.advance(connect, dag_run_id, "fetching_data")
            fetch(series, window)


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
    try:
        backtests.advance(connect, dag_run_id, "running")
        prepared = prepare(connect, request, fetch=fetch)
        outcome = outcomes.produce(connect, request, prepared)
        backtest_id = backtests.complete(connect, dag_run_id, outcome)
    except CandlevaultError as error:
        _told(connect, dag_run_id, "execute", error)
        raise
    return {
        "backtest_id": backtest_id,
        "result_hash": outcome.result_hash,
        "data_fingerprint": outcome.data_fingerprint,
        **outcome.metrics,
    }


def _database_now(connect: Connect) -> datetime:
    """The clock that says when candles were recorded."""
    with connect() as connection:
        return connection.execute("SELECT clock_timestamp()").fetchone()[0]


def _missing(series: Series, account: Gathered) -> str:
    lost, count = account.lost_windows, account.lost
    shown = ", ".join(str(window) for window in lost[:5]) + (", …" if len(lost) > 5 else "")
    start, end = lost[0].start, lost[-1].end
    return (
        f"{series}: {count} candles are not obtainable now: {shown}. Load them with the"
        f" DAG initial_load (symbols {series.symbol}, timeframes"
        f" {series.timeframe}, start {start:%Y-%m-%dT%H:%MZ}, end {end:%Y-%m-%dT%H:%MZ})"
        " and run the backtest again"
    )


def _refuse_unknown(venue: Venue, request: payloads.BacktestRequest) -> None:
    for position, series in enumerate(request.all_series):
        try:
            venue.instrument(series.symbol)
        except UnknownSymbol:
            end_ms = venue.archive.newest_file_end_ms(series) if venue.archive else None
            if end_ms is None:
                field = "symbol" if position == 0 else f"also[{position - 1}]"
                raise InvalidRequest(
                    field, f"{series.venue} knows no such symbol", series.symbol
                ) from None


def _told(connect: Connect, dag_run_id: str, step: str, error: CandlevaultError) -> None:
    """End the record, or note what a retry has to get past."""
    if isinstance(error, InvalidRequest):
        message, field = str(error), error.field
    else:
        message, field = f"{type(error).__name__}: {error}", None
    if error.transient:
        backtests.note(connect, dag_run_id, message)
        return
    failure = backtests.Failure(message, step, field, advice.for_error(error))
    backtests.fail(connect, dag_run_id, failure)
