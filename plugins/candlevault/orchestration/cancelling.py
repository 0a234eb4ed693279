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
from candlevault.storage.run_records import RunRecords

FROM_AIRFLOW = "its DAG run was ended from Airflow"

_LOOK_EVERY_S = 1.0


class _Cancelled(BaseException):
    """Raised in the main thread, wherever it is. No error of the work, so nothing may handle
    it as one: it is not an Exception."""


@contextmanager
def cancellable(
    connect: Connect,
    records: RunRecords,
    run_id: str,
    run_state: Callable[[], str | None],
    *,
    completes: bool = False,
) -> Iterator[None]:
    """Run a block that stops within seconds when the record of `run_id` is cancelled.

    `run_state()` is Airflow's state of the DAG run. A task that Airflow terminates is cancelled
    only if the run was ended too: a worker that shuts down is no reason, the task is tried again
    elsewhere. Whatever was being written is rolled back. A block that `completes` the record, and
    had when the cancel came, is left as if it had ended.
    """
    stop = threading.Event()
    why: list[str] = []

    def interrupt(signum: int, _frame: object) -> None:
        why.append("requested" if signum == signal.SIGUSR1 else "terminated")
        raise _Cancelled

    def ended_from_outside() -> bool:
        """Whether Airflow takes the task away because its run was ended; then so is the record.

        What unwinds may wait for its threads longer than Airflow waits before it kills.
        """
        if "terminated" not in why or run_state() == "running":
            return False
        records.cancel(connect, run_id, f"cancelled: {FROM_AIRFLOW}")
        return True

    before: dict[int, object] = {}
    begun = False
    try:
        for one in (signal.SIGUSR1, signal.SIGTERM):
            before[one] = signal.signal(one, interrupt)
        # Opened here: a connection is looked up through Airflow, which is for the main thread.
        with closing(connect()) as watching:
            if records.cancel_requested(watching, run_id):
                raise _Cancelled
            watching.commit()
            watcher = threading.Thread(
                target=_watch,
                args=(
                    watching,
                    lambda: records.cancel_requested(watching, run_id),
                    ended_from_outside,
                    stop,
                ),
                daemon=True,
            )
            watcher.start()
            begun = True
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
        words = f"cancelled: {FROM_AIRFLOW if 'terminated' in why else 'on request'}"
        if not records.cancel(connect, run_id, words):
            held = records.standing(connect, run_id)
            if begun and completes and held is not None and held.status == "completed":
                runtime.say(f"{words}, but it had completed before")
                return
        raise AirflowFailException(words) from None
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _watch(
    connection: psycopg.Connection,
    requested: Callable[[], bool],
    ended_from_outside: Callable[[], bool],
    stop: threading.Event,
) -> None:
    while not stop.wait(_LOOK_EVERY_S):
        try:
            if ended_from_outside():
                return
            found = requested()
            connection.commit()
        except psycopg.Error as error:
            # The work itself will meet the same database; it decides what that means.
            runtime.say(f"whether this was cancelled cannot be seen any more: {error}")
            return
        if found:
            if not stop.is_set():
                os.kill(os.getpid(), signal.SIGUSR1)
            return
