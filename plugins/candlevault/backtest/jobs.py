"""A backtest from payload to stored result, in three steps that can each be repeated.

`accept` checks the payload, `gather` brings the candles, `execute` runs and publishes. A
step that fails ends the record with a message before it raises.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from datetime import datetime

from candlevault import decimals
from candlevault.backtest import payload as payloads
from candlevault.backtest import reading
from candlevault.backtest import result as results
from candlevault.backtest.frame import build_frame
from candlevault.backtest.reading import Gathered
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

    The window is held against the venue's clock, less `settling_ms`, and the symbol against
    its list. Raises
    InvalidRequest after the record was ended as failed, naming the field.
    """
    backtests.open_record(connect, dag_run_id, conf)
    try:
        # What can be seen without the venue is refused without asking it.
        request = payloads.parse(conf, default_venue=default_venue)
        venue = venue_of(request.series.venue, request.series.market)
        now = from_ms(venue.server_time_ms() - settling_ms)
        as_of = request.data.as_of
        if as_of is not None and as_of > _database_now(connect):
            raise InvalidRequest("data.as_of", "must not lie in the future", as_of.isoformat())
        request = payloads.parse(conf, now=now, default_venue=default_venue)
        _refuse_unknown(venue, request)
        reading.refuse_crossing(connect, request)
    except InvalidRequest as error:
        backtests.fail(connect, dag_run_id, str(error), error.field)
        raise
    except CandlevaultError as error:
        _told(connect, dag_run_id, error)
        raise
    backtests.describe(
        connect,
        dag_run_id,
        payloads.canonical(request),
        request.window,
        request.strategy.name,
    )
    return request


def gather(
    connect: Connect, dag_run_id: str, request: payloads.BacktestRequest, fetch: Fetch
) -> Gathered:
    """Make sure that every candle of the window is stored or known absent.

    Interior gaps count like missing ends. Raises DataMissing, naming the windows and how to
    load them, after the record was ended as failed.
    """
    try:
        account = reading.gathered(connect, request)
        if account.lost:
            backtests.advance(connect, dag_run_id, "fetching_data")
            fetch(request.series, request.window)
            account = reading.gathered(connect, request)
        if account.lost:
            raise DataMissing(_missing(request, account))
        if not account.stored:
            raise DataMissing(
                f"{request.series}: the venue published no candle in {request.window}"
            )
        # Only now is it known for sure when the instruments lived.
        reading.refuse_crossing(connect, request)
    except CandlevaultError as error:
        _told(connect, dag_run_id, error)
        raise
    return account


def execute(
    connect: Connect, dag_run_id: str, request: payloads.BacktestRequest
) -> dict[str, object]:
    """Run on the stored candles and publish trades and metrics together.

    Reads one revision of the series: the current one, or the last recorded at `as_of`.
    Returns the headline figures; those stored before, if the run had completed. Any error
    that no retry can mend ends the record as failed.
    """
    stored_before = backtests.summary(connect, dag_run_id)
    if stored_before is not None:
        return stored_before
    try:
        backtests.advance(connect, dag_run_id, "running")
        data = reading.read(connect, request)
        table = data.table
        columns = {
            name: table[name].to_numpy(zero_copy_only=False)
            if name == "open_time"
            else decimals.floats(table[name])
            for name in ("open_time", "open", "high", "low", "close", "volume")
        }
        frame = build_frame(
            request.series.timeframe,
            request.window,
            columns,
            absent=request.data.absent,
            absences=[absence.window for absence in data.absences],
        )
        result = results.run(request, frame, data_version=data.fingerprint)
        outcome = backtests.Outcome(
            trades=[dataclasses.asdict(trade) for trade in result.trades],
            metrics=result.metrics.as_dict(),
            versions=result.versions,
            data_summary=result.data,
            data_fingerprint=data.fingerprint,
            reads=data.reads,
            result_hash=results.result_hash(result),
        )
        backtest_id = backtests.complete(connect, dag_run_id, outcome)
    except CandlevaultError as error:
        _told(connect, dag_run_id, error)
        raise
    return {
        "backtest_id": backtest_id,
        "result_hash": outcome.result_hash,
        "data_fingerprint": data.fingerprint,
        **outcome.metrics,
    }


def _database_now(connect: Connect) -> datetime:
    """The clock that says when candles were recorded."""
    with connect() as connection:
        return connection.execute("SELECT clock_timestamp()").fetchone()[0]


def _missing(request: payloads.BacktestRequest, account: Gathered) -> str:
    lost, count = account.lost_windows, account.lost
    shown = ", ".join(str(window) for window in lost[:5]) + (", …" if len(lost) > 5 else "")
    start, end = lost[0].start, lost[-1].end
    return (
        f"{request.series}: {count} candles are not obtainable now: {shown}. Load them with the"
        f" DAG initial_load (symbols {request.series.symbol}, timeframes"
        f" {request.series.timeframe}, start {start:%Y-%m-%dT%H:%MZ}, end {end:%Y-%m-%dT%H:%MZ})"
        " and run the backtest again"
    )


def _refuse_unknown(venue: Venue, request: payloads.BacktestRequest) -> None:
    symbol = request.series.symbol
    try:
        venue.instrument(symbol)
    except UnknownSymbol:
        end_ms = venue.archive.newest_file_end_ms(request.series) if venue.archive else None
        if end_ms is None:
            raise InvalidRequest(
                "symbol", f"{request.series.venue} knows no such symbol", symbol
            ) from None


def _told(connect: Connect, dag_run_id: str, error: CandlevaultError) -> None:
    """End the record, or note what a retry has to get past."""
    tell = backtests.note if error.transient else backtests.fail
    tell(connect, dag_run_id, f"{type(error).__name__}: {error}")
