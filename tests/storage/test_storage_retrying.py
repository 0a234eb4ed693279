"""Which errors of the database are worth another try, and what a broken connection costs."""

from __future__ import annotations

import threading

import psycopg
import pytest

from candlevault.storage.database import connector, is_transient, retrying
from tests.support.market import made, ms, span


def failing(errors: list[Exception]):
    """Work that raises the errors in turn and then succeeds."""

    def work() -> str:
        if errors:
            raise errors.pop(0)
        return "done"

    return work


@pytest.mark.parametrize(
    "name",
    [
        "SerializationFailure", "DeadlockDetected", "LockNotAvailable", "AdminShutdown",
        "CrashShutdown", "CannotConnectNow", "TooManyConnections", "ConnectionFailure",
        "ConnectionException", "ConnectionDoesNotExist",
    ],
)  # fmt: skip
def test_transient_errors_are_tried_again(name):
    error = getattr(psycopg.errors, name)("busy")
    assert is_transient(error)
    waits: list[float] = []
    assert retrying(failing([error, error]), sleep=waits.append) == "done"
    assert waits == [0.25, 0.5]


@pytest.mark.parametrize(
    "name",
    [
        "NumericValueOutOfRange", "CheckViolation", "UniqueViolation", "UndefinedTable",
        "InsufficientPrivilege", "CardinalityViolation", "DiskFull", "IndexCorrupted",
        "DataCorrupted", "ReadOnlySqlTransaction",
    ],
)  # fmt: skip
def test_lasting_errors_are_raised_at_once(name):
    kind = getattr(psycopg.errors, name)
    waits: list[float] = []
    with pytest.raises(kind):
        retrying(failing([kind("no")]), sleep=waits.append)
    assert waits == []


def test_an_error_of_the_work_itself_is_not_the_databases():
    assert not is_transient(ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        retrying(failing([ValueError("no")]))


def test_trying_ends_and_raises_the_last_error():
    waits: list[float] = []
    with pytest.raises(psycopg.errors.DeadlockDetected):
        retrying(failing([psycopg.errors.DeadlockDetected("x")] * 9), sleep=waits.append)
    assert waits == [0.25, 0.5, 1, 2, 4, 8, 8]


def test_a_server_that_is_not_there_is_transient():
    with pytest.raises(psycopg.OperationalError) as raised:
        connector("postgresql://nobody@127.0.0.1:1/none")()
    assert is_transient(raised.value)


def test_a_backend_terminated_in_the_middle_is_tried_again_and_nothing_is_doubled(store):
    window = span("2024-01-01", "2024-01-03")
    table = made(range(window.start_ms, window.end_ms, 3_600_000))
    store.publish_made(span("2023-12-31", "2024-01-01"))
    tries = []

    def work():
        tries.append(1)
        return store.publish(table, window)

    # The publisher waits for the series' row; its connection is cut while it does.
    with store.connect() as holder:
        holder.execute(
            "SELECT 1 FROM market.series WHERE series_id = %s FOR UPDATE", (store.stored.series_id,)
        )
        cut = threading.Thread(target=_cut_the_waiting_one, args=(store, holder))
        cut.start()
        done = retrying(work, sleep=lambda seconds: None)
        cut.join()
    assert len(tries) == 2
    assert done.inserted == 48
    assert len(store.read(window)) == 48
    assert store.rows(
        "SELECT total_candles FROM market.series_status WHERE series_id = %(id)s"
    ) == [(72,)]
    assert store.read(window)[0]["open_time"] == ms("2024-01-01")


def _cut_the_waiting_one(store, holder) -> None:
    with store.connect() as connection:
        connection.autocommit = True
        while True:
            found = connection.execute(
                "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND backend_type = 'client backend'"
                " AND wait_event_type = 'Lock'"
            ).fetchall()
            if found:
                break
    holder.rollback()
