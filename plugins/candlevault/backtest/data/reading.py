"""What a backtest reads: candles and absences of one instrument, or of several in a row.

A symbol that named two instruments is refused in a window over both, unless the payload
asks for it: a position held across the break would be in something that no longer exists.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import psycopg
import pyarrow as pa

from candlevault import candles, identities
from candlevault.backtest.data.funding import needed
from candlevault.backtest.payload import BacktestRequest
from candlevault.series import Series
from candlevault.storage import candle_reads, funding, series_registry
from candlevault.storage.backtests import Read, StoredResult
from candlevault.storage.candle_reads import Absence
from candlevault.storage.database import Connect
from candlevault.storage.funding import Funding
from candlevault.storage.series_registry import StoredSeries
from candlevault.windows import Window, aligned


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a window and the instrument whose it is; `stored` None: nothing kept."""

    stored: StoredSeries | None
    window: Window


@dataclass(frozen=True, slots=True)
class Gathered:
    """How much of a window is there: counts, and the windows of lost candles."""

    stored: int
    absent: int
    lost: int
    lost_windows: list[Window]


@dataclass(frozen=True, slots=True)
class Revisions:
    """Which state to read: the revisions by series id where given, else that of `as_of`, else
    the current one (`as_of` None); funding as of `funding_as_of`, else of `as_of`.

    With `only_given` nothing is read of series that are not given.
    """

    as_of: datetime | None = None
    given: Mapping[int, int] | None = None
    funding_as_of: datetime | None = None
    only_given: bool = False

    @classmethod
    def as_read(cls, stored: StoredResult, as_of: datetime | None) -> Revisions:
        """Those that a stored backtest was read at; `as_of` is that of its payload."""
        paid_as_of = ((stored.trust or {}).get("data") or {}).get("funding_as_of")
        newest: dict[int, int] = {}
        for read in stored.reads:
            newest[read.series_id] = max(read.revision, newest.get(read.series_id, 0))
        return cls(
            as_of,
            newest,
            None if paid_as_of is None else datetime.fromisoformat(paid_as_of),
            only_given=True,
        )

    def kept(self, reads: Iterable[Read]) -> Revisions:
        """The same, and for the series of `reads` what these were read at."""
        read = {one.series_id: one.revision for one in reads}
        return replace(self, given={**(self.given or {}), **read})

    def of(self, connection: psycopg.Connection, stored: StoredSeries) -> int:
        """The revision of one stored series."""
        if self.given is not None and stored.series_id in self.given:
            return self.given[stored.series_id]
        if self.only_given:
            return 0
        if self.as_of is None:
            return candle_reads.current_revision(connection, stored)
        return candle_reads.revision_at(connection, stored, self.as_of)


@dataclass(frozen=True, slots=True)
class Reading:
    """Candles of one series, ascending, its absences, the fingerprint of both, and where they
    were read."""

    series: Series
    window: Window
    table: pa.Table
    absences: list[Absence]
    fingerprint: str
    reads: list[Read]


def grid_of(request: BacktestRequest, series: Series) -> Window:
    """The aligned window of the run."""
    window = aligned(request.window, series.timeframe)
    assert window is not None
    return window


def warm_up_of(request: BacktestRequest, series: Series) -> Window | None:
    """The window of the candles that the strategy sees before the run; None without any.

    It ends at the first open time of the run and never lies in another instrument.
    """
    first = grid_of(request, series).start_ms
    start = max(first - request.data.warmup_bars * series.timeframe.step_ms, 0)
    if start >= first:
        return None
    (own,) = (one for one in identities.shares(series) if one.window.contains(first))
    return Window(start, first).intersection(own.window)


def refuse_crossing(connect: Connect, request: BacktestRequest) -> None:
    """Raise InvalidRequest when the window touches two instruments and that was not asked."""
    if request.data.across_identities:
        return
    with connect() as connection:
        for series in request.all_series:
            found = series_registry.touched(connection, series, grid_of(request, series))
            series_registry.refuse_crossing(series, found, field="start_time")


def gathered(connect: Connect, series: Series, window: Window) -> Gathered:
    """The account of an aligned window: every part of it, whichever instrument it belongs to."""
    stored = absent = lost = 0
    missing: list[Window] = []
    with connect() as connection:
        for part in _parts(connection, series, window):
            if part.stored is None:
                count = (part.window.end_ms - part.window.start_ms) // series.timeframe.step_ms
                lost, missing = lost + count, [*missing, part.window]
                continue
            account = candle_reads.account(connection, part.stored, part.window)
            stored += len(account.stored)
            absent += len(account.absent)
            lost += len(account.lost)
            missing += account.lost_windows
    return Gathered(stored, absent, lost, missing)


def read(connect: Connect, series: Series, window: Window, revisions: Revisions) -> Reading:
    """The candles of an aligned window as they stood at the revisions asked for.

    What was read at a revision never changes, so several statements see one state.
    """
    tables: list[pa.Table] = []
    absences: list[Absence] = []
    reads: list[Read] = []
    with connect() as connection:
        for part in _parts(connection, series, window):
            if part.stored is None:
                continue
            revision = revisions.of(connection, part.stored)
            tables.append(candle_reads.read(connection, part.stored, part.window, revision))
            absences += candle_reads.absences(connection, part.stored, part.window, revision)
            reads.append(Read(part.stored.series_id, part.window, revision))
    table = candles.concat(tables)
    fingerprint = candle_reads.fingerprint_of(table, window, absences)
    return Reading(series, window, table, absences, fingerprint, reads)


def funding_window(request: BacktestRequest, series: Series) -> Window:
    """The window whose funding the run can settle."""
    window = needed(request.window, series.timeframe)
    assert window is not None
    return window


def read_funding(
    connect: Connect, request: BacktestRequest, revisions: Revisions
) -> tuple[list[Funding], datetime]:
    """The funding of each symbol, and the time as of which it was read."""
    with connect() as connection:
        as_of = revisions.funding_as_of or revisions.as_of
        if as_of is None:
            # A clock that was set back must not hide what was loaded before.
            as_of = connection.execute(
                "SELECT greatest(clock_timestamp(), max(loaded_at)) FROM market.funding_windows"
            ).fetchone()[0]
        return [
            funding.read_series(connection, series, funding_window(request, series), as_of)
            for series in request.all_series
        ], as_of


def fingerprint(readings: Sequence[Reading], *more: str) -> str:
    """One fingerprint of several readings: that of the only one, else a hash of all of them.

    `more` are fingerprints of what else was read.
    """
    if len(readings) == 1 and not more:
        return readings[0].fingerprint
    digest = hashlib.sha256()
    for reading in readings:
        digest.update(f"{reading.series} {reading.fingerprint}\n".encode())
    for text in more:
        digest.update(f"{text}\n".encode())
    return digest.hexdigest()


def _parts(connection: psycopg.Connection, series: Series, window: Window) -> list[Part]:
    kept = {one.lifetime: one for one in series_registry.lives(connection, series)}
    shares = [share.within(window) for share in identities.shares(series)]
    return [
        Part(kept.get(share.lifetime.number), share.window) for share in shares if share is not None
    ]
