"""Sweep records: what was asked for, and what it came to in a few figures.

A record belongs to one DAG run (`run_records` holds its life); what its batches and its end store
is in `sweep_results`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from candlevault.storage.database import Connect
from candlevault.storage.run_records import RunRecords
from candlevault.windows import Window

RECORDS = RunRecords("sweep", "sweeps", "sweep_id", in_batches=True)
"""The life of these records, but for what only sweeps have."""

advance, note, fail, cancel = RECORDS.advance, RECORDS.note, RECORDS.fail, RECORDS.cancel
request_cancel, cancel_requested = RECORDS.request_cancel, RECORDS.cancel_requested
reopen = RECORDS.reopen


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
    RECORDS.open(connect, dag_run_id, payload)
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
