"""Cold months in SQL: for one transaction, the relation `candles` holds them too.

SQL that reads `candles` (not `market.candles`) sees the hot tables alone on an ordinary
connection, and hot and cold as one inside `cold_and_hot`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

from candlevault.errors import StorageError
from candlevault.series import parse as parse_series
from candlevault.storage import cold
from candlevault.storage.copying import copy_in
from candlevault.storage.series_registry import StoredSeries
from candlevault.storage.sql import candle_table
from candlevault.windows import Window

_FAMILY = """
SELECT n.series_id, n.venue, n.market, n.symbol, n.timeframe
FROM market.series_names n
JOIN market.series_names own USING (instrument_id)
WHERE own.series_id = %s
ORDER BY n.series_id
"""
_ROUNDS = 5


@contextmanager
def cold_and_hot(
    connection: psycopg.Connection, series_id: int, window: Window, *, read_only: bool = True
) -> Iterator[None]:
    """One snapshot in which `candles` is whole, for every series of the instrument.

    The connection must be outside any transaction. What is written in a snapshot that is not
    read-only is committed at its end. Raises ColdFileDamaged.
    """
    for _ in range(_ROUNDS):
        frozen = _cold_series(connection, series_id, window)
        connection.commit()
        with _shadow(connection, frozen), connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            if read_only:
                connection.execute("SET TRANSACTION READ ONLY")
            connection.execute("SET LOCAL search_path = market, pg_catalog")
            if not set(_cold_series(connection, series_id, window)) <= set(frozen):
                # A month went cold before the snapshot: nothing would hold it here.
                continue
            for one in frozen:
                rows = cold.rows_of(connection, one.series_id, window)
                if rows.num_rows:
                    copy_in(connection, _table(one), one, rows)
            yield
            return
    raise StorageError(f"series {series_id}: months of {window} keep going cold")


def _cold_series(
    connection: psycopg.Connection, series_id: int, window: Window
) -> list[StoredSeries]:
    """The series of the instrument of which months of `window` are cold."""
    family = connection.execute(_FAMILY, (series_id,)).fetchall()
    return [
        StoredSeries(parse_series(*row[1:]), row[0], 0)
        for row in family
        if cold.files(connection, row[0], window)
    ]


@contextmanager
def _shadow(connection: psycopg.Connection, frozen: list[StoredSeries]) -> Iterator[None]:
    """A temporary `candles` with room for the cold rows of these series."""
    if frozen:
        _create(connection, frozen)
    try:
        yield
    finally:
        if frozen and not connection.closed:
            connection.rollback()
            _drop(connection, frozen)


def _table(one: StoredSeries) -> sql.Identifier:
    return sql.Identifier("pg_temp", f"thawed_{one.series.timeframe.code}")


def _create(connection: psycopg.Connection, frozen: list[StoredSeries]) -> None:
    parts = [sql.SQL("SELECT * FROM market.candles")]
    for one in frozen:
        connection.execute(
            sql.SQL("CREATE TEMP TABLE {} (LIKE {})").format(
                sql.Identifier(f"thawed_{one.series.timeframe.code}"),
                candle_table(one.series.timeframe),
            )
        )
        parts.append(
            sql.SQL("SELECT {}, * FROM {}").format(
                sql.Literal(one.series.timeframe.code), _table(one)
            )
        )
    connection.execute(
        sql.SQL("CREATE TEMP VIEW candles AS {}").format(sql.SQL(" UNION ALL ").join(parts))
    )
    connection.commit()


def _drop(connection: psycopg.Connection, frozen: list[StoredSeries]) -> None:
    connection.execute("DROP VIEW pg_temp.candles")
    for one in frozen:
        connection.execute(sql.SQL("DROP TABLE {}").format(_table(one)))
    connection.commit()
