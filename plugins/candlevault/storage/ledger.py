"""The batch ledger and the log of syncs."""

from __future__ import annotations

from dataclasses import dataclass

from candlevault.storage.database import Connect
from candlevault.storage.sql import query
from candlevault.windows import Window


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to publish one batch, until somebody else claims it."""

    batch_id: int
    fencing_token: int
    series_id: int
    window: Window
    purpose: str


def claim(connect: Connect, series_id: int, window: Window, purpose: str, by: str) -> Claim:
    """Claim a window of a series; any earlier claim of it can no longer publish."""
    with connect() as connection:
        row = connection.execute(
            query("claim_batch"),
            {
                "series_id": series_id,
                "window_start": window.start,
                "window_end": window.end,
                "purpose": purpose,
                "claimed_by": by[:200],
            },
        ).fetchone()
    return Claim(row[0], row[1], series_id, window, purpose)


def fail(connect: Connect, claimed: Claim, error: BaseException) -> None:
    """Mark a running batch failed, unless somebody else has claimed it meanwhile."""
    with connect() as connection:
        connection.execute(
            "UPDATE market.batches SET state = 'failed', finished_at = clock_timestamp(),"
            " error = %s WHERE batch_id = %s AND fencing_token = %s AND state = 'running'",
            (f"{type(error).__name__}: {error}"[:1000], claimed.batch_id, claimed.fencing_token),
        )


@dataclass(slots=True)
class SyncTotals:
    """What one sync of one series did, in rows and calls."""

    batches: int = 0
    failed_batches: int = 0
    inserted: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    absent: int = 0
    quarantined: int = 0
    lost: int = 0
    requests: int = 0
    retries: int = 0


def start_sync(
    connect: Connect, series_id: int, purpose: str, window: Window, dag_run_id: str | None
) -> int:
    """Open a line of the sync log; the series is `syncing` from now on."""
    with connect() as connection:
        sync_id = connection.execute(
            "INSERT INTO market.sync_log (series_id, purpose, dag_run_id, window_start,"
            " window_end, outcome) VALUES (%s, %s, %s, %s, %s, 'running') RETURNING sync_id",
            (series_id, purpose, dag_run_id, window.start, window.end),
        ).fetchone()[0]
        # What a killed process of the same series left open cannot be running: the caller
        # holds the series' lock.
        connection.execute(
            "UPDATE market.sync_log SET outcome = 'failed', finished_at = clock_timestamp(),"
            " error = 'the process was killed' WHERE series_id = %s AND outcome = 'running'"
            " AND sync_id <> %s",
            (series_id, sync_id),
        )
        connection.execute(
            "UPDATE market.batches SET state = 'failed', finished_at = clock_timestamp(),"
            " error = 'the process was killed' WHERE series_id = %s AND state = 'running'",
            (series_id,),
        )
        connection.execute(
            "UPDATE market.series_status SET sync_status = 'syncing', error_message = NULL"
            " WHERE series_id = %s",
            (series_id,),
        )
    return sync_id


def finish_sync(
    connect: Connect,
    sync_id: int,
    series_id: int,
    totals: SyncTotals,
    providers: list[str],
    error: str | None,
) -> None:
    """Close the line and set the series' status: completed, or error with a message.

    A sync without error that leaves candles lost is `incomplete`. `is_complete` also asks
    that nothing is lost from the oldest to the newest candle stored, whatever was synced.
    """
    outcome = "failed" if error else "incomplete" if totals.lost else "completed"
    message = error or (f"{totals.lost} candles lost" if totals.lost else None)
    with connect() as connection:
        connection.execute(
            "UPDATE market.sync_log SET finished_at = clock_timestamp(), outcome = %s,"
            " providers = %s, batches = %s, inserted = %s, changed = %s, unchanged = %s,"
            " removed = %s, absent = %s, quarantined = %s, lost = %s, requests = %s, retries = %s,"
            " error = %s WHERE sync_id = %s",
            (
                outcome,
                providers,
                totals.batches,
                totals.inserted,
                totals.changed,
                totals.unchanged,
                totals.removed,
                totals.absent,
                totals.quarantined,
                totals.lost,
                totals.requests,
                totals.retries,
                message,
                sync_id,
            ),
        )
        connection.execute(
            query("settle_series_status"),
            {
                "series_id": series_id,
                "sync_status": "error" if message else "completed",
                "error_message": message and message[:1000],
            },
        )
