"""What an archive's listing has shown of a series' files, and at which version they were read."""

from __future__ import annotations

from collections.abc import Sequence

from candlevault.provenance import ArchiveFile
from candlevault.storage.database import Connect
from candlevault.storage.series_registry import StoredSeries

# A version loaded before the listing was ever read: the header of the answer names it too. The
# oldest one counts: a later one may have been read for a single candle only.
_LOADED = """
SELECT DISTINCT ON (split_part(f.url, '/', -1)) split_part(f.url, '/', -1), btrim(f.etag, '"')
FROM market.fetches f JOIN market.batches b USING (batch_id)
WHERE b.series_id = %s AND f.etag IS NOT NULL
ORDER BY split_part(f.url, '/', -1), f.fetched_at
"""


def note(
    connect: Connect, stored: StoredSeries, files: Sequence[ArchiveFile]
) -> dict[str, str | None]:
    """Record what is listed now. By key: the ETag of the version last compared with the
    stored candles, None for a file seen for the first time and never loaded."""
    with connect() as connection, connection.transaction():
        loaded = dict(connection.execute(_LOADED, (stored.series_id,)).fetchall())
        before = dict(
            connection.execute(
                "SELECT key, examined_etag FROM market.archive_files WHERE series_id = %s",
                (stored.series_id,),
            ).fetchall()
        )
        compared: dict[str, str | None] = {}
        for file in files:
            compared[file.key] = before.get(file.key) or loaded.get(file.key.rsplit("/", 1)[-1])
            connection.execute(
                "INSERT INTO market.archive_files AS a (series_id, key, granularity,"
                " period_start, period_end, etag, bytes, last_modified, examined_etag)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)"
                " ON CONFLICT (series_id, key) DO UPDATE SET etag = excluded.etag,"
                " bytes = excluded.bytes, last_modified = excluded.last_modified,"
                " seen_at = clock_timestamp()",
                (
                    stored.series_id,
                    file.key,
                    file.granularity,
                    file.window.start,
                    file.window.end,
                    file.etag,
                    file.bytes,
                    file.last_modified,
                    compared[file.key] or file.etag,
                ),
            )
    return compared


def examined(connect: Connect, stored: StoredSeries, file: ArchiveFile) -> None:
    """Record that this version of a file was compared with the stored candles."""
    with connect() as connection:
        connection.execute(
            "UPDATE market.archive_files SET examined_etag = %s, rewrites = rewrites + 1"
            " WHERE series_id = %s AND key = %s",
            (file.etag, stored.series_id, file.key),
        )
