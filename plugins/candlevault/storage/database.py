"""Connections to the market database, and which of its errors are worth a retry."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

import psycopg

from candlevault.errors import ConfigurationError

T = TypeVar("T")
Connect = Callable[[], psycopg.Connection]
"""A function that opens a new connection; what use cases are given."""

_RETRY_CLASSES = ("08",)
_RETRY_STATES = {"40001", "40P01", "55P03", "57P01", "57P02", "57P03", "53300"}

_SESSION = """
SELECT set_config('TimeZone', 'UTC', false),
       set_config('lock_timeout', '30s', false),
       set_config('statement_timeout', '10min', false),
       set_config('idle_in_transaction_session_timeout', '5min', false)
"""


def prepare(connection: psycopg.Connection) -> psycopg.Connection:
    """Give a fresh connection the session settings the library relies on."""
    connection.execute(_SESSION)
    connection.commit()
    return connection


def connector(url: str) -> Connect:
    """A Connect for a libpq URL."""

    def connect() -> psycopg.Connection:
        return prepare(
            psycopg.connect(
                url, application_name="candlevault", connect_timeout=10, keepalives_idle=30
            )
        )

    return connect


def connector_from_environment() -> Connect:
    """A Connect for `CANDLEVAULT_DB_URL`; raises ConfigurationError when it is not set."""
    url = os.environ.get("CANDLEVAULT_DB_URL")
    if not url:
        raise ConfigurationError(
            "CANDLEVAULT_DB_URL is not set: source the env file of a running home first"
        )
    return connector(url)


def is_transient(error: BaseException) -> bool:
    """Whether the database may accept the same work in a moment (restart, deadlock, lock)."""
    if not isinstance(error, psycopg.Error):
        return False
    state = error.sqlstate
    if state is None:
        return isinstance(error, psycopg.OperationalError)
    return state in _RETRY_STATES or state[:2] in _RETRY_CLASSES


def retrying(
    work: Callable[[], T],
    *,
    attempts: int = 8,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """`work()`, tried again on transient database errors after 0.25, 0.5, 1, … 8 s.

    `work` must open its own connection and be idempotent: after a connection lost during
    COMMIT it is simply run again.
    """
    for attempt in range(attempts):
        try:
            return work()
        except psycopg.Error as error:
            if attempt == attempts - 1 or not is_transient(error):
                raise
            sleep(min(8.0, 0.25 * 2**attempt))
    raise AssertionError("unreachable")
