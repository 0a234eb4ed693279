"""Backtest records: their life from pending to completed or failed, and their results.

A record belongs to one DAG run. Trades, summary and the status `completed` are written in
one transaction; a record that ended never changes again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from candlevault.errors import StorageError
from candlevault.storage.database import Connect
from candlevault.timeframe import from_ms
from candlevault.windows import Window


@dataclass(frozen=True, slots=True)
class BacktestRecord:
    """One backtest as stored."""

    backtest_id: int
    dag_run_id: str
    status: str
    message: str | None
    failed_field: str | None
    payload: dict
    created_at: datetime


def open_record(connect: Connect, dag_run_id: str, payload: Mapping[str, object]) -> BacktestRecord:
    """The record of a DAG run, made `pending` if it is new; a repeated call returns it.

    A run that was cleared to be tried again starts over, unless it had completed.
    """
    with connect() as connection:
        connection.execute(
            "INSERT INTO market.backtests AS b (dag_run_id, status, payload)"
            " VALUES (%s, 'pending', %s) ON CONFLICT (dag_run_id) DO UPDATE"
            " SET status = 'pending', payload = excluded.payload, message = NULL,"
            "     failed_field = NULL, started_at = NULL, finished_at = NULL"
            " WHERE b.status <> 'completed'",
            (dag_run_id, json.dumps(payload)),
        )
    record = get(connect, dag_run_id)
    assert record is not None
    return record


def get(connect: Connect, dag_run_id: str) -> BacktestRecord | None:
    """The record of a DAG run, or None."""
    with connect() as connection:
        row = connection.execute(
            "SELECT backtest_id, dag_run_id, status, message, failed_field, payload, created_at"
            " FROM market.backtests WHERE dag_run_id = %s",
            (dag_run_id,),
        ).fetchone()
    return None if row is None else BacktestRecord(*row)


def summary(connect: Connect, dag_run_id: str) -> dict[str, object] | None:
    """The headline figures of a completed backtest, or None while it has not completed."""
    with connect() as connection:
        row = connection.execute(
            "SELECT b.backtest_id, b.result_hash, b.data_fingerprint, p.metrics"
            " FROM market.backtests b JOIN market.performance_summaries p USING (backtest_id)"
            " WHERE b.dag_run_id = %s AND b.status = 'completed'",
            (dag_run_id,),
        ).fetchone()
    if row is None:
        return None
    return {"backtest_id": row[0], "result_hash": row[1], "data_fingerprint": row[2], **row[3]}


def describe(
    connect: Connect, dag_run_id: str, payload: Mapping[str, object], window: Window, strategy: str
) -> None:
    """Replace the payload as given by the checked one with every default filled in."""
    with connect() as connection:
        connection.execute(
            "UPDATE market.backtests SET payload = %s, window_start = %s, window_end = %s,"
            " strategy = %s WHERE dag_run_id = %s",
            (json.dumps(payload), window.start, window.end, strategy, dag_run_id),
        )


def advance(connect: Connect, dag_run_id: str, status: str) -> None:
    """Move a record to `fetching_data` or `running`.

    A task that runs again after its record was ended as failed (it was cleared in Airflow)
    opens the record again; a completed one stays.
    """
    with connect() as connection:
        connection.execute(
            "UPDATE market.backtests SET status = %s, message = NULL, failed_field = NULL,"
            " finished_at = NULL, started_at = coalesce(started_at, clock_timestamp())"
            " WHERE dag_run_id = %s AND status <> 'completed'",
            (status, dag_run_id),
        )


def note(connect: Connect, dag_run_id: str, message: str) -> None:
    """Say what a record that has not ended is held up by; a retry may get past it."""
    with connect() as connection:
        connection.execute(
            "UPDATE market.backtests SET message = %s"
            " WHERE dag_run_id = %s AND status NOT IN ('completed', 'failed')",
            (message[:2000], dag_run_id),
        )


def fail(connect: Connect, dag_run_id: str, message: str, field: str | None = None) -> bool:
    """End a record as failed; false when it had ended already. The first reason stays, and
    what held the record up last is told with it."""
    with connect() as connection:
        return (
            connection.execute(
                "UPDATE market.backtests SET status = 'failed', failed_field = %s,"
                " message = %s || coalesce('; last: ' || message, ''),"
                " finished_at = clock_timestamp()"
                " WHERE dag_run_id = %s AND status NOT IN ('completed', 'failed')",
                (field, message[:2000], dag_run_id),
            ).rowcount
            == 1
        )


@dataclass(frozen=True, slots=True)
class Read:
    """Candles a run has read: of this series, in this window, as they stood at this revision."""

    series_id: int
    window: Window
    revision: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is stored of a finished run. Times in trades are ms UTC.

    `reads` are ascending in time; the last one is what the record itself names.
    """

    trades: Sequence[Mapping[str, object]]
    metrics: Mapping[str, object]
    versions: Mapping[str, str]
    data_summary: Mapping[str, object]
    data_fingerprint: str
    reads: Sequence[Read]
    result_hash: str


