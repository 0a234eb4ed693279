"""The correction log: what was changed after it was stored, on whose word, and what was refused."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

import psycopg

from candlevault.series import Series
from candlevault.storage.database import Connect
from candlevault.storage.series_registry import StoredSeries
from candlevault.storage.sql import for_timeframe
from candlevault.windows import Window

PROVIDER = "provider_correction"
"""The reason of a change that the venue made on its own."""


@dataclass(frozen=True, slots=True)
class Correction:
    """Why candles may change: `kind` is file, reread or restatement; `source` the file's name
    or who was asked."""

    kind: str
    reason: str
    source: str
    source_sha256: str | None = None
    rows_given: int = 0
    requested_by: str = ""
    dag_run_id: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of it. `revision` is that of the change, None when nothing changed."""

    updated: int = 0
    inserted: int = 0
    removed: int = 0
    revision: int | None = None
    changed_fields: dict[str, int] | None = None


def changed_fields(
    connection: psycopg.Connection, stored: StoredSeries, window: Window, revision: int
) -> dict[str, int]:
    """How many candles of `window` a revision has changed in each field."""
    return dict(
        connection.execute(
            for_timeframe("count_changed_fields", stored.series.timeframe),
            {
                "series_id": stored.series_id,
                "revision": revision,
                "window_start": window.start,
                "window_end": window.end,
            },
        ).fetchall()
    )


def record(
    connection: psycopg.Connection,
    stored: StoredSeries,
    window: Window,
    correction: Correction,
    outcome: Outcome,
) -> None:
    """Write a correction that was accepted, inside the transaction that applied it."""
    changed = outcome.updated + outcome.inserted + outcome.removed > 0
    _insert(
        connection,
        stored,
        window,
        correction,
        "applied" if changed else "unchanged",
        None,
        outcome,
    )


def reject(
    connect: Connect,
    stored: StoredSeries,
    window: Window | None,
    correction: Correction,
    message: str,
) -> None:
    """Write a correction that was refused as a whole, with the reason."""
    with connect() as connection:
        _insert(connection, stored, window, correction, "rejected", message[:4000], Outcome())


def applied_since(connect: Connect, series: Series, dag_run_id: str) -> dict[int, datetime]:
    """By series id of `series`, since when what a DAG run asked for has changed candles.

    However often the run was tried. Taken from the old versions as well as from the revision:
    both are written before it is committed, the old versions first. Empty where nothing was
    applied.
    """
    with connect() as connection:
        return dict(
            connection.execute(
                "SELECT c.series_id, min(least(r.recorded_at,"
                "  (SELECT min(v.superseded_at) FROM market.candle_revisions v"
                "   WHERE v.series_id = c.series_id AND v.superseded_revision = c.revision"
                "   AND v.open_time >= c.window_start AND v.open_time < c.window_end)))"
                " FROM market.corrections c"
                " JOIN market.series_revisions r USING (series_id, revision)"
                " JOIN market.series_names n USING (series_id)"
                " WHERE c.dag_run_id = %s AND c.outcome = 'applied'"
                " AND c.kind IN ('file', 'reread')"
                " AND (n.venue, n.market, n.symbol, n.timeframe) = (%s, %s, %s, %s)"
                " GROUP BY c.series_id",
                (dag_run_id, series.venue, series.market, series.symbol, series.timeframe.code),
            ).fetchall()
        )


def _insert(
    connection: psycopg.Connection,
    stored: StoredSeries,
    window: Window | None,
    correction: Correction,
    outcome: str,
    message: str | None,
    what: Outcome,
) -> None:
    connection.execute(
        "INSERT INTO market.corrections (series_id, kind, reason, source, source_sha256,"
        " window_start, window_end, outcome, message, rows_given, records_updated,"
        " records_inserted, records_removed, changed_fields, revision, requested_by, dag_run_id)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            stored.series_id,
            correction.kind,
            correction.reason,
            correction.source,
            correction.source_sha256,
            None if window is None else window.start,
            None if window is None else window.end,
            outcome,
            message,
            correction.rows_given,
            what.updated,
            what.inserted,
            what.removed,
            json.dumps(what.changed_fields or {}),
            what.revision,
            correction.requested_by,
            correction.dag_run_id,
        ),
    )
