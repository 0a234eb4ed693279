"""Backtest records and their results.

A record belongs to one DAG run (`run_records` holds its life). Trades, summary and the status
`completed` are written in one transaction.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from candlevault.errors import InvalidRequest, StorageError
from candlevault.storage.database import Connect
from candlevault.storage.run_records import RunRecords
from candlevault.timeframe import from_ms, to_ms
from candlevault.windows import Window

RECORDS = RunRecords("backtest", "backtests", "backtest_id")
"""The life of these records, but for what only backtests have."""

advance, note, fail, cancel = RECORDS.advance, RECORDS.note, RECORDS.fail, RECORDS.cancel
request_cancel, cancel_requested = RECORDS.request_cancel, RECORDS.cancel_requested


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
    RECORDS.open(connect, dag_run_id, payload)
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
    connect: Connect, dag_run_id: str, payload: Mapping[str, object], window: Window
) -> None:
    """Replace the payload as given by the checked one with every default filled in."""
    strategy = payload["strategy"]
    with connect() as connection:
        connection.execute(
            "UPDATE market.backtests SET payload = %s, window_start = %s, window_end = %s,"
            " strategy = %s, strategy_id = %s, strategy_version = %s"
            " WHERE dag_run_id = %s AND status <> 'completed'",
            (
                json.dumps(payload),
                window.start,
                window.end,
                strategy["name"],
                strategy.get("id"),
                strategy.get("version"),
                dag_run_id,
            ),
        )


@dataclass(frozen=True, slots=True)
class Read:
    """Candles a run has read: of this series, in this window, as they stood at this revision."""

    series_id: int
    window: Window
    revision: int


@dataclass(frozen=True, slots=True)
class EquityCurve:
    """Equity in quote and the fall below its highest value in percent, at the close of each
    row of the grid of `timeframe` that starts at `first_open_time_ms`."""

    first_open_time_ms: int
    timeframe: str
    equity: Sequence[float]
    drawdown_pct: Sequence[float]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is stored of a finished run. Times in trades are ms UTC; `trades` gives equally long
    columns by name. The last one of `reads` is what the record itself names.
    """

    trades: Mapping[str, Sequence[object]]
    equity: EquityCurve
    metrics: Mapping[str, object]
    bounds: Mapping[str, object]
    refused: Mapping[str, int]
    trust: Mapping[str, object]
    significance: Mapping[str, object]
    versions: Mapping[str, str]
    data_summary: Mapping[str, object]
    data_fingerprint: str
    reads: Sequence[Read]
    result_hash: str


_TRADE_COLUMNS = (
    "symbol", "side", "signal_time", "entry_time", "entry_price", "exit_time", "exit_price",
    "quantity", "entry_fee", "exit_fee", "funding", "pnl", "return_pct", "bars_held",
    "exit_reason", "entry_order", "ambiguous", "mae_pct", "mfe_pct",
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
        if status in ("failed", "cancelled"):
            raise StorageError(f"backtest {backtest_id} was ended while it ran; nothing is stored")
        columns = ", ".join(("backtest_id", "trade_no", *_TRADE_COLUMNS))
        with connection.cursor().copy(f"COPY market.trades ({columns}) FROM STDIN") as copy:
            rows = zip(
                *(
                    [from_ms(value) for value in outcome.trades[name]]
                    if name.endswith("_time")
                    else outcome.trades[name]
                    for name in _TRADE_COLUMNS
                ),
                strict=True,
            )
            for number, values in enumerate(rows, start=1):
                copy.write_row((backtest_id, number, *values))
        curve = outcome.equity
        connection.execute(
            "INSERT INTO market.equity_curves VALUES (%s, %s, %s, %s, %s)",
            (
                backtest_id,
                from_ms(curve.first_open_time_ms),
                curve.timeframe,
                list(curve.equity),
                list(curve.drawdown_pct),
            ),
        )
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
                len(outcome.trades["symbol"]),
                outcome.metrics["final_equity"],
                json.dumps(outcome.metrics),
            ),
        )
        connection.execute(
            "UPDATE market.backtests SET status = 'completed', message = NULL,"
            " finished_at = clock_timestamp(), versions = %s, data_summary = %s,"
            " data_fingerprint = %s, data_revision = %s, series_id = %s, result_hash = %s,"
            " bounds = %s, refused = %s, trust = %s, significance = %s"
            " WHERE backtest_id = %s",
            (
                json.dumps(outcome.versions),
                json.dumps(outcome.data_summary),
                outcome.data_fingerprint,
                outcome.reads[-1].revision,
                outcome.reads[-1].series_id,
                outcome.result_hash,
                json.dumps(outcome.bounds),
                json.dumps(outcome.refused),
                json.dumps(outcome.trust),
                json.dumps(outcome.significance),
                backtest_id,
            ),
        )
    return backtest_id


