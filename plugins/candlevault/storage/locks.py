"""One worker at a time per series: others wait, then find the work done.

The lock is a session lock on a connection of its own: it ends with the process, however
that ends. It only saves work; what keeps a paused worker from publishing late is the
fencing token of the ledger.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress

import psycopg

from candlevault.errors import Unavailable
from candlevault.storage.database import Connect

_NAMESPACE = 0x43564C54


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

    Raises Unavailable when it is still held after `wait_s` seconds.
    """
    with closing(connect()) as connection:
        connection.autocommit = True
        _acquire(connection, series_id, wait_s, waiting, sleep)
        try:
            yield
        finally:
            # A server that went away has released the lock already.
            with suppress(psycopg.OperationalError):
                connection.execute("SELECT pg_advisory_unlock(%s, %s)", (_NAMESPACE, series_id))


def _acquire(
    connection: psycopg.Connection,
    series_id: int,
    wait_s: float,
    waiting: Callable[[], None],
    sleep: Callable[[float], None],
) -> None:
    deadline = time.monotonic() + wait_s
    told = False
    while not connection.execute(
        "SELECT pg_try_advisory_lock(%s, %s)", (_NAMESPACE, series_id)
    ).fetchone()[0]:
        if not told:
            waiting()
            told = True
        if time.monotonic() > deadline:
            raise Unavailable(
                f"series {series_id} was still being loaded by another run after {wait_s:.0f} s"
            )
        sleep(0.2)
