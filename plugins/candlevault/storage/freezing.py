"""Moving months from the hot tables to the cold tier: written, verified, and only then gone."""

from __future__ import annotations

import io
from datetime import date, datetime, timedelta

import psycopg
import pyarrow as pa
import pyarrow.csv as pacsv
from psycopg import sql

from candlevault.storage import cold
from candlevault.storage.candle_writes import PARTITIONS_LOCK
from candlevault.storage.database import Connect, retrying
from candlevault.storage.locks import begin_publication
from candlevault.storage.series_registry import StoredSeries
from candlevault.storage.sql import candle_table, for_timeframe
from candlevault.timeframe import Timeframe


def hot_months(
    connection: psycopg.Connection, stored: StoredSeries, before: datetime
) -> list[date]:
    """The months before `before` of which the hot table holds rows, ascending."""
    rows = connection.execute(
        for_timeframe("select_hot_months", stored.series.timeframe),
        {"series_id": stored.series_id, "before": before},
    ).fetchall()
    return [row[0] for row in rows]


def thawed_months(connection: psycopg.Connection, stored: StoredSeries) -> list[date]:
    """The months that a correction has brought back to the hot table, ascending."""
    rows = connection.execute(
        "SELECT month FROM market.series_months WHERE series_id = %s AND thawed_at IS NOT NULL"
        " ORDER BY month",
        (stored.series_id,),
    ).fetchall()
    return [row[0] for row in rows]


def freeze(connect: Connect, stored: StoredSeries, month: date) -> int:
    """Move a month that is in the partition ledger to the cold tier.

    Returns how many candles left the hot table; 0 when there were none, or when the month
    changed while its file was being written: it stays hot, and the file counts for nothing.
    """
    return retrying(lambda: _freeze(connect, stored, month))


def _freeze(connect: Connect, stored: StoredSeries, month: date) -> int:
    with connect() as connection:
        rows = _stored_rows(connection, stored, month)
    if rows.num_rows == 0:
        return 0
    file = cold.write(stored, month, rows)
    bounds = (stored.series_id, file.window.start, file.window.end)
    table = candle_table(stored.series.timeframe)
    with connect() as connection, connection.transaction():
        begin_publication(connection, stored.series_id)
        connection.execute(
            "SELECT FROM market.series WHERE series_id = %s FOR UPDATE", (stored.series_id,)
        )
        # Every change takes a revision newer than any before it, and a removal a row.
        now = connection.execute(
            sql.SQL(
                "SELECT count(*), max(revision) FROM {} WHERE series_id = %s"
                " AND open_time >= %s AND open_time < %s"
            ).format(table),
            bounds,
        ).fetchone()
        if now != (file.rows, file.newest_revision):
            return 0
        connection.execute(
            sql.SQL(
                "DELETE FROM {} WHERE series_id = %s AND open_time >= %s AND open_time < %s"
            ).format(table),
            bounds,
        )
        cold.enter(connection, file)
    return file.rows


LINGER = timedelta(hours=1)
"""How long an emptied partition is kept for readers whose snapshot is older: longer than any
statement or idle transaction may last."""


def drop_empty_partitions(
    connect: Connect, timeframe: Timeframe, before: datetime, linger: timedelta = LINGER
) -> list[str]:
    """Drop the partitions that end at or before `before` and hold nothing any more.

    One that a month left less than `linger` ago is kept for a later run, and so is everything
    while readers keep the table busy.
    """
    try:
        with connect() as connection, connection.transaction():
            # New readers queue behind the waiting lock: better to try again another day.
            connection.execute("SET LOCAL lock_timeout = '3s'")
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (PARTITIONS_LOCK,))
            return connection.execute(
                "SELECT market.drop_empty_partitions(%s, %s, clock_timestamp() - %s::interval)",
                (timeframe.code, before, linger),
            ).fetchone()[0]
    except psycopg.errors.LockNotAvailable:
        return []


def _stored_rows(connection: psycopg.Connection, stored: StoredSeries, month: date) -> pa.Table:
    window = cold.month_window(month)
    bound = psycopg.ClientCursor(connection).mogrify(
        for_timeframe("select_stored_rows", stored.series.timeframe),
        {
            "series_id": stored.series_id,
            "window_start": window.start,
            "window_end": window.end,
            "step": stored.series.timeframe.step,
        },
    )
    with connection.cursor().copy(f"COPY ({bound}) TO STDOUT (FORMAT csv)") as copy:  # type: ignore[arg-type]
        text = b"".join(bytes(block) for block in copy)
    if not text:
        return cold.ROWS.empty_table()
    return pacsv.read_csv(
        io.BytesIO(text),
        read_options=pacsv.ReadOptions(column_names=cold.ROWS.names, block_size=len(text)),
        convert_options=pacsv.ConvertOptions(
            column_types={field.name: field.type for field in cold.ROWS}
        ),
    ).combine_chunks()
