"""Ending work in the middle: on request, or because Airflow takes the task away."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import psycopg
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from candlevault.orchestration import runtime
from candlevault.storage.database import Connect

_LOOK_EVERY_S = 1.0
_FROM_AIRFLOW = "its DAG run was ended from Airflow"


class _Cancelled(BaseException):
    """Raised in the main thread, wherever it is. No error of the work, so nothing may handle
    it as one: it is not an Exception."""


@contextmanager
def cancellable(
    connect: Connect,
    requested: Callable[[psycopg.Connection], bool],
    cancel: Callable[[str], object],
    run_state: Callable[[], str | None],
) -> Iterator[None]:
    """Run a block that stops within seconds when it is cancelled.

    `requested(connection)` says whether somebody asked for it; `cancel(message)` ends the
    record; `run_state()` is Airflow's state of the DAG run. A task that Airflow terminates is
    cancelled only if the run was ended too: a worker that shuts down is no reason, the task is
    tried again elsewhere. Whatever was being written is rolled back.
    """
    stop = threading.Event()
    why: list[str] = []

    def interrupt(signum: int, _frame: object) -> None:
        why.append("requested" if signum == signal.SIGUSR1 else "terminated")
        raise _Cancelled

    before = {one: signal.signal(one, interrupt) for one in (signal.SIGUSR1, signal.SIGTERM)}
    # Opened here: a connection is looked up through Airflow, which is for the main thread.
    watching = connect()
    def ended_from_outside() -> bool:
        """Whether Airflow takes the task away because its run was ended; then so is the record.

        What unwinds may wait for its threads longer than Airflow waits before it kills.
        """
        if "terminated" not in why or run_state() == "running":
            return False
        cancel(f"cancelled: {_FROM_AIRFLOW}")
        return True

    watcher = threading.Thread(
        target=_watch, args=(watching, requested, ended_from_outside, stop), daemon=True
    )
    try:
        with closing(watching):
            if requested(watching):
                raise _Cancelled
            watching.commit()
            watcher.start()
            try:
                yield
            finally:
                stop.set()
                watcher.join()
    except _Cancelled:
        for one in before:
            signal.signal(one, signal.SIG_IGN)
        if "terminated" in why and run_state() == "running":
            raise AirflowException("the worker ends this task; it is tried again") from None
        words = _FROM_AIRFLOW if "terminated" in why else "on request"
        cancel(f"cancelled: {words}")
        raise AirflowFailException(f"cancelled: {words}") from None
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _watch(
    connection: psycopg.Connection,
    requested: Callable[[psycopg.Connection], bool],
    ended_from_outside: Callable[[], bool],
    stop: threading.Event,
) -> None:
    while not stop.wait(_LOOK_EVERY_S):
        try:
            if ended_from_outside():
                return
            found = requested(connection)
            connection.commit()
        except psycopg.Error as error:
            # The work itself will meet the same database; it decides what that means.
            runtime.say(f"whether this was cancelled cannot be seen any more: {error}")
            return
        if found:
            if not stop.is_set():
                os.kill(os.getpid(), signal.SIGUSR1)
            return
