"""Reading candles and their account: current, or as they stood at a revision.

Hot tables and cold files are read as one. A month is in exactly one of them at any moment,
but two statements see two moments: unless the caller reads on one snapshot, the list of cold
files is looked up once more after the hot rows, and everything is read again if it changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import numpy as np
import psycopg
import pyarrow as pa

from candlevault import candles, windows
from candlevault.errors import ColdFileDamaged, InvalidRequest, StorageError
from candlevault.storage import cold
from candlevault.storage.copying import copy_out
from candlevault.storage.locks import wait_for_publications
from candlevault.storage.series_registry import StoredSeries
from candlevault.storage.sql import for_timeframe
from candlevault.timeframe import to_ms
from candlevault.windows import Account, Window

_SELECTED = pa.schema(
    [field for field in candles.SCHEMA if field.name != "source"] + [("revision", pa.int32())]
)
"""The columns of include/sql/queries/select_candles.sql."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Absence:
    """A recorded known absence; `absence_id` is its row."""

    absence_id: int
    window: Window
    reason: str
    examined_at: datetime


def current_revision(connection: psycopg.Connection, stored: StoredSeries) -> int:
    """The number of the last committed revision of the series."""
    return connection.execute(
        "SELECT revision FROM market.series WHERE series_id = %s", (stored.series_id,)
    ).fetchone()[0]


def revision_at(connection: psycopg.Connection, stored: StoredSeries, as_of: datetime) -> int:
    """The last revision recorded at or before `as_of`; 0 when there was none yet.

    The same answer for ever: a publication that is being committed right now, and may have
    been recorded before `as_of`, is waited for.
    """
    if as_of.tzinfo is None:
        raise InvalidRequest("as_of", "must carry a time zone", as_of.isoformat())
    wait_for_publications(connection, stored.series_id)
    row = connection.execute(
        "SELECT coalesce(max(revision), 0) FROM market.series_revisions"
        " WHERE series_id = %s AND recorded_at <= %s",
        (stored.series_id, as_of),
    ).fetchone()
    return row[0]


def read(
    connection: psycopg.Connection, stored: StoredSeries, window: Window, revision: int
) -> pa.Table:
    """The candles that open in `window` as they stood at `revision`, ascending.

    Columns of candlevault.candles, `source` 0. An empty table when nothing was stored.
    Raises ColdFileDamaged naming a file of the cold tier that cannot be trusted.
    """

    def hot() -> pa.Table:
        return _hot_rows(connection, stored, window, revision)

    table, frozen = _both(connection, stored, window, hot)
    frozen = [candles.take(part, part["revision"].to_numpy() <= revision) for part in frozen]
    if any(part.num_rows for part in frozen):
        table = pa.concat_tables([table, *(part.select(table.schema.names) for part in frozen)])
        table = candles.take(table, np.argsort(candles.open_times(table), kind="stable"))
    source = pa.array(np.zeros(table.num_rows, dtype=np.int32))
    return table.append_column("source", source).cast(candles.SCHEMA).combine_chunks()


def fingerprint(
    connection: psycopg.Connection, stored: StoredSeries, window: Window, revision: int
) -> str:
    """SHA-256 of the window's candles and known absences at `revision`, hex.

    Depends on values and times only, not on how, when or where they are stored.
    """
    table = read(connection, stored, window, revision)
    return fingerprint_of(table, window, absences(connection, stored, window, revision))


def fingerprint_of(table: pa.Table, window: Window, known: list[Absence]) -> str:
    """The fingerprint of candles already read, with the absences known of their window."""
    digest = hashlib.sha256()
    for block in candles.canonical_blocks(table):
        digest.update(block)
    digest.update(b"absent\n")
    for run in windows.merge(
        part for absence in known if (part := absence.window.intersection(window)) is not None
    ):
        digest.update(f"{run.start_ms},{run.end_ms}\n".encode())
    return digest.hexdigest()


