"""The publishing transaction: everything a batch brought, or nothing of it.

In one transaction: the fencing token is checked, the next revision of the series is taken
under its row lock, new candles are inserted by COPY, differing ones replaced after their
old version was kept, absences recorded or withdrawn, rejected rows quarantined, and the
ledger and the status written. Rows that are already there and equal are not touched.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace

import numpy as np
import psycopg
import pyarrow as pa

from candlevault import candles
from candlevault.errors import LeaseLost, StorageError
from candlevault.provenance import Fetch, Rejected
from candlevault.storage import (
    absence_writes,
    candle_writes,
    corrections,
    discrepancies,
    partitions,
)
from candlevault.storage.absence_writes import NewAbsence
from candlevault.storage.candle_reads import absences, account
from candlevault.storage.corrections import Correction, Outcome
from candlevault.storage.database import Connect
from candlevault.storage.discrepancies import Disagreement
from candlevault.storage.ledger import Claim
from candlevault.storage.locks import begin_publication
from candlevault.storage.series_registry import StoredSeries, provider_ids
from candlevault.timeframe import from_ms
from candlevault.windows import Window

__all__ = ["Batch", "NewAbsence", "Published", "publish"]


@dataclass(slots=True)
class Batch:
    """What a batch brought: judged candles, their fetches, absences, rejected rows.

    `candles` are ascending, unique, inside the claim's window; their `source` counts in
    `fetches`. `removes` says that stored candles of which an absence shows that the venue
    has them no more are to be taken out; otherwise they stay. `correction` is what the
    correction log says of the batch; without one, a change is the venue's own.
    """

    candles: pa.Table
    fetches: list[Fetch]
    absences: list[NewAbsence] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    disagreements: list[Disagreement] = field(default_factory=list)
    expected: int = 0
    requests: int = 0
    retries: int = 0
    reason: str = "load"
    removes: bool = False
    correction: Correction | None = None

    @property
    def touched(self) -> Window | None:
        """The window that holds everything the batch may write or take out."""
        times = candles.open_times(self.candles)
        spans = [Window(int(times[0]), int(times[-1]) + 1)] if len(times) else []
        if self.removes:
            spans += [absence.window for absence in self.absences]
        if not spans:
            return None
        return Window(min(s.start_ms for s in spans), max(s.end_ms for s in spans))


@dataclass(frozen=True, slots=True)
class Published:
    """What the transaction did. `revision` is None when nothing changed."""

    inserted: int
    changed: int
    unchanged: int
    absent: int
    quarantined: int
    lost: int
    removed: int
    revision: int | None


def publish(connect: Connect, stored: StoredSeries, claim: Claim, batch: Batch) -> Published:
    """Write a batch; raises LeaseLost when a later claim overlaps its window.

    Called again after a COMMIT whose answer was lost, it finds the batch done under its own
    token and returns what was done then.
    Raises StorageError, and stores nothing, when a value breaks a rule of the tables.
    """
    try:
        return _publish(connect, stored, claim, batch)
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        raise StorageError(f"the store refused {claim.window}: {error}"[:500]) from error


_ROUNDS = 5


def _publish(connect: Connect, stored: StoredSeries, claim: Claim, batch: Batch) -> Published:
    for _ in range(_ROUNDS):
        partitions.ensure(connect, stored.series.timeframe, batch.touched)
        done = _transact(connect, stored, claim, batch)
        if done is not None:
            return done
    raise StorageError(f"{stored}: the partitions of {claim.window} keep being dropped")


def _transact(
    connect: Connect, stored: StoredSeries, claim: Claim, batch: Batch
) -> Published | None:
    """The transaction; None, and nothing done, when a partition it needs is not there."""
    with connect() as connection, connection.transaction():
        if (before := _already_done(connection, claim)) is not None:
            return before
        begin_publication(connection, stored.series_id)
        revision = (
            1
            + connection.execute(
                "SELECT revision FROM market.series WHERE series_id = %s FOR UPDATE",
                (stored.series_id,),
            ).fetchone()[0]
        )
        _refuse_overtaken(connection, claim)
        if not partitions.hold(connection, stored.series.timeframe, batch.touched):
            return None
        fetch_ids = _insert_fetches(connection, stored, claim, batch.fetches)
        inserted, changed = candle_writes.write(
            connection, stored, batch.candles, fetch_ids, revision, batch.reason
        )
        if inserted:
            candle_writes.update_status(connection, stored, batch.candles, inserted)
        removed = 0
        if batch.removes:
            gone = absence_writes.stale(connection, stored, batch.absences)
            removed = candle_writes.remove(connection, stored, gone, revision, batch.reason)
        known = absences(connection, stored, claim.window)
        withdrawn = absence_writes.withdraw(connection, stored, known, batch.candles, revision)
        if inserted:
            withdrawn += absence_writes.resume(connection, stored, batch.candles, revision)
        absent = absence_writes.insert(connection, stored, batch.absences, known, revision)
        discrepancies.hold(connection, stored, "archive", batch.disagreements)
        quarantined = _quarantine(connection, stored, claim, batch.rejected)
        touched = inserted + changed + removed + withdrawn + absent > 0
        outcome = Outcome(changed, inserted, removed, revision)
        if touched:
            _record_revision(
                connection, stored, claim, revision, batch.reason, inserted, changed + removed
            )
            _log_correction(connection, stored, claim, batch, outcome)
        published = Published(
            inserted=inserted,
            changed=changed,
            unchanged=batch.candles.num_rows - inserted - changed,
            absent=absent,
            quarantined=quarantined,
            lost=len(account(connection, stored, claim.window).lost),
            removed=removed,
            revision=revision if touched else None,
        )
        _close_batch(connection, claim, batch, published)
    return published


def _already_done(connection: psycopg.Connection, claim: Claim) -> Published | None:
    """What this very claim has published, or None while it may still publish."""
    row = connection.execute(
        "SELECT fencing_token, state, inserted, changed, unchanged, absent, quarantined, lost,"
        " removed, revision FROM market.batches WHERE batch_id = %s FOR UPDATE",
        (claim.batch_id,),
    ).fetchone()
    if row is not None and row[0] == claim.fencing_token:
        if row[1] == "done":
            return Published(*row[2:])
        if row[1] == "running":
            return None
    raise LeaseLost(f"batch {claim.batch_id} {claim.window} was claimed by another worker")


def _refuse_overtaken(connection: psycopg.Connection, claim: Claim) -> None:
    """A later claim of an overlapping window has, or will have, newer candles.

    Windows that end at the present differ from run to run, so the token of one's own
    window is not enough. Asked under the series' row lock.
    """
    later = connection.execute(
        "SELECT batch_id FROM market.batches WHERE series_id = %s AND fencing_token > %s"
        " AND window_start < %s AND window_end > %s LIMIT 1",
        (claim.series_id, claim.fencing_token, claim.window.end, claim.window.start),
    ).fetchone()
    if later is not None:
        raise LeaseLost(f"batch {claim.batch_id} {claim.window} was overtaken by batch {later[0]}")


def _insert_fetches(
    connection: psycopg.Connection, stored: StoredSeries, claim: Claim, fetches: list[Fetch]
) -> np.ndarray:
    series = stored.series
    ids = provider_ids(connection, [f.provider for f in fetches], series.venue, series.market)
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO market.fetches (provider_id, batch_id, url, sha256, bytes, rows,"
            " parser_version, fetched_at, duration_ms, etag, last_modified)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING fetch_id",
            [
                (
                    ids[fetch.provider],
                    claim.batch_id,
                    fetch.url,
                    fetch.sha256,
                    fetch.bytes,
                    fetch.rows,
                    fetch.parser_version,
                    fetch.fetched_at,
                    fetch.duration_ms,
                    fetch.etag,
                    fetch.last_modified,
                )
                for fetch in fetches
            ],
            returning=True,
        )
        numbers = []
        if fetches:
            numbers.append(cursor.fetchone()[0])
            while cursor.nextset():
                numbers.append(cursor.fetchone()[0])
    return np.array(numbers, dtype=np.int64)


def _quarantine(
    connection: psycopg.Connection, stored: StoredSeries, claim: Claim, rejected: list[Rejected]
) -> int:
    quarantined = 0
    for item in rejected:
        quarantined += connection.execute(
            "INSERT INTO market.quarantine (series_id, batch_id, open_time, reasons, row, url)"
            " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            (
                stored.series_id,
                claim.batch_id,
                None if item.open_time_ms is None else from_ms(item.open_time_ms),
                list(item.reasons),
                json.dumps(item.row),
                item.url,
            ),
        ).rowcount
    return quarantined


def _record_revision(
    connection: psycopg.Connection,
    stored: StoredSeries,
    claim: Claim,
    revision: int,
    reason: str,
    inserted: int,
    changed: int,
) -> None:
    connection.execute(
        "UPDATE market.series SET revision = %s WHERE series_id = %s",
        (revision, stored.series_id),
    )
    connection.execute(
        # Never before the revision it follows, even if the clock was set back.
        "INSERT INTO market.series_revisions (series_id, revision, batch_id, reason, inserted,"
        " changed, recorded_at) SELECT %(series_id)s, %(revision)s, %(batch_id)s, %(reason)s,"
        " %(inserted)s, %(changed)s, greatest(clock_timestamp(), max(recorded_at))"
        " FROM market.series_revisions WHERE series_id = %(series_id)s",
        {
            "series_id": stored.series_id,
            "revision": revision,
            "batch_id": claim.batch_id,
            "reason": reason,
            "inserted": inserted,
            "changed": changed,
        },
    )


def _log_correction(
    connection: psycopg.Connection,
    stored: StoredSeries,
    claim: Claim,
    batch: Batch,
    outcome: Outcome,
) -> None:
    correction = batch.correction
    if correction is None and outcome.updated + outcome.removed:
        correction = Correction("restatement", corrections.PROVIDER, claim.purpose)
        outcome = replace(outcome, inserted=0)
    if outcome.updated and outcome.revision is not None:
        fields = corrections.changed_fields(connection, stored, claim.window, outcome.revision)
        outcome = replace(outcome, changed_fields=fields)
    if correction is not None and outcome.updated + outcome.inserted + outcome.removed:
        corrections.record(connection, stored, claim.window, correction, outcome)


def _close_batch(
    connection: psycopg.Connection, claim: Claim, batch: Batch, published: Published
) -> None:
    connection.execute(
        "UPDATE market.batches SET state = 'done', finished_at = clock_timestamp(),"
        " expected = %s, inserted = %s, changed = %s, unchanged = %s, absent = %s,"
        " quarantined = %s, lost = %s, removed = %s, requests = %s, retries = %s, revision = %s"
        " WHERE batch_id = %s",
        (
            batch.expected,
            published.inserted,
            published.changed,
            published.unchanged,
            published.absent,
            published.quarantined,
            published.lost,
            published.removed,
            batch.requests,
            batch.retries,
            published.revision,
            claim.batch_id,
        ),
    )
