"""What a backtest reads: candles and absences of one instrument, or of several in a row.

A symbol that named two instruments is refused in a window over both, unless the payload
asks for it: a position held across the break would be in something that no longer exists.
"""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
import pyarrow as pa

from candlevault import candles, identities
from candlevault.backtest.payload import BacktestRequest
from candlevault.storage import candle_reads, series_registry
from candlevault.storage.backtests import Read
from candlevault.storage.candle_reads import Absence
from candlevault.storage.database import Connect
from candlevault.storage.series_registry import StoredSeries
from candlevault.windows import Window, aligned


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the window and the instrument whose it is; `stored` None: nothing kept."""

    stored: StoredSeries | None
    window: Window


@dataclass(frozen=True, slots=True)
class Gathered:
    """How much of the window is there: counts, and the windows of lost candles."""

    stored: int
    absent: int
    lost: int
    lost_windows: list[Window]


@dataclass(frozen=True, slots=True)
class Reading:
    """Candles ascending, absences, the fingerprint of both, and where they were read."""

    table: pa.Table
    absences: list[Absence]
    fingerprint: str
    reads: list[Read]


def refuse_crossing(connect: Connect, request: BacktestRequest) -> None:
    """Raise InvalidRequest when the window touches two instruments and that was not asked."""
    if request.data.across_identities:
        return
    with connect() as connection:
        found = series_registry.touched(connection, request.series, _grid(request))
    series_registry.refuse_crossing(request.series, found, field="start_time")


def gathered(connect: Connect, request: BacktestRequest) -> Gathered:
    """The account of the window: every part of it, whichever instrument it belongs to."""
    stored = absent = lost = 0
    missing: list[Window] = []
    with connect() as connection:
        for part in _parts(connection, request):
            if part.stored is None:
                count = (part.window.end_ms - part.window.start_ms) // _step(request)
                lost, missing = lost + count, [*missing, part.window]
                continue
            account = candle_reads.account(connection, part.stored, part.window)
            stored += len(account.stored)
            absent += len(account.absent)
            lost += len(account.lost)
            missing += account.lost_windows
    return Gathered(stored, absent, lost, missing)


def read(connect: Connect, request: BacktestRequest) -> Reading:
    """The candles of the window: those of now, or as of the time the payload names.

    What was read at a revision never changes, so several statements see one state.
    """
    tables: list[pa.Table] = []
    absences: list[Absence] = []
    reads: list[Read] = []
    with connect() as connection:
        for part in _parts(connection, request):
            if part.stored is None:
                continue
            revision = (
                candle_reads.current_revision(connection, part.stored)
                if request.data.as_of is None
                else candle_reads.revision_at(connection, part.stored, request.data.as_of)
            )
            tables.append(candle_reads.read(connection, part.stored, part.window, revision))
            absences += candle_reads.absences(connection, part.stored, part.window, revision)
            reads.append(Read(part.stored.series_id, part.window, revision))
    table = candles.concat(tables)
    fingerprint = candle_reads.fingerprint_of(table, _grid(request), absences)
    return Reading(table, absences, fingerprint, reads)


def _parts(connection: psycopg.Connection, request: BacktestRequest) -> list[Part]:
    kept = {one.lifetime: one for one in series_registry.lives(connection, request.series)}
    window = _grid(request)
    shares = [share.within(window) for share in identities.shares(request.series)]
    return [
        Part(kept.get(share.lifetime.number), share.window) for share in shares if share is not None
    ]


def _grid(request: BacktestRequest) -> Window:
    window = aligned(request.window, request.series.timeframe)
    assert window is not None
    return window


def _step(request: BacktestRequest) -> int:
    return request.series.timeframe.step_ms
