"""How the DAG runs of backtests and sweeps end their records: by the task, by word of a failed
run, or, where neither came, by reconciling."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import psycopg
from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowTaskTimeout

from candlevault.backtest import advice, ending
from candlevault.errors import CandlevaultError
from candlevault.orchestration import announcing, cancelling, runtime
from candlevault.storage.database import Connect, connector_from_environment
from candlevault.storage.run_records import Failure, RunRecords
from candlevault.storage.storable import text

_GRACE_S = 60.0
"""So long a task that is being taken down, or Airflow's word of a failed run, may still take."""


class RunEnds:
    """The ends of the runs of one DAG, whose records are `records`."""

    def __init__(self, dag_id: str, records: RunRecords) -> None:
        self._dag_id = dag_id
        self._records = records

    @contextmanager
    def task(
        self,
        connect: Connect,
        run_id: str,
        step: str,
        *,
        batch: int | None = None,
        completes: bool = False,
    ) -> Iterator[None]:
        """Run a step that stops within seconds when its record is cancelled.

        Permanent errors fail the task without retry. What ends the task for good ends the
        record, and is announced. A block that `completes` the record is left without an error,
        wherever it is, when a cancel comes after that.
        """
        state_of = runtime.run_state_of(self._dag_id)
        with (
            runtime.task_errors(),
            cancelling.cancellable(
                connect,
                self._records,
                run_id,
                lambda: state_of(run_id),
                completes=completes,
            ),
            self.told(connect, run_id, step, batch=batch),
        ):
            yield

    @contextmanager
    def told(
        self, connect: Connect, run_id: str, step: str, *, batch: int | None = None
    ) -> Iterator[None]:
        """End the record by an error that no retry follows, and announce it; the error goes on."""
        try:
            yield
        except (Exception, AirflowTaskTimeout) as error:
            permanent = isinstance(error, CandlevaultError) and not error.transient
            if permanent or _last_try():
                self._fail(connect, run_id, step, batch, error)
            raise

    def end_failed_run(self, run_id: str) -> None:
        """Outside a task: end the record of a failed run, if nothing ended it before."""
        connect = connector_from_environment()
        if self._records.fail(connect, run_id, self._no_word()):
            self._announce(connect, run_id)

    def reconcile(self) -> list[str]:
        """Task: end the records of runs that are over; returns the ids of those runs.

        A run that failed although none of its tasks did was ended by somebody: its record is
        cancelled. The others failed.
        """
        connect = runtime.connect_by_hook()
        with runtime.task_errors():
            state_of = runtime.run_state_of(self._dag_id)
            over = [run for run in self._records.open_runs(connect) if _over(state_of(run))]
            if any(state_of(run) == "failed" and not self._ended_by_hand(run) for run in over):
                # Whoever knows more speaks first.
                time.sleep(_GRACE_S)
            return [run for run in over if self._reconciled(connect, run, state_of(run))]

    def _reconciled(self, connect: Connect, run_id: str, state: str | None) -> bool:
        """Whether it was this that ended the record."""
        if not _over(state):
            # Somebody cleared it meanwhile.
            return False
        if state == "failed" and self._ended_by_hand(run_id):
            return self._records.cancel(connect, run_id, f"cancelled: {cancelling.FROM_AIRFLOW}")
        why = self._no_word()
        if state != "failed":
            was = "is gone" if state is None else f"ended as {state}"
            words = f"the DAG run {was} before the {self._records.what} was finished"
            why = Failure(words, advice=advice.NO_RUN)
        ended = self._records.fail(connect, run_id, why)
        if ended:
            self._announce(connect, run_id)
        return ended

    def _ended_by_hand(self, run_id: str) -> bool:
        """Whether no task of a failed run failed: then it was marked so between two of them."""
        task = get_current_context()["ti"]
        states = task.get_task_states(dag_id=self._dag_id, run_ids=[run_id])
        return all(state != "failed" for state in states.get(run_id, {}).values())

    def _no_word(self) -> Failure:
        return Failure(
            f"the DAG run failed before the {self._records.what} was finished, and its task left"
            " no word: it was killed, ran out of memory, or was ended from Airflow",
            advice=advice.NO_WORD,
        )

    def _fail(
        self, connect: Connect, run_id: str, step: str, batch: int | None, error: BaseException
    ) -> None:
        failure = ending.failure_of(error, step)
        if isinstance(error, AirflowTaskTimeout):
            failure = replace(failure, advice=advice.TIMED_OUT)
        held = None
        # Without the database nothing can be written; the next reconciling will.
        with suppress(psycopg.Error):
            self._records.fail(connect, run_id, failure, batch=batch)
            held = self._records.standing(connect, run_id)
        if held is None:
            announcing.failed(self._records.what, run_id, None, failure.message)
        elif held.status == "failed" and held.message.startswith(text(failure.message)[:1000]):
            # Otherwise it had ended already, and that was announced.
            announcing.failed(self._records.what, run_id, held.number, held.message)

    def _announce(self, connect: Connect, run_id: str) -> None:
        held = self._records.standing(connect, run_id)
        announcing.failed(self._records.what, run_id, held.number, held.message)


def _over(state: str | None) -> bool:
    return state in (None, "failed", "success")


def _last_try() -> bool:
    """Whether Airflow does not try this task again when it fails."""
    task = get_current_context()["ti"]
    return task.max_tries == 0 or task.try_number > task.max_tries
