"""Writing candles inside a publishing transaction: insert, replace, remove, thaw.

A candle that changes or goes keeps its old version in market.candle_revisions. A cold month
that would change is brought back to the hot table first, so that there is one way to write.
"""

from __future__ import annotations

import numpy as np
import psycopg
import pyarrow as pa
from psycopg import sql

from candlevault import candles
from candlevault.storage import cold
from candlevault.storage.cold import ColdFile
from candlevault.storage.copying import copy_in
from candlevault.storage.series_registry import StoredSeries
from candlevault.storage.sql import candle_table, for_timeframe, query
from candlevault.timeframe import from_ms
from candlevault.windows import Window


def write(
    connection: psycopg.Connection,
    stored: StoredSeries,
    table: pa.Table,
    fetch_ids: np.ndarray,
    revision: int,
    reason: str,
) -> tuple[int, int]:
    """Insert and replace candles; returns (inserted, changed).

    `table` is ascending and unique, its `source` counts in `fetch_ids`.
    """
    table = _settle_cold(connection, stored, table)
    if table.num_rows == 0:
        return 0, 0
    timeframe = stored.series.timeframe
    times = candles.open_times(table)
    count = table.num_rows
    rows = (
        table.drop_columns(["source"])
        .append_column("fetch_id", pa.array(fetch_ids[table["source"].to_numpy()]))
        .append_column("revision", pa.array(np.full(count, revision, dtype=np.int32)))
    )
    bounds = {
        "series_id": stored.series_id,
        "first": from_ms(times[0]),
        "last": from_ms(times[-1]),
        "revision": revision,
        "reason": reason,
    }
    some = connection.execute(
        sql.SQL(
            "SELECT EXISTS (SELECT FROM {candles} WHERE series_id = %(series_id)s"
            " AND open_time >= %(first)s AND open_time <= %(last)s)"
        ).format(candles=candle_table(timeframe)),
        bounds,
    ).fetchone()[0]
    if not some:
        copy_in(connection, candle_table(timeframe), stored, rows)
        return table.num_rows, 0
    connection.execute(
        sql.SQL("CREATE TEMP TABLE staged_candles (LIKE {candles}) ON COMMIT DROP").format(
            candles=candle_table(timeframe)
        )
    )
    copy_in(connection, sql.Identifier("staged_candles"), stored, rows)
    connection.execute("ANALYZE staged_candles")
    changed = connection.execute(
        for_timeframe("archive_changed_candles", timeframe), bounds
    ).rowcount
    if changed:
        connection.execute(for_timeframe("update_changed_candles", timeframe), bounds)
    inserted = connection.execute(for_timeframe("insert_new_candles", timeframe), bounds).rowcount
    return inserted, changed


def remove(
    connection: psycopg.Connection,
    stored: StoredSeries,
    windows: list[Window],
    revision: int,
    reason: str,
) -> int:
    """Take the candles that open in `windows` out of the series; returns how many.

    Their versions stay readable as of any time before this revision.
    """
    removed = 0
    for window in windows:
        for file in cold.files(connection, stored.series_id, window):
            rows = cold.read(file)
            if cold.within(rows, window).num_rows:
                _thaw(connection, stored, file, rows)
        removed += connection.execute(
            for_timeframe("remove_candles", stored.series.timeframe),
            {
                "series_id": stored.series_id,
                "window_start": window.start,
                "window_end": window.end,
                "revision": revision,
                "reason": reason,
            },
        ).rowcount
    if removed:
        connection.execute(
            for_timeframe("recount_series_status", stored.series.timeframe),
            {"series_id": stored.series_id, "removed": removed},
        )
    return removed


def _settle_cold(connection: psycopg.Connection, stored: StoredSeries, table: pa.Table) -> pa.Table:
    """The candles that are still to be written to the hot table.

    What a cold month holds already is left out; a cold month that would change is thawed.
    """
    if table.num_rows == 0:
        return table
    times = candles.open_times(table)
    hull = Window(int(times[0]), int(times[-1]) + 1)
    for file in cold.files(connection, stored.series_id, hull):
        rows = cold.read(file)
        times = candles.open_times(table)
        inside = (times >= file.window.start_ms) & (times < file.window.end_ms)
        part = candles.take(table, inside)
        _, ours, theirs = np.intersect1d(
            candles.open_times(part), candles.open_times(rows), return_indices=True
        )
        known = len(ours) == part.num_rows and bool(
            candles.same_values(candles.take(part, ours), candles.take(rows, theirs)).all()
        )
        if known:
            table = candles.take(table, ~inside)
        elif part.num_rows:
            _thaw(connection, stored, file, rows)
    return table


def _thaw(
    connection: psycopg.Connection, stored: StoredSeries, file: ColdFile, rows: pa.Table
) -> None:
    """Bring a cold month back to the hot table, as it was."""
    copy_in(connection, candle_table(stored.series.timeframe), stored, rows)
    cold.strike(connection, file)


def update_status(
    connection: psycopg.Connection, stored: StoredSeries, table: pa.Table, inserted: int
) -> None:
    """Count what was inserted into the series' status."""
    times = candles.open_times(table)
    connection.execute(
        query("update_series_status"),
        {
            "series_id": stored.series_id,
            "inserted": inserted,
            "first": from_ms(times[0]),
            "last": from_ms(times[-1]),
        },
    )
