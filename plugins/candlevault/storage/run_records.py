"""The life of a record that belongs to one DAG run: from pending to completed, failed or cancelled.

Backtests and sweeps are such records. One that ended never changes again, unless its run is
cleared to be tried again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import psycopg
from psycopg.sql import SQL, Composable, Identifier

from candlevault.errors import InvalidRequest
from candlevault.storage.database import Connect
from candlevault.storage.storable import storable, text

ENDED = ("completed", "failed", "cancelled")

_LONGEST = 2000


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a record ends: what happened, in which step, which field of the payload was wrong,
    and what to do. Without a step it is the one that began last."""

    message: str
    step: str | None = None
    field: str | None = None
    advice: str | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a record is: its id, its status, and what it ended with or is held up by."""

    number: int
    status: str
    message: str | None


class RunRecords:
    """The records of one table, each found by the id of its DAG run.

    `what` is one of them in a word; `number` the column of their ids. `in_batches`: several
    tasks work on one at the same time, and it remembers the batch whose failure ended it.
    """

    def __init__(self, what: str, table: str, number: str, *, in_batches: bool = False) -> None:
        self.what = what
        self._number = number
        self._in_batches = in_batches
        self._names = {"table": Identifier("market", table), "number": Identifier(number)}
        self._forgotten = SQL(
            "message = NULL, failed_field = NULL, failed_step = NULL, advice = NULL,"
            " finished_at = NULL"
        )
        if in_batches:
            self._forgotten += SQL(", failed_batch = NULL")

    def open(self, connect: Connect, dag_run_id: str, payload: Mapping[str, object]) -> None:
        """Make the record of a DAG run, `pending`, if there is none; a repeated call keeps it.

        A run that was cleared to be tried again starts over, unless it had completed. Of a
        payload that cannot be stored as it is, what can be is.
        """
        with connect() as connection:
            connection.execute(
                self._sql(
                    "INSERT INTO {table} AS r (dag_run_id, status, payload)"
                    " VALUES (%s, 'pending', %s) ON CONFLICT (dag_run_id) DO UPDATE"
                    " SET status = 'pending', payload = excluded.payload, {forgotten},"
                    "     step = NULL, started_at = NULL, cancel_requested_at ="
                    "         CASE WHEN r.status <> 'cancelled' THEN r.cancel_requested_at END"
                    " WHERE r.status <> 'completed'"
                ),
                (dag_run_id, json.dumps(storable(payload), allow_nan=False)),
            )

    def standing(self, connect: Connect, dag_run_id: str) -> Standing | None:
        """How far the record of a DAG run is, or None when there is none."""
        with connect() as connection:
            row = connection.execute(
                self._sql("SELECT {number}, status, message FROM {table} WHERE dag_run_id = %s"),
                (dag_run_id,),
            ).fetchone()
        return None if row is None else Standing(*row)

    def begin_step(self, connect: Connect, dag_run_id: str, step: str) -> None:
        """Note that a step begins, so that whoever ends the record later can say where it was."""
        with connect() as connection:
            connection.execute(
                self._sql(
                    "UPDATE {table} SET step = %s WHERE dag_run_id = %s AND status <> 'completed'"
                ),
                (step, dag_run_id),
            )

    def advance(self, connect: Connect, dag_run_id: str, status: str) -> None:
        """Move a record to `fetching_data` or `running`.

        A task that runs again after its record was ended as failed (it was cleared in Airflow)
        opens the record again; a completed one stays.
        """
        with connect() as connection:
            connection.execute(
                self._sql(
                    "UPDATE {table} SET status = %s, {forgotten}, cancel_requested_at ="
                    "     CASE WHEN status <> 'cancelled' THEN cancel_requested_at END,"
                    " started_at = coalesce(started_at, clock_timestamp())"
                    " WHERE dag_run_id = %s AND status <> 'completed'"
                ),
                (status, dag_run_id),
            )

    def note(self, connect: Connect, dag_run_id: str, message: str) -> None:
        """Say what a record that has not ended is held up by; a retry may get past it."""
        with connect() as connection:
            connection.execute(
                self._sql(
                    "UPDATE {table} SET message = %s WHERE dag_run_id = %s AND status <> ALL(%s)"
                ),
                (_fit(message), dag_run_id, list(ENDED)),
            )

    def fail(
        self, connect: Connect, dag_run_id: str, failure: Failure, *, batch: int | None = None
    ) -> bool:
        """End a record as failed, by the failure of `batch` if given; false when it had ended
        already. The first reason stays, and what held the record up last is told with it."""
        return self._end(connect, dag_run_id, "failed", failure, batch)

    def reopen(self, connect: Connect, dag_run_id: str, batch: int) -> None:
        """Open a failed record again because `batch` is tried again.

        One that another batch has ended stays failed until that one is tried again.
        """
        with connect() as connection:
            connection.execute(
                self._sql(
                    "UPDATE {table} SET status = 'running', {forgotten}"
                    " WHERE dag_run_id = %s AND status = 'failed'"
                    " AND coalesce(failed_batch, %s) = %s"
                ),
                (dag_run_id, batch, batch),
            )

    def request_cancel(self, connect: Connect, number: int) -> str:
        """Ask that the record of this id stops; returns the status it has now.

        One that has not begun stops before it begins, one that runs within seconds. Raises
        InvalidRequest when there is none of that id, and when it has ended already.
        """
        with connect() as connection:
            row = connection.execute(
                self._sql(
                    "UPDATE {table} SET cancel_requested_at ="
                    " coalesce(cancel_requested_at, clock_timestamp())"
                    " WHERE {number} = %s RETURNING status"
                ),
                (number,),
            ).fetchone()
            if row is None:
                raise InvalidRequest(self._number, f"there is no such {self.what}", number)
            if row[0] in ENDED:
                raise InvalidRequest(self._number, f"has ended already: {row[0]}", number)
        return row[0]

    def cancel_requested(self, connection: psycopg.Connection, dag_run_id: str) -> bool:
        """Whether somebody asked that a run stops; it is too late once it has completed."""
        row = connection.execute(
            self._sql(
                "SELECT cancel_requested_at IS NOT NULL AND status <> 'completed'"
                " FROM {table} WHERE dag_run_id = %s"
            ),
            (dag_run_id,),
        ).fetchone()
        return row is not None and row[0]

    def cancel(self, connect: Connect, dag_run_id: str, message: str) -> bool:
        """End a record as cancelled; false when it had ended already."""
        return self._end(connect, dag_run_id, "cancelled", Failure(message), None)

    def open_runs(self, connect: Connect) -> list[str]:
        """The DAG runs whose records have not ended, oldest record first."""
        with connect() as connection:
            rows = connection.execute(
                self._sql(
                    "SELECT dag_run_id FROM {table} WHERE status <> ALL(%s) ORDER BY created_at"
                ),
                (list(ENDED),),
            ).fetchall()
        return [row[0] for row in rows]

    def _end(
        self, connect: Connect, dag_run_id: str, status: str, why: Failure, batch: int | None
    ) -> bool:
        message = _fit(why.message)
        values = {
            "status": status,
            "field": None if why.field is None else text(why.field),
            "step": why.step,
            "advice": why.advice,
            "message": message,
            "batch": batch,
            "run": dag_run_id,
            "ended": list(ENDED),
        }
        with connect() as connection:
            changed = connection.execute(
                self._sql(
                    "UPDATE {table} SET status = %(status)s, failed_field = %(field)s,"
                    " failed_step = CASE WHEN %(status)s = 'failed'"
                    "     THEN coalesce(%(step)s, step) END,"
                    " advice = %(advice)s,"
                    " message = %(message)s"
                    "     || coalesce('; last: ' || nullif(message, %(message)s), ''),"
                    " finished_at = clock_timestamp()"
                    + (", failed_batch = %(batch)s" if self._in_batches else "")
                    + " WHERE dag_run_id = %(run)s AND status <> ALL(%(ended)s)"
                ),
                values,
            ).rowcount
        return changed == 1

    def _sql(self, statement: str) -> Composable:
        return SQL(statement).format(**self._names, forgotten=self._forgotten)


def _fit(message: str) -> str:
    return text(message)[:_LONGEST]