_TRADE_COLUMNS = (
    "side", "signal_time", "entry_time", "entry_price", "exit_time", "exit_price", "quantity",
    "entry_fee", "exit_fee", "pnl", "return_pct", "bars_held", "exit_reason", "ambiguous",
    "mae_pct", "mfe_pct",
)  # fmt: skip


def complete(connect: Connect, dag_run_id: str, outcome: Outcome) -> int:
    """Store trades, summary and `completed` together; returns the backtest's id.

    Called again for a completed record it changes nothing. Raises StorageError for one that
    was ended as failed meanwhile (its run was cancelled).
    """
    with connect() as connection, connection.transaction():
        row = connection.execute(
            "SELECT backtest_id, status FROM market.backtests WHERE dag_run_id = %s FOR UPDATE",
            (dag_run_id,),
        ).fetchone()
        backtest_id, status = row
        if status == "completed":
            return backtest_id
        if status == "failed":
            raise StorageError(f"backtest {backtest_id} was ended while it ran; nothing is stored")
        columns = ", ".join(("backtest_id", "trade_no", *_TRADE_COLUMNS))
        with connection.cursor().copy(f"COPY market.trades ({columns}) FROM STDIN") as copy:
            for number, trade in enumerate(outcome.trades, start=1):
                values = [
                    from_ms(trade[name]) if name.endswith("_time") else trade[name]
                    for name in _TRADE_COLUMNS
                ]
                copy.write_row((backtest_id, number, *values))
        for read in outcome.reads:
            connection.execute(
                "INSERT INTO market.backtest_reads VALUES (%s, %s, %s, %s, %s)",
                (backtest_id, read.series_id, read.window.start, read.window.end, read.revision),
            )
        connection.execute(
            "INSERT INTO market.performance_summaries (backtest_id, dag_run_id, trade_count,"
            " final_equity, metrics) VALUES (%s, %s, %s, %s, %s)",
            (
                backtest_id,
                dag_run_id,
                len(outcome.trades),
                outcome.metrics["final_equity"],
                json.dumps(outcome.metrics),
            ),
        )
        connection.execute(
            "UPDATE market.backtests SET status = 'completed', message = NULL,"
            " finished_at = clock_timestamp(), versions = %s, data_summary = %s,"
            " data_fingerprint = %s, data_revision = %s, series_id = %s,"
            " result_hash = %s WHERE backtest_id = %s",
            (
                json.dumps(outcome.versions),
                json.dumps(outcome.data_summary),
                outcome.data_fingerprint,
                outcome.reads[-1].revision,
                outcome.reads[-1].series_id,
                outcome.result_hash,
                backtest_id,
            ),
        )
    return backtest_id


def reconcile(connect: Connect, state_of: Callable[[str], str | None]) -> list[str]:
    """End the records whose DAG run is over without having ended them; returns their run ids.

    `state_of(dag_run_id)` is Airflow's state of the run, or None when it knows no such run.
    """
    with connect() as connection:
        open_runs = [
            row[0]
            for row in connection.execute(
                "SELECT dag_run_id FROM market.backtests"
                " WHERE status NOT IN ('completed', 'failed') ORDER BY created_at"
            ).fetchall()
        ]
    ended = []
    for dag_run_id in open_runs:
        state = state_of(dag_run_id)
        if state in (None, "failed", "success"):
            was = "is gone" if state is None else f"ended as {state}"
            if fail(connect, dag_run_id, f"the DAG run {was} before the backtest was finished"):
                ended.append(dag_run_id)
    return ended
