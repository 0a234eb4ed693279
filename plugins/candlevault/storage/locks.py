"""One worker at a time per series (of funding: per instrument): others wait, then find the
work done.

The lock is a session lock on a connection of its own: it ends with the process, however
that ends. It only saves work; what keeps a paused worker from publishing late is the
fencing token of the ledger.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import cache

import psycopg

from candlevault.errors import SeriesBusy
from candlevault.storage.database import Connect, retrying

_NAMESPACE = 0x43564C54
_PUBLISHING = 0x43565042
_FUNDING = 0x43564654
_FUNDING_WRITES = 0x43564657


@contextmanager
def series_lock(
    connect: Connect,
    series_id: int,
    *,
    wait_s: float = 1800.0,
    waiting: Callable[[], None] = lambda: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Hold the series. `waiting` is called once when somebody else holds it already.

    Raises SeriesBusy when it is still held after `wait_s` seconds.
    """
    with _held(connect, (_NAMESPACE, series_id), f"series {series_id}", wait_s, waiting, sleep):
        yield


@contextmanager
def funding_lock(
    connect: Connect,
    instrument_id: int,
    *,
    wait_s: float = 1800.0,
    waiting: Callable[[], None] = lambda: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Hold the funding of an instrument, which all its series share; otherwise as series_lock."""
    what = f"funding of instrument {instrument_id}"
    with _held(connect, (_FUNDING, instrument_id), what, wait_s, waiting, sleep):
        yield


@contextmanager
def _held(
    connect: Connect,
    key: tuple[int, int],
    what: str,
    wait_s: float,
    waiting: Callable[[], None],
    sleep: Callable[[float], None],
) -> Iterator[None]:
    deadline = time.monotonic() + wait_s
    tell_once = cache(waiting)
    connection = retrying(lambda: _acquire(connect, key, what, deadline, tell_once, sleep))
    with closing(connection):
        try:
            yield
        finally:
            # A server that went away has released the lock already.
            with suppress(psycopg.OperationalError):
                connection.execute("SELECT pg_advisory_unlock(%s, %s)", key)


def _acquire(
    connect: Connect,
    key: tuple[int, int],
    what: str,
    deadline: float,
    waiting: Callable[[], None],
    sleep: Callable[[float], None],
) -> psycopg.Connection:
    """A new connection that holds the lock."""
    connection = connect()
    try:
        connection.autocommit = True
        while not connection.execute("SELECT pg_try_advisory_lock(%s, %s)", key).fetchone()[0]:
            waiting()
            if time.monotonic() > deadline:
                raise SeriesBusy(f"{what} is still being loaded by another run")
            sleep(0.2)
    except BaseException:
        connection.close()
        raise
    return connection


def begin_publication(connection: psycopg.Connection, series_id: int) -> None:
    """Held until the end of the transaction that publishes to a series."""
    connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", (_PUBLISHING, series_id))


def wait_for_publications(connection: psycopg.Connection, series_id: int) -> None:
    """Wait until no transaction that publishes to the series is between start and commit."""
    connection.execute("SELECT pg_advisory_lock_shared(%s, %s)", (_PUBLISHING, series_id))
    connection.execute("SELECT pg_advisory_unlock_shared(%s, %s)", (_PUBLISHING, series_id))


def begin_funding_write(connection: psycopg.Connection, instrument_id: int) -> None:
    """Held until the end of the transaction that writes funding of an instrument."""
    connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", (_FUNDING_WRITES, instrument_id))


def wait_for_funding_writes(connection: psycopg.Connection, instrument_id: int) -> None:
    """Wait until no transaction that writes the instrument's funding is under way."""
    key = (_FUNDING_WRITES, instrument_id)
    connection.execute("SELECT pg_advisory_lock_shared(%s, %s)", key)
    connection.execute("SELECT pg_advisory_unlock_shared(%s, %s)", key)
