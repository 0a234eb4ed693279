"""Sweep records: their life from pending to completed, failed or cancelled.

A record belongs to one DAG run; what its batches and its end store is in `sweep_results`. A
record that ended never changes again, unless its run is cleared to be tried again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

import psycopg

from candlevault.errors import InvalidRequest
from candlevault.storage.backtests import Failure
from candlevault.storage.database import Connect
from candlevault.windows import Window

_ENDED = ("completed", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class SweepRecord:
    """One sweep as stored."""

    sweep_id: int
    dag_run_id: str
    status: str
    message: str | None
    failed_field: str | None
    payload: dict
    point_count: int | None
    data_as_of: datetime | None
    data_fingerprint: str | None
    versions: dict | None


@dataclass(frozen=True, slots=True)
class Description:
    """What is known of a checked payload: `points` are to be run, `left_out` broke a rule."""

    payload: Mapping[str, object]
    payload_hash: str
    strategy: str
    rank_by: str
    window: Window
    points: int
    left_out: int
    duplicates: int


def open_record(connect: Connect, dag_run_id: str, payload: Mapping[str, object]) -> int:
    """The id of the record of a DAG run, made `pending` if it is new.

    A run that was cleared to be tried again starts over, unless it had completed.
    """
    with connect() as connection:
        connection.execute(
            "INSERT INTO market.sweeps AS s (dag_run_id, status, payload)"
            " VALUES (%s, 'pending', %s) ON CONFLICT (dag_run_id) DO UPDATE"
            " SET status = 'pending', payload = excluded.payload, message = NULL,"
            "     failed_field = NULL, failed_step = NULL, failed_batch = NULL, advice = NULL,"
            "     started_at = NULL, finished_at = NULL,"
            "     cancel_requested_at ="
            "         CASE WHEN s.status <> 'cancelled' THEN s.cancel_requested_at END"
            " WHERE s.status <> 'completed'",
            (dag_run_id, json.dumps(payload)),
        )
    record = get(connect, dag_run_id)
    assert record is not None
    return record.sweep_id


def get(connect: Connect, dag_run_id: str) -> SweepRecord | None:
    """The record of a DAG run, or None."""
    with connect() as connection:
        row = connection.execute(
            "SELECT sweep_id, dag_run_id, status, message, failed_field, payload, point_count,"
            " data_as_of, data_fingerprint, versions FROM market.sweeps WHERE dag_run_id = %s",
            (dag_run_id,),
        ).fetchone()
    return None if row is None else SweepRecord(*row)


def summary(connect: Connect, dag_run_id: str) -> dict[str, object] | None:
    """The headline figures of a completed sweep, or None while it has not completed."""
    with connect() as connection:
        row = connection.execute(
            "SELECT s.sweep_id, s.result_hash, s.data_fingerprint, s.point_count, s.best_point,"
            " p.params, s.ranking, s.deflated_sharpe, s.walk_forward"
            " FROM market.sweeps s JOIN market.sweep_points p"
            " ON p.sweep_id = s.sweep_id AND p.point_no = s.best_point"
            " WHERE s.dag_run_id = %s AND s.status = 'completed'",
            (dag_run_id,),
        ).fetchone()
    if row is None:
        return None
    names = (
        "sweep_id", "result_hash", "data_fingerprint", "points", "best_point", "best_params",
        "ranking", "deflated_sharpe", "walk_forward",
    )  # fmt: skip
    return dict(zip(names, row, strict=True))


def describe(connect: Connect, dag_run_id: str, what: Description) -> None:
    """Replace the payload as given by the checked one with every default filled in."""
    with connect() as connection:
        connection.execute(
            "UPDATE market.sweeps SET payload = %s, payload_hash = %s, strategy = %s,"
            " rank_by = %s, window_start = %s, window_end = %s, point_count = %s,"
            " left_out = %s, duplicates = %s WHERE dag_run_id = %s AND status <> 'completed'",
            (
                json.dumps(what.payload),
                what.payload_hash,
                what.strategy,
                what.rank_by,
                what.window.start,
                what.window.end,
                what.points,
                what.left_out,
                what.duplicates,
                dag_run_id,
            ),
        )


def advance(connect: Connect, dag_run_id: str, status: str) -> None:
    """Move a record to `fetching_data` or `running`.

    A task that runs again after its record was ended as failed (it was cleared in Airflow)
    opens the record again; a completed one stays.
    """
    with connect() as connection:
        connection.execute(
            "UPDATE market.sweeps SET status = %s, message = NULL, failed_field = NULL,"
            " failed_step = NULL, failed_batch = NULL, advice = NULL, finished_at = NULL,"
            " cancel_requested_at ="
            "     CASE WHEN status <> 'cancelled' THEN cancel_requested_at END,"
            " started_at = coalesce(started_at, clock_timestamp())"
            " WHERE dag_run_id = %s AND status <> 'completed'",
            (status, dag_run_id),
        )


def note(connect: Connect, dag_run_id: str, message: str) -> None:
    """Say what a record that has not ended is held up by; a retry may get past it."""
    with connect() as connection:
        connection.execute(
            "UPDATE market.sweeps SET message = %s WHERE dag_run_id = %s AND status <> ALL(%s)",
            (message[:2000], dag_run_id, list(_ENDED)),
        )


def fail(connect: Connect, dag_run_id: str, failure: Failure, *, batch: int | None = None) -> bool:
    """End a record as failed, by the failure of `batch` if given; false when it had ended
    already. The first reason stays, and what held the record up last is told with it."""
    return _end(connect, dag_run_id, "failed", failure, batch)


def reopen(connect: Connect, dag_run_id: str, batch: int) -> None:
    """Open a failed record again because `batch` is tried again.

    One that another batch has ended stays failed until that one is tried again.
    """
    with connect() as connection:
        connection.execute(
            "UPDATE market.sweeps SET status = 'running', message = NULL, failed_field = NULL,"
            " failed_step = NULL, failed_batch = NULL, advice = NULL, finished_at = NULL"
            " WHERE dag_run_id = %s AND status = 'failed'"
            " AND coalesce(failed_batch, %s) = %s",
            (dag_run_id, batch, batch),
        )


def request_cancel(connect: Connect, sweep_id: int) -> str:
    """Ask that a sweep stops; returns the status it has now.

    Raises InvalidRequest when there is none of that id, and when it has ended already.
    """
    with connect() as connection:
        row = connection.execute(
            "UPDATE market.sweeps SET cancel_requested_at ="
            " coalesce(cancel_requested_at, clock_timestamp())"
            " WHERE sweep_id = %s RETURNING status",
            (sweep_id,),
        ).fetchone()
        if row is None:
            raise InvalidRequest("sweep_id", "there is no such sweep", sweep_id)
        if row[0] in _ENDED:
            raise InvalidRequest("sweep_id", f"has ended already: {row[0]}", sweep_id)
    return row[0]


def cancel_requested(connection: psycopg.Connection, dag_run_id: str) -> bool:
    """Whether somebody asked that the sweep of a DAG run stops."""
    row = connection.execute(
        "SELECT cancel_requested_at IS NOT NULL FROM market.sweeps WHERE dag_run_id = %s",
        (dag_run_id,),
    ).fetchone()
    return row is not None and row[0]


def cancel(connect: Connect, dag_run_id: str, message: str) -> bool:
    """End a record as cancelled; false when it had ended already."""
    return _end(connect, dag_run_id, "cancelled", Failure(message))


def _end(
    connect: Connect, dag_run_id: str, status: str, why: Failure, batch: int | None = None
) -> bool:
    with connect() as connection:
        return (
            connection.execute(
                "UPDATE market.sweeps SET status = %s, failed_field = %s, failed_step = %s,"
                " failed_batch = %s, advice = %s,"
                " message = %s || coalesce('; last: ' || message, ''),"
                " finished_at = clock_timestamp()"
                " WHERE dag_run_id = %s AND status <> ALL(%s)",
                (
                    status,
                    why.field,
                    why.step,
                    batch,
                    why.advice,
                    why.message[:2000],
                    dag_run_id,
                    list(_ENDED),
                ),
            ).rowcount
            == 1
        )


def reconcile(connect: Connect, state_of: Callable[[str], str | None]) -> list[str]:
    """End the records whose DAG run is over without having ended them; returns their run ids.

    `state_of(dag_run_id)` is Airflow's state of the run, or None when it knows no such run.
    """
    with connect() as connection:
        open_runs = [
            row[0]
            for row in connection.execute(
                "SELECT dag_run_id FROM market.sweeps WHERE status <> ALL(%s) ORDER BY created_at",
                (list(_ENDED),),
            ).fetchall()
        ]
    ended = []
    for dag_run_id in open_runs:
        state = state_of(dag_run_id)
        if state in (None, "failed", "success"):
            was = "is gone" if state is None else f"ended as {state}"
            why = Failure(f"the DAG run {was} before the sweep was finished")
            if fail(connect, dag_run_id, why):
                ended.append(dag_run_id)
    return ended