def open_times(connection: psycopg.Connection, stored: StoredSeries, window: Window) -> np.ndarray:
    """The stored open times in `window`, ascending int64 ms."""

    def hot() -> np.ndarray:
        rows = connection.execute(
            for_timeframe("select_open_times", stored.series.timeframe),
            {
                "series_id": stored.series_id,
                "window_start": window.start,
                "window_end": window.end,
            },
        ).fetchall()
        return np.fromiter((row[0] for row in rows), dtype=np.int64, count=len(rows))

    times, frozen = _both(connection, stored, window, hot)
    if not frozen:
        return times
    return np.union1d(times, np.concatenate([candles.open_times(part) for part in frozen]))


def history(connection: psycopg.Connection, stored: StoredSeries) -> Window | None:
    """From the oldest to the end of the newest stored candle; None while nothing is stored."""
    row = connection.execute(
        "SELECT oldest_data_time, newest_data_time FROM market.series_status"
        " WHERE series_id = %s AND total_candles > 0",
        (stored.series_id,),
    ).fetchone()
    if row is None:
        return None
    return Window(to_ms(row[0]), to_ms(row[1]) + stored.series.timeframe.step_ms)


def absences(
    connection: psycopg.Connection,
    stored: StoredSeries,
    window: Window,
    revision: int | None = None,
) -> list[Absence]:
    """Known absences that touch `window`, ascending; those valid at `revision` when given."""
    rows = connection.execute(
        "SELECT absence_id, window_start, window_end, reason, examined_at"
        " FROM market.known_absences WHERE series_id = %(series_id)s"
        " AND window_start < %(window_end)s AND window_end > %(window_start)s"
        " AND (withdrawn_revision IS NULL AND %(revision)s::integer IS NULL"
        "      OR revision <= %(revision)s"
        "         AND coalesce(withdrawn_revision > %(revision)s, true))"
        " ORDER BY window_start",
        {
            "series_id": stored.series_id,
            "window_start": window.start,
            "window_end": window.end,
            "revision": revision,
        },
    ).fetchall()
    return [Absence(row[0], Window(to_ms(row[1]), to_ms(row[2])), row[3], row[4]) for row in rows]


def account(connection: psycopg.Connection, stored: StoredSeries, window: Window) -> Account:
    """The current account of the series over `window`: stored, known absent, lost."""
    return windows.account(
        window,
        stored.series.timeframe,
        open_times(connection, stored, window),
        [absence.window for absence in absences(connection, stored, window)],
    )


_ROUNDS = 5


def _both(
    connection: psycopg.Connection,
    stored: StoredSeries,
    window: Window,
    read_hot: Callable[[], T],
) -> tuple[T, list[pa.Table]]:
    """What `read_hot` answers, and the rows of the cold files in `window`, of one moment."""
    for _ in range(_ROUNDS):
        files = cold.files(connection, stored.series_id, window)
        hot = read_hot()
        damage: ColdFileDamaged | None = None
        frozen: list[pa.Table] = []
        try:
            frozen = [cold.within(cold.read(file), window) for file in files]
        except ColdFileDamaged as error:
            # Not if the month was moved, and the file removed, while it was being read.
            damage = error
        if cold.files(connection, stored.series_id, window) == files:
            if damage is not None:
                raise damage
            return hot, frozen
    raise StorageError(f"{stored}: months of {window} keep moving between the tiers")


def _hot_rows(
    connection: psycopg.Connection, stored: StoredSeries, window: Window, revision: int
) -> pa.Table:
    """Rows of the hot table and superseded versions that were current at `revision`."""
    parameters = {
        "series_id": stored.series_id,
        "window_start": window.start,
        "window_end": window.end,
        "revision": revision,
        "step": stored.series.timeframe.step,
    }
    statement = for_timeframe("select_candles", stored.series.timeframe)
    return copy_out(connection, statement, parameters, _SELECTED).drop_columns(["revision"])
