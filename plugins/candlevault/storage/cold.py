"""The cold tier: months of a series as Parquet files, verified whenever they are read.

One file per series and month below `CANDLEVAULT_COLD_URL` (a folder or any fsspec URL). It
holds the rows exactly as the hot table held them, revision and fetch included, so that a
read at any revision comes out the same. A file is never written twice: a changed month gets
a new name. Which files count is said by market.cold_files alone.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import fsspec
import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from candlevault import candles, config, paths, windows
from candlevault.errors import ColdFileDamaged
from candlevault.storage.series_registry import StoredSeries
from candlevault.timeframe import from_ms, to_ms
from candlevault.windows import Window

ROWS = pa.schema(
    [field for field in candles.SCHEMA if field.name != "source"]
    + [("fetch_id", pa.int64()), ("revision", pa.int32())]
)
"""A stored row: a candle (see candlevault.candles), its fetch and its revision."""

_KEPT_DAYS = 2
"""How long a file that no longer counts is left for readers that have just looked it up."""


@dataclass(frozen=True, slots=True)
class ColdFile:
    """A line of market.cold_files. `path` is relative to the cold tier's root."""

    series_id: int
    month: date
    path: str
    bytes: int
    file_sha256: str
    rows: int
    rows_sha256: str
    first_ms: int
    last_ms: int
    newest_revision: int

    @property
    def window(self) -> Window:
        """The whole month."""
        return month_window(self.month)


def month_window(month: date) -> Window:
    """The month that begins on `month`, UTC."""
    start = to_ms(datetime(month.year, month.month, 1, tzinfo=UTC))
    return next(windows.months(Window(start, start + 1)))


def files(connection: psycopg.Connection, series_id: int, window: Window) -> list[ColdFile]:
    """The cold months of a series that `window` touches, ascending."""
    rows = connection.execute(
        "SELECT series_id, month, path, bytes, file_sha256, rows, rows_sha256,"
        " (extract(epoch FROM first_open_time) * 1000)::bigint,"
        " (extract(epoch FROM last_open_time) * 1000)::bigint, newest_revision"
        # By month, not by what is in the file: a candle at the edge of a month belongs to it.
        " FROM market.cold_files WHERE series_id = %s AND month < %s"
        " AND month >= date_trunc('month', %s AT TIME ZONE 'UTC') ORDER BY month",
        (series_id, window.end.replace(tzinfo=None), window.start),
    ).fetchall()
    return [ColdFile(*row) for row in rows]


def rows_of(connection: psycopg.Connection, series_id: int, window: Window) -> pa.Table:
    """The current rows of the cold months in `window`, schema ROWS, ascending."""
    tables = [within(read(file), window) for file in files(connection, series_id, window)]
    return pa.concat_tables(tables) if tables else ROWS.empty_table()


def read(file: ColdFile) -> pa.Table:
    """All rows of a file, schema ROWS; raises ColdFileDamaged when it is not what was written."""
    system, root = _store()
    path = f"{root}/{file.path}"
    try:
        body = system.cat_file(path)
    except FileNotFoundError as error:
        raise ColdFileDamaged(path, "is missing") from error
    except OSError as error:
        raise ColdFileDamaged(path, f"cannot be read: {error}") from error
    if hashlib.sha256(body).hexdigest() != file.file_sha256:
        raise ColdFileDamaged(path, "is not the file that was written: its SHA-256 differs")
    table = _parse(path, body)
    if table.num_rows != file.rows or rows_sha256(table) != file.rows_sha256:
        raise ColdFileDamaged(path, "does not hold the rows that were written")
    return table


def write(stored: StoredSeries, month: date, rows: pa.Table) -> ColdFile:
    """Write the rows of a month (schema ROWS, ascending), read the file back, compare.

    Nothing counts yet: the caller enters the file into market.cold_files.
    """
    series = stored.series
    newest = int(rows["revision"].to_numpy().max())
    told = {
        "venue": series.venue,
        "market": series.market,
        "symbol": series.symbol,
        "lifetime": stored.lifetime,
        "timeframe": series.timeframe.code,
        "month": f"{month:%Y-%m}",
        "newest_revision": newest,
    }
    metadata = {"candlevault": json.dumps(told)}
    buffer = io.BytesIO()
    pq.write_table(rows.replace_schema_metadata(metadata), buffer, compression="zstd")
    body = buffer.getvalue()
    times = rows["open_time"].to_numpy()
    name = f"{month:%Y-%m}.{newest}.{uuid.uuid4().hex[:8]}.parquet"
    folder = f"{series.venue}/{series.market}/{series.symbol}.{stored.lifetime}"
    file = ColdFile(
        series_id=stored.series_id,
        month=month,
        path=f"{folder}/{series.timeframe.code}/{name}",
        bytes=len(body),
        file_sha256=hashlib.sha256(body).hexdigest(),
        rows=rows.num_rows,
        rows_sha256=rows_sha256(rows),
        first_ms=int(times[0]),
        last_ms=int(times[-1]),
        newest_revision=newest,
    )
    system, root = _store()
    _put(system, f"{root}/{file.path}", body)
    read(file)
    return file


