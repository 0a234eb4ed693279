"""The publishing transaction: everything a batch brought, or nothing of it.

In one transaction: the fencing token is checked, the next revision of the series is taken
under its row lock, new candles are inserted by COPY, differing ones replaced after their
old version was kept, absences recorded or withdrawn, rejected rows quarantined, and the
ledger and the status written. Rows that are already there and equal are not touched.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
from psycopg import sql

from candlevault import candles, windows
from candlevault.errors import LeaseLost, StorageError
from candlevault.provenance import Fetch, Rejected
from candlevault.storage.candle_reads import Absence, absences, account, open_times
from candlevault.storage.database import Connect
from candlevault.storage.ledger import Claim
from candlevault.storage.series_registry import StoredSeries, provider_ids
from candlevault.storage.sql import candle_table, for_timeframe, query
from candlevault.timeframe import Timeframe, from_ms
from candlevault.windows import Window

_COLUMNS = (
    "series_id", "open_time", *candles.PRICES, *candles.AMOUNTS, "trades_count", "close_time",
    "fetch_id", "revision",
)  # fmt: skip


_PARTITIONS_LOCK = 0x63765F70617274


@dataclass(frozen=True, slots=True)
class NewAbsence:
    """A window the venue never published, with the answers that show it."""

    window: Window
    reason: str
    evidence: dict[str, object]


@dataclass(slots=True)
class Batch:
    """What a batch brought: judged candles, their fetches, absences, rejected rows.

    `candles` are ascending, unique, inside the claim's window; their `source` counts in
    `fetches`. `lost` is how many expected open times remain neither stored nor explained.
    """

    candles: pa.Table
    fetches: list[Fetch]
    absences: list[NewAbsence] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    expected: int = 0
    requests: int = 0
    retries: int = 0
    reason: str = "load"


@dataclass(frozen=True, slots=True)
class Published:
    """What the transaction did. `revision` is None when nothing changed."""

    inserted: int
    changed: int
    unchanged: int
    absent: int
    quarantined: int
    lost: int
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


def _publish(connect: Connect, stored: StoredSeries, claim: Claim, batch: Batch) -> Published:
    _ensure_partitions(connect, stored.series.timeframe, batch.candles)
    with connect() as connection, connection.transaction():
        if (before := _already_done(connection, claim)) is not None:
            return before
        revision = (
            1
            + connection.execute(
                "SELECT revision FROM market.series WHERE series_id = %s FOR UPDATE",
                (stored.series_id,),
            ).fetchone()[0]
        )
        _refuse_overtaken(connection, claim)
        fetch_ids = _insert_fetches(connection, stored, claim, batch.fetches)
        inserted, changed = _write_candles(connection, stored, batch, fetch_ids, revision)
        known = absences(connection, stored, claim.window)
        withdrawn = _withdraw(connection, stored, known, batch.candles, revision)
        absent = _insert_absences(connection, stored, batch.absences, known, revision)
        quarantined = _quarantine(connection, stored, claim, batch.rejected)
        touched = inserted + changed + withdrawn + absent > 0
        if touched:
            _record_revision(connection, stored, claim, revision, batch.reason, inserted, changed)
        if inserted:
            _update_status(connection, stored, batch.candles, inserted)
        lost = _count_lost(connection, stored, claim)
        published = Published(
            inserted=inserted,
            changed=changed,
            unchanged=batch.candles.num_rows - inserted - changed,
            absent=absent,
            quarantined=quarantined,
            lost=lost,
            revision=revision if touched else None,
        )
        _close_batch(connection, claim, batch, published)
    return published


def _ensure_partitions(connect: Connect, timeframe: Timeframe, table: pa.Table) -> None:
    if table.num_rows == 0:
        return
    times = candles.open_times(table)
    # Reaching past the newest candle, so that a partition exists before it is needed.
    ahead = timedelta(days=31)
    span = (timeframe.code, from_ms(times[0]), from_ms(times[-1]) + ahead)
    with connect() as connection, connection.transaction():
        missing = connection.execute("SELECT market.partitions_missing(%s, %s, %s)", span)
        if missing.fetchone()[0]:
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_PARTITIONS_LOCK,))
            connection.execute("SELECT market.ensure_partitions(%s, %s, %s)", span)


def _already_done(connection: psycopg.Connection, claim: Claim) -> Published | None:
    """What this very claim has published, or None while it may still publish."""
    row = connection.execute(
        "SELECT fencing_token, state, inserted, changed, unchanged, absent, quarantined, lost,"
        " revision FROM market.batches WHERE batch_id = %s FOR UPDATE",
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


def _write_candles(
    connection: psycopg.Connection,
    stored: StoredSeries,
    batch: Batch,
    fetch_ids: np.ndarray,
    revision: int,
) -> tuple[int, int]:
    """Insert and replace; returns (inserted, changed)."""
    table = batch.candles
    if table.num_rows == 0:
        return 0, 0
    timeframe = stored.series.timeframe
    times = candles.open_times(table)
    rows = _copy_bytes(stored, table, fetch_ids, revision)
    bounds = {
        "series_id": stored.series_id,
        "first": from_ms(times[0]),
        "last": from_ms(times[-1]),
        "revision": revision,
        "reason": batch.reason,
    }
    some = connection.execute(
        sql.SQL(
            "SELECT EXISTS (SELECT FROM {candles} WHERE series_id = %(series_id)s"
            " AND open_time >= %(first)s AND open_time <= %(last)s)"
        ).format(candles=candle_table(timeframe)),
        bounds,
    ).fetchone()[0]
    if not some:
        _copy_in(connection, candle_table(timeframe), rows)
        return table.num_rows, 0
    connection.execute(
        sql.SQL("CREATE TEMP TABLE staged_candles (LIKE {candles}) ON COMMIT DROP").format(
            candles=candle_table(timeframe)
        )
    )
    _copy_in(connection, sql.Identifier("staged_candles"), rows)
    connection.execute("ANALYZE staged_candles")
    changed = connection.execute(
        for_timeframe("archive_changed_candles", timeframe), bounds
    ).rowcount
    if changed:
        connection.execute(for_timeframe("update_changed_candles", timeframe), bounds)
    inserted = connection.execute(for_timeframe("insert_new_candles", timeframe), bounds).rowcount
    return inserted, changed


def _copy_bytes(
    stored: StoredSeries, table: pa.Table, fetch_ids: np.ndarray, revision: int
) -> bytes:
    """The rows as COPY reads them; decimals keep every digit."""
    count = table.num_rows
    step_ms = stored.series.timeframe.step_ms
    open_ms = table["open_time"].to_numpy()
    close_ms = table["close_time"].to_numpy()
    irregular = close_ms != open_ms + step_ms - 1
    close_times = pa.array(close_ms, mask=~irregular).cast(pa.timestamp("ms", "UTC"))
    columns = {
        "series_id": pa.array(np.full(count, stored.series_id, dtype=np.int16)),
        "open_time": pa.array(open_ms).cast(pa.timestamp("ms", "UTC")).cast(pa.string()),
        **{name: table[name] for name in (*candles.PRICES, *candles.AMOUNTS, "trades_count")},
        "close_time": pc.fill_null(close_times.cast(pa.string()), ""),
        "fetch_id": pa.array(fetch_ids[table["source"].to_numpy()]),
        "revision": pa.array(np.full(count, revision, dtype=np.int32)),
    }
    out = io.BytesIO()
    pacsv.write_csv(
        pa.table({name: columns[name] for name in _COLUMNS}),
        out,
        pacsv.WriteOptions(include_header=False, quoting_style="none"),
    )
    return out.getvalue()


def _copy_in(connection: psycopg.Connection, target: sql.Identifier, rows: bytes) -> None:
    statement = sql.SQL("COPY {target} ({columns}) FROM STDIN (FORMAT csv, NULL '')").format(
        target=target, columns=sql.SQL(", ").join(map(sql.Identifier, _COLUMNS))
    )
    # All bytes are at hand before COPY starts: a stalled COPY ignores every time-out.
    with connection.cursor().copy(statement) as copy:
        copy.write(rows)


def _withdraw(
    connection: psycopg.Connection,
    stored: StoredSeries,
    known: list[Absence],
    table: pa.Table,
    revision: int,
) -> int:
    """Withdraw known absences that turned out to hold candles; what remains is kept."""
    times = candles.open_times(table)
    withdrawn = 0
    for absence in known:
        left, right = np.searchsorted(times, [absence.window.start_ms, absence.window.end_ms])
        if left == right:
            continue
        withdrawn += 1
        step_ms = stored.series.timeframe.step_ms
        found = [Window(int(t), int(t) + step_ms) for t in times[left:right]]
        for rest in windows.subtract(absence.window, found):
            connection.execute(
                "INSERT INTO market.known_absences (series_id, window_start, window_end, reason,"
                " evidence, revision) SELECT series_id, %s, %s, reason, evidence, %s"
                " FROM market.known_absences WHERE absence_id = %s",
                (rest.start, rest.end, revision, absence.absence_id),
            )
        connection.execute(
            "UPDATE market.known_absences SET withdrawn_revision = %s,"
            " withdrawn_reason = 'the venue publishes it now' WHERE absence_id = %s",
            (revision, absence.absence_id),
        )
    return withdrawn


def _insert_absences(
    connection: psycopg.Connection,
    stored: StoredSeries,
    found: Iterable[NewAbsence],
    known: list[Absence],
    revision: int,
) -> int:
    """Record what is not recorded yet; returns how many open times that explains.

    What is stored stays stored: a candle that the venue no longer sends is no absence.
    """
    explained = 0
    timeframe = stored.series.timeframe
    for absence in found:
        held = windows.runs(open_times(connection, stored, absence.window), timeframe)
        already = [one.window for one in known] + held
        for part in windows.subtract(absence.window, already):
            connection.execute(
                "INSERT INTO market.known_absences (series_id, window_start, window_end, reason,"
                " evidence, revision) VALUES (%s, %s, %s, %s, %s, %s)",
                (
                    stored.series_id,
                    part.start,
                    part.end,
                    absence.reason,
                    json.dumps(absence.evidence),
                    revision,
                ),
            )
            explained += windows.expected_count(part, timeframe)
        connection.execute(
            "UPDATE market.known_absences SET examined_at = clock_timestamp()"
            " WHERE series_id = %s AND withdrawn_revision IS NULL"
            " AND window_start < %s AND window_end > %s",
            (stored.series_id, absence.window.end, absence.window.start),
        )
    return explained


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
        "INSERT INTO market.series_revisions (series_id, revision, batch_id, reason, inserted,"
        " changed) VALUES (%s, %s, %s, %s, %s, %s)",
        (stored.series_id, revision, claim.batch_id, reason, inserted, changed),
    )


def _update_status(
    connection: psycopg.Connection, stored: StoredSeries, table: pa.Table, inserted: int
) -> None:
    times = candles.open_times(table)
    connection.execute(
        query("update_series_status"),
        {
            "series_id": stored.series_id,
            "inserted": inserted,
            "first": from_ms(times[0]),
            "last": from_ms(times[-1]),
        },
    )


def _count_lost(connection: psycopg.Connection, stored: StoredSeries, claim: Claim) -> int:
    return len(account(connection, stored, claim.window).lost)


def _close_batch(
    connection: psycopg.Connection, claim: Claim, batch: Batch, published: Published
) -> None:
    connection.execute(
        "UPDATE market.batches SET state = 'done', finished_at = clock_timestamp(),"
        " expected = %s, inserted = %s, changed = %s, unchanged = %s, absent = %s,"
        " quarantined = %s, lost = %s, requests = %s, retries = %s, revision = %s"
        " WHERE batch_id = %s",
        (
            batch.expected,
            published.inserted,
            published.changed,
            published.unchanged,
            published.absent,
            published.quarantined,
            published.lost,
            batch.requests,
            batch.retries,
            published.revision,
            claim.batch_id,
        ),
    )