@dataclass(frozen=True, slots=True)
class StoredResult:
    """A completed backtest as it lies in the tables; trades by column, times ms UTC."""

    backtest_id: int
    dag_run_id: str
    payload: dict
    versions: dict
    result_hash: str
    data_fingerprint: str
    data_summary: dict
    metrics: dict
    bounds: dict | None
    refused: dict | None
    trust: dict | None
    significance: dict | None
    trades: dict[str, list]
    equity: EquityCurve | None
    reads: list[Read]


def stored_result(connect: Connect, backtest_id: int) -> StoredResult:
    """All of a completed backtest, of one moment.

    Raises InvalidRequest when there is none of that id, or when it has not completed.
    """
    with connect() as connection, connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        row = connection.execute(
            "SELECT b.dag_run_id, b.status, b.payload, b.versions, b.result_hash,"
            " b.data_fingerprint, b.data_summary, p.metrics, b.bounds, b.refused, b.trust,"
            " b.significance FROM market.backtests b"
            " LEFT JOIN market.performance_summaries p USING (backtest_id)"
            " WHERE b.backtest_id = %s",
            (backtest_id,),
        ).fetchone()
        if row is None:
            raise InvalidRequest("backtest_id", "there is no such backtest", backtest_id)
        if row[1] != "completed":
            raise InvalidRequest(
                "backtest_id", f"has not completed: its status is {row[1]}", backtest_id
            )
        trades = connection.execute(
            f"SELECT {', '.join(_TRADE_COLUMNS)} FROM market.trades"
            " WHERE backtest_id = %s ORDER BY trade_no",
            (backtest_id,),
        ).fetchall()
        curve = connection.execute(
            "SELECT first_open_time, timeframe, equity, drawdown_pct FROM market.equity_curves"
            " WHERE backtest_id = %s",
            (backtest_id,),
        ).fetchone()
        reads = connection.execute(
            "SELECT series_id, window_start, window_end, revision FROM market.backtest_reads"
            " WHERE backtest_id = %s ORDER BY series_id, window_start",
            (backtest_id,),
        ).fetchall()
    columns = list(zip(*trades, strict=True)) or [()] * len(_TRADE_COLUMNS)
    return StoredResult(
        backtest_id,
        row[0],
        *row[2:],
        trades={
            name: [to_ms(value) for value in column] if name.endswith("_time") else list(column)
            for name, column in zip(_TRADE_COLUMNS, columns, strict=True)
        },
        equity=None if curve is None else EquityCurve(to_ms(curve[0]), *curve[1:]),
        reads=[
            Read(series_id, Window.of(start, end), revision)
            for series_id, start, end, revision in reads
        ],
    )


def newest(connect: Connect, count: int) -> list[int]:
    """The ids of the `count` backtests that completed last, newest first."""
    with connect() as connection:
        rows = connection.execute(
            "SELECT backtest_id FROM market.backtests WHERE status = 'completed'"
            " ORDER BY finished_at DESC, backtest_id DESC LIMIT %s",
            (count,),
        ).fetchall()
    return [row[0] for row in rows]