def enter(connection: psycopg.Connection, file: ColdFile) -> None:
    """Make a written file count; its month must be in the partition ledger."""
    connection.execute(
        "INSERT INTO market.cold_files (series_id, month, path, bytes, file_sha256, rows,"
        " rows_sha256, first_open_time, last_open_time, newest_revision)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            file.series_id,
            file.month,
            file.path,
            file.bytes,
            file.file_sha256,
            file.rows,
            file.rows_sha256,
            from_ms(file.first_ms),
            from_ms(file.last_ms),
            file.newest_revision,
        ),
    )
    _set_tier(connection, file, "cold")


def strike(connection: psycopg.Connection, file: ColdFile) -> None:
    """Make a file count no more; its rows must be in the hot table again."""
    connection.execute(
        "DELETE FROM market.cold_files WHERE series_id = %s AND month = %s",
        (file.series_id, file.month),
    )
    _set_tier(connection, file, "hot")


def sweep(connection: psycopg.Connection, stored: StoredSeries) -> list[str]:
    """Remove files of a series that have not counted for two days; returns their paths."""
    system, root = _store()
    series = stored.series
    folder = f"{series.venue}/{series.market}/{series.symbol}.{stored.lifetime}"
    folder = f"{folder}/{series.timeframe.code}"
    counted = {
        row[0]
        for row in connection.execute(
            "SELECT path FROM market.cold_files WHERE series_id = %s", (stored.series_id,)
        ).fetchall()
    }
    try:
        present = [str(path) for path in system.ls(f"{root}/{folder}", detail=False)]
    except FileNotFoundError:
        return []
    before = datetime.now(UTC) - timedelta(days=_KEPT_DAYS)
    removed = []
    for path in present:
        relative = f"{folder}/{path.rsplit('/', 1)[-1]}"
        if relative in counted or system.modified(path) > before:
            continue
        system.rm_file(path)
        removed.append(relative)
    return removed


def rows_sha256(rows: pa.Table) -> str:
    """SHA-256 of rows of schema ROWS: values, fetches and revisions; hex."""
    digest = hashlib.sha256(candles.canonical_text(rows))
    for name in ("fetch_id", "revision"):
        digest.update(np.ascontiguousarray(rows[name].to_numpy(), dtype="<i8").tobytes())
    return digest.hexdigest()


def _set_tier(connection: psycopg.Connection, file: ColdFile, tier: str) -> None:
    connection.execute(
        "UPDATE market.series_months SET tier = %(tier)s,"
        " thawed_at = CASE WHEN %(tier)s = 'hot' THEN clock_timestamp() END"
        " WHERE series_id = %(series_id)s AND month = %(month)s",
        {"tier": tier, "series_id": file.series_id, "month": file.month},
    )


def _store() -> tuple[fsspec.AbstractFileSystem, str]:
    url = config.setting("CANDLEVAULT_COLD_URL") or str(paths.home() / "cold")
    system, root = fsspec.url_to_fs(url)
    return system, str(root).rstrip("/")


def _put(system: fsspec.AbstractFileSystem, path: str, body: bytes) -> None:
    if not isinstance(system, LocalFileSystem):
        # An object store shows an object whole or not at all.
        system.pipe_file(path, body)
        return
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    passing = target.with_name(f"{target.name}.part")
    with passing.open("wb") as out:
        out.write(body)
        out.flush()
        os.fsync(out.fileno())
    passing.replace(target)
    handle = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _parse(path: str, body: bytes) -> pa.Table:
    try:
        table = pq.read_table(io.BytesIO(body))
        return table.replace_schema_metadata(None).select(ROWS.names).cast(ROWS)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, KeyError, OSError) as error:
        raise ColdFileDamaged(path, f"is no readable file of candles: {error}") from error


def within(table: pa.Table, window: Window) -> pa.Table:
    """The rows that open in `window`, of a table in ascending order."""
    times = table["open_time"].to_numpy()
    left, right = np.searchsorted(times, [window.start_ms, window.end_ms])
    return table.slice(int(left), int(right - left))
