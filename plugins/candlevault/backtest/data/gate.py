"""The gate before a run: what the venue knows, and whether every candle is there.

Interior gaps count like missing ends. What is missing is loaded; if it stays missing, nothing
runs, and the error names the windows and how to load them.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from candlevault import candles, windows
from candlevault.backtest.data import reading
from candlevault.backtest.data.reading import Gathered
from candlevault.backtest.payload import BacktestRequest
from candlevault.errors import DataMissing, InvalidRequest, UnknownSymbol
from candlevault.providers.contract import Venue
from candlevault.series import Series
from candlevault.storage import candle_reads, series_registry
from candlevault.storage.database import Connect
from candlevault.windows import Window

Fetch = Callable[[Series, Window], object]
"""Loads what is missing of a window of a series; waits for others who load it."""


def database_now(connect: Connect) -> datetime:
    """The clock that says when candles were recorded, aware UTC."""
    with connect() as connection:
        return connection.execute("SELECT clock_timestamp()").fetchone()[0]


def refuse_impossible(connect: Connect, venue: Venue, request: BacktestRequest) -> None:
    """Raise InvalidRequest for a future `as_of`, symbols that the venue does not know, and a
    window over two instruments where that was not asked for."""
    as_of = request.data.as_of
    if as_of is not None and as_of > database_now(connect):
        raise InvalidRequest("data.as_of", "must not lie in the future", as_of.isoformat())
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
    reading.refuse_crossing(connect, request)


def obtain(
    connect: Connect,
    request: BacktestRequest,
    fetch: Fetch,
    fetch_funding: Fetch | None = None,
) -> Gathered:
    """Make sure that every candle of the window is stored or known absent, warm-up included.

    Returns the account over all symbols. `fetch` is called where candles are lost, and
    `fetch_funding` where positions pay funding that was never loaded. Raises DataMissing when
    candles stay lost, and InvalidRequest on `data.as_of` when they are here now, but were not
    recorded by then.
    """
    accounts = [
        _obtained(connect, series, window, fetch, needed=needed)
        for series, window, needed in _read_windows(request)
    ]
    _refuse_earlier_than_recorded(connect, request)
    if request.is_funded and fetch_funding is not None:
        found, _ = reading.read_funding(connect, request, reading.Revisions())
        for series, one in zip(request.all_series, found, strict=True):
            for window in one.missing:
                fetch_funding(series, window)
    # Only now is it known for sure when the instruments lived.
    reading.refuse_crossing(connect, request)
    return Gathered(sum(one.stored for one in accounts), sum(one.absent for one in accounts), 0, [])


def _read_windows(request: BacktestRequest) -> list[tuple[Series, Window, bool]]:
    """What a run reads: the windows of each series, and whether one must hold a candle."""
    found: list[tuple[Series, Window, bool]] = []
    for series in request.all_series:
        warm_up = reading.warm_up_of(request, series)
        if warm_up is not None:
            found.append((series, warm_up, False))
        found.append((series, reading.grid_of(request, series), True))
    return found


def _obtained(
    connect: Connect, series: Series, window: Window, fetch: Fetch, *, needed: bool
) -> Gathered:
    account = reading.gathered(connect, series, window)
    if account.lost:
        fetch(series, window)
        account = reading.gathered(connect, series, window)
    if account.lost:
        raise DataMissing(_missing(series, account))
    if needed and not account.stored:
        raise DataMissing(f"{series}: the venue published no candle in {window}")
    return account


def _missing(series: Series, account: Gathered) -> str:
    lost, count = account.lost_windows, account.lost
    shown = ", ".join(str(window) for window in lost[:5]) + (", …" if len(lost) > 5 else "")
    start, end = lost[0].start, lost[-1].end
    return (
        f"{series}: {count} candles are not obtainable now: {shown}. Load them with the"
        f" DAG initial_load (symbols {series.symbol}, timeframes {series.timeframe},"
        f" start {start:%Y-%m-%dT%H:%MZ}, end {end:%Y-%m-%dT%H:%MZ}) and run again"
    )


def _refuse_earlier_than_recorded(connect: Connect, request: BacktestRequest) -> None:
    """Raise InvalidRequest when what is read was not complete at `as_of`: loading it, again or
    at all, changes nothing about what was known then."""
    as_of = request.data.as_of
    if as_of is None:
        return
    later = _recorded_after(connect, request, as_of)
    if (
        not later
        or _complete(connect, request, as_of)
        or not _complete(connect, request, later[-1])
    ):
        return
    # It was not complete at the time before `low`, and is at that of `high`.
    low, high = 0, len(later) - 1
    while low < high:
        middle = (low + high) // 2
        if _complete(connect, request, later[middle]):
            high = middle
        else:
            low = middle + 1
    earliest = later[high].isoformat().replace("+00:00", "Z")
    raise InvalidRequest(
        "data.as_of",
        f"lies before the candles of the window were recorded: they are complete as of {earliest}",
        as_of.isoformat().replace("+00:00", "Z"),
    )


def _recorded_after(connect: Connect, request: BacktestRequest, as_of: datetime) -> list[datetime]:
    """When series of the request were changed after `as_of`, ascending."""
    with connect() as connection:
        changed = [
            stored.series_id
            for series in request.all_series
            for stored in series_registry.lives(connection, series)
            if candle_reads.revision_at(connection, stored, as_of)
            < candle_reads.current_revision(connection, stored)
        ]
        rows = connection.execute(
            "SELECT DISTINCT recorded_at FROM market.series_revisions"
            " WHERE series_id = ANY(%s) AND recorded_at > %s ORDER BY recorded_at",
            (changed, as_of),
        ).fetchall()
    return [row[0] for row in rows]


def _complete(connect: Connect, request: BacktestRequest, as_of: datetime) -> bool:
    """Whether every candle that is read was stored or known absent at `as_of`."""
    for series, window, needed in _read_windows(request):
        one = reading.read(connect, series, window, reading.Revisions(as_of))
        absent = [absence.window for absence in one.absences]
        account = windows.account(window, series.timeframe, candles.open_times(one.table), absent)
        if len(account.lost) or (needed and not len(account.stored)):
            return False
    return True
