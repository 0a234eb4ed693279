"""What is stored of a sweep: its plan, its points batch by batch, and what they came to.

Each batch is stored in one transaction that replaces what the batch had stored before; ranks,
folds and the status `completed` are written in one transaction when all points are there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg

from candlevault.errors import StorageError
from candlevault.storage import sweeps
from candlevault.storage.backtests import EquityCurve, Read
from candlevault.storage.database import Connect
from candlevault.timeframe import from_ms
from candlevault.windows import Window


@dataclass(frozen=True, slots=True)
class BatchRange:
    """The points from `first` to `last`, both inclusive, and how many `runs` they take."""

    number: int
    first: int
    last: int
    runs: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What all batches share: which state of the candles, and which code."""

    as_of: datetime
    fingerprint: str
    reads: Sequence[Read]
    versions: Mapping[str, str]
    batches: Sequence[BatchRange]


@dataclass(frozen=True, slots=True)
class PointResult:
    """One point: the searched values, its metrics, and its figure in sample of each fold."""

    number: int
    params: Mapping[str, object]
    metrics: Mapping[str, object]
    fold_scores: Sequence[float | None] | None = None


@dataclass(frozen=True, slots=True)
class FoldRow:
    """One fold; point, params and metrics in sample are None where nothing could be chosen."""

    number: int
    in_sample_window: Window
    out_of_sample_window: Window
    point: int | None
    params: Mapping[str, object] | None
    in_sample: Mapping[str, object] | None
    out_of_sample: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What is stored at the end: one rank a point, in the order of the points."""

    ranks: Sequence[int]
    best_point: int
    ranking: Mapping[str, object]
    deflated_sharpe: Mapping[str, object]
    walk_forward: Mapping[str, object] | None
    folds: Sequence[FoldRow]
    curve: EquityCurve | None
    result_hash: str


def begin(connect: Connect, dag_run_id: str, plan: Plan) -> None:
    """Fix what all batches share, and move the record to `running`.

    What batches of an earlier plan had stored is removed: it may be of other candles. A
    completed record stays as it is.
    """
    with connect() as connection, connection.transaction():
        sweep_id, status = _locked(connection, dag_run_id)
        if status == "completed":
            return
        for table in ("sweep_batches", "sweep_points"):
            connection.execute(f"DELETE FROM market.{table} WHERE sweep_id = %s", (sweep_id,))
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO market.sweep_batches"
                " (sweep_id, batch_no, first_point, last_point, runs)"
                " VALUES (%s, %s, %s, %s, %s)",
                [(sweep_id, b.number, b.first, b.last, b.runs) for b in plan.batches],
            )
        reads = [
            {
                "series_id": read.series_id,
                "start": read.window.start.isoformat(),
                "end": read.window.end.isoformat(),
                "revision": read.revision,
            }
            for read in plan.reads
        ]
        connection.execute(
            "UPDATE market.sweeps SET data_as_of = %s, data_fingerprint = %s, reads = %s,"
            " versions = %s WHERE sweep_id = %s",
            (
                plan.as_of,
                plan.fingerprint,
                json.dumps(reads),
                json.dumps(plan.versions),
                sweep_id,
            ),
        )
    sweeps.advance(connect, dag_run_id, "running")


def start_batch(connect: Connect, dag_run_id: str, number: int) -> BatchRange:
    """The range of a planned batch that begins, maybe again: nothing of it counts as done.

    Raises StorageError when there is none of that number.
    """
    with connect() as connection:
        row = connection.execute(
            "UPDATE market.sweep_batches b SET runs_done = 0, finished_at = NULL"
            " FROM market.sweeps s WHERE s.sweep_id = b.sweep_id AND s.dag_run_id = %s"
            " AND s.status <> 'completed' AND b.batch_no = %s"
            " RETURNING b.batch_no, b.first_point, b.last_point, b.runs",
            (dag_run_id, number),
        ).fetchone()
    if row is None:
        raise StorageError(f"sweep of {dag_run_id}: batch {number} is not planned")
    return BatchRange(*row)


def tell_progress(connect: Connect, dag_run_id: str, number: int, done: int) -> None:
    """Note how many runs of a batch are done; one that was finished meanwhile stays finished."""
    with connect() as connection:
        connection.execute(
            "UPDATE market.sweep_batches b SET runs_done = least(%s, b.runs)"
            " FROM market.sweeps s WHERE s.sweep_id = b.sweep_id AND s.dag_run_id = %s"
            " AND b.batch_no = %s AND b.finished_at IS NULL",
            (done, dag_run_id, number),
        )


def progress(connect: Connect, dag_run_id: str) -> tuple[int, int]:
    """How many runs are done, and how many there are; (0, 0) before they are planned."""
    with connect() as connection:
        row = connection.execute(
            "SELECT coalesce(sum(runs_done), 0)::bigint, coalesce(sum(runs), 0)::bigint"
            " FROM market.sweep_batches JOIN market.sweeps USING (sweep_id)"
            " WHERE dag_run_id = %s",
            (dag_run_id,),
        ).fetchone()
    return row[0], row[1]


def store_points(
    connect: Connect, dag_run_id: str, number: int, points: Sequence[PointResult]
) -> None:
    """Store all points of a batch in place of those it had stored before, and finish it.

    Raises StorageError when they are not the points of the batch, and when the sweep has ended
    meanwhile.
    """
    with connect() as connection, connection.transaction():
        row = connection.execute(
            "SELECT s.sweep_id, s.status, b.first_point, b.last_point"
            " FROM market.sweeps s JOIN market.sweep_batches b USING (sweep_id)"
            " WHERE s.dag_run_id = %s AND b.batch_no = %s FOR UPDATE OF b FOR SHARE OF s",
            (dag_run_id, number),
        ).fetchone()
        if row is None:
            raise StorageError(f"sweep of {dag_run_id}: batch {number} is not planned")
        sweep_id, status, first, last = row
        # Points of a sweep that another batch has failed are as good as ever.
        if status not in ("running", "failed"):
            raise StorageError(f"sweep {sweep_id} is {status}: batch {number} is not stored")
        if [point.number for point in points] != list(range(first, last + 1)):
            raise StorageError(
                f"sweep {sweep_id}: batch {number} must hold the points {first} to {last}"
            )
        connection.execute(
            "DELETE FROM market.sweep_points WHERE sweep_id = %s AND point_no BETWEEN %s AND %s",
            (sweep_id, first, last),
        )
        with connection.cursor().copy(
            "COPY market.sweep_points (sweep_id, point_no, params, metrics, fold_scores) FROM STDIN"
        ) as copy:
            for point in points:
                copy.write_row(
                    (
                        sweep_id,
                        point.number,
                        json.dumps(point.params, allow_nan=False),
                        json.dumps(point.metrics, allow_nan=False),
                        None if point.fold_scores is None else list(point.fold_scores),
                    )
                )
        connection.execute(
            "UPDATE market.sweep_batches SET runs_done = runs, finished_at = clock_timestamp()"
            " WHERE sweep_id = %s AND batch_no = %s",
            (sweep_id, number),
        )


def points(connect: Connect, dag_run_id: str) -> Iterator[PointResult]:
    """The stored points, ascending, a few at a time."""
    with connect() as connection, connection.cursor("points") as cursor:
        cursor.itersize = 2000
        cursor.execute(
            "SELECT point_no, params, metrics, fold_scores FROM market.sweep_points"
            " JOIN market.sweeps USING (sweep_id) WHERE dag_run_id = %s ORDER BY point_no",
            (dag_run_id,),
        )
        for row in cursor:
            yield PointResult(*row)


def point(connect: Connect, dag_run_id: str, number: int) -> PointResult:
    """One stored point; raises StorageError when it is not stored."""
    with connect() as connection:
        row = connection.execute(
            "SELECT point_no, params, metrics, fold_scores FROM market.sweep_points"
            " JOIN market.sweeps USING (sweep_id) WHERE dag_run_id = %s AND point_no = %s",
            (dag_run_id, number),
        ).fetchone()
    if row is None:
        raise StorageError(f"sweep of {dag_run_id}: point {number} is not stored")
    return PointResult(*row)


def refuse_incomplete(connect: Connect, dag_run_id: str) -> None:
    """Raise StorageError while a batch is not finished or a point is missing."""
    with connect() as connection:
        _refuse_incomplete(connection, dag_run_id)


def complete(connect: Connect, dag_run_id: str, conclusion: Conclusion) -> int:
    """Store ranks, folds and `completed` together; returns the sweep's id.

    Called again for a completed record it changes nothing. Raises StorageError for one that
    was ended meanwhile, and while points are missing.
    """
    with connect() as connection, connection.transaction():
        sweep_id, status = _locked(connection, dag_run_id)
        if status == "completed":
            return sweep_id
        if status != "running":
            raise StorageError(f"sweep {sweep_id} is {status}; nothing is concluded")
        _refuse_incomplete(connection, dag_run_id)
        ranks = list(conclusion.ranks)
        changed = connection.execute(
            "UPDATE market.sweep_points p SET rank = r.rank"
            " FROM unnest(%s::integer[], %s::integer[]) AS r (point_no, rank)"
            " WHERE p.sweep_id = %s AND p.point_no = r.point_no",
            (list(range(1, len(ranks) + 1)), ranks, sweep_id),
        ).rowcount
        if changed != len(ranks):
            raise StorageError(f"sweep {sweep_id}: {len(ranks)} ranks for {changed} points")
        _store_walk_forward(connection, sweep_id, conclusion)
        connection.execute(
            "UPDATE market.sweeps SET status = 'completed', message = NULL,"
            " finished_at = clock_timestamp(), best_point = %s, ranking = %s,"
            " deflated_sharpe = %s, walk_forward = %s, result_hash = %s WHERE sweep_id = %s",
            (
                conclusion.best_point,
                json.dumps(conclusion.ranking, allow_nan=False),
                json.dumps(conclusion.deflated_sharpe, allow_nan=False),
                _json(conclusion.walk_forward),
                conclusion.result_hash,
                sweep_id,
            ),
        )
    return sweep_id


def _locked(connection: psycopg.Connection, dag_run_id: str) -> tuple[int, str]:
    row = connection.execute(
        "SELECT sweep_id, status FROM market.sweeps WHERE dag_run_id = %s FOR UPDATE",
        (dag_run_id,),
    ).fetchone()
    if row is None:
        raise StorageError(f"there is no sweep of {dag_run_id}")
    return row


def _refuse_incomplete(connection: psycopg.Connection, dag_run_id: str) -> None:
    sweep_id, wanted, stored, open_batches = connection.execute(
        "SELECT s.sweep_id, s.point_count,"
        " (SELECT count(*) FROM market.sweep_points p WHERE p.sweep_id = s.sweep_id),"
        " (SELECT array_agg(b.batch_no ORDER BY b.batch_no) FROM market.sweep_batches b"
        "  WHERE b.sweep_id = s.sweep_id AND b.finished_at IS NULL)"
        " FROM market.sweeps s WHERE s.dag_run_id = %s",
        (dag_run_id,),
    ).fetchone()
    if open_batches or stored != wanted:
        batches = ", ".join(map(str, open_batches or [])) or "none"
        raise StorageError(
            f"sweep {sweep_id}: {stored} of {wanted} points are stored; unfinished batches:"
            f" {batches}"
        )


def _store_walk_forward(
    connection: psycopg.Connection, sweep_id: int, conclusion: Conclusion
) -> None:
    for table in ("walk_forward_folds", "walk_forward_curves"):
        connection.execute(f"DELETE FROM market.{table} WHERE sweep_id = %s", (sweep_id,))
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO market.walk_forward_folds (sweep_id, fold_no, in_sample_start,"
            " in_sample_end, out_of_sample_start, out_of_sample_end, point_no, params,"
            " in_sample, out_of_sample) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [
                (
                    sweep_id,
                    fold.number,
                    fold.in_sample_window.start,
                    fold.in_sample_window.end,
                    fold.out_of_sample_window.start,
                    fold.out_of_sample_window.end,
                    fold.point,
                    _json(fold.params),
                    _json(fold.in_sample),
                    json.dumps(fold.out_of_sample, allow_nan=False),
                )
                for fold in conclusion.folds
            ],
        )
    if conclusion.curve is not None:
        curve = conclusion.curve
        connection.execute(
            "INSERT INTO market.walk_forward_curves VALUES (%s, %s, %s, %s, %s)",
            (
                sweep_id,
                from_ms(curve.first_open_time_ms),
                curve.timeframe,
                list(curve.equity),
                list(curve.drawdown_pct),
            ),
        )


def _json(value: Mapping[str, object] | None) -> str | None:
    return None if value is None else json.dumps(value, allow_nan=False)
