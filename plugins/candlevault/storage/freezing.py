"""Moving months from the hot tables to the cold tier: written, verified, and only then gone."""

from __future__ import annotations

from datetime import date, datetime

import psycopg
import pyarrow as pa
from psycopg import sql

from candlevault.storage import cold
from candlevault.storage.copying import copy_out
from candlevault.storage.database import Connect, retrying
from candlevault.storage.locks import begin_publication
from candlevault.storage.series_registry import StoredSeries
from candlevault.storage.sql import candle_table, for_timeframe


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


def _stored_rows(connection: psycopg.Connection, stored: StoredSeries, month: date) -> pa.Table:
    window = cold.month_window(month)
    parameters = {
        "series_id": stored.series_id,
        "window_start": window.start,
        "window_end": window.end,
        "step": stored.series.timeframe.step,
    }
    statement = for_timeframe("select_stored_rows", stored.series.timeframe)
    return copy_out(connection, statement, parameters, cold.ROWS)
