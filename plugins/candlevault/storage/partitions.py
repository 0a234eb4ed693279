"""The partitions of the candle tables: made before they are needed, dropped when all has left."""

from __future__ import annotations

from datetime import datetime, timedelta

import psycopg

from candlevault.storage.database import Connect
from candlevault.timeframe import Timeframe
from candlevault.windows import Window

_LOCK = 0x63765F70617274
"""Advisory lock: shared by transactions that write candles, exclusive for one that makes or
drops partitions."""


def ensure(connect: Connect, timeframe: Timeframe, touched: Window | None) -> None:
    """Make the partitions that writing in a window needs, in a transaction of its own."""
    if touched is None:
        return
    span = _reach(timeframe, touched)
    with connect() as connection, connection.transaction():
        if _missing(connection, span):
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            connection.execute("SELECT market.ensure_partitions(%s, %s, %s)", span)


def hold(connection: psycopg.Connection, timeframe: Timeframe, touched: Window | None) -> bool:
    """Keep partitions from being dropped until the end of the transaction; false when one
    that writing in the window needs is gone already."""
    if touched is None:
        return True
    connection.execute("SELECT pg_advisory_xact_lock_shared(%s)", (_LOCK,))
    return not _missing(connection, _reach(timeframe, touched))


def _reach(timeframe: Timeframe, touched: Window) -> tuple[str, datetime, datetime]:
    # Whole months, because a cold one is thawed as a whole; and past the newest candle, so
    # that a partition exists before it is needed.
    return timeframe.code, touched.start.replace(day=1), touched.end + timedelta(days=31)


def _missing(connection: psycopg.Connection, span: tuple[str, object, object]) -> int:
    return connection.execute("SELECT market.partitions_missing(%s, %s, %s)", span).fetchone()[0]


LINGER = timedelta(hours=1)
"""How long an emptied partition is kept for readers whose snapshot is older: longer than any
statement or idle transaction may last."""


def drop_empty(
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
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            return connection.execute(
                "SELECT market.drop_empty_partitions(%s, %s, clock_timestamp() - %s::interval)",
                (timeframe.code, before, linger),
            ).fetchone()[0]
    except psycopg.errors.LockNotAvailable:
        return []
