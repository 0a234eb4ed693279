"""Numbered SQL files, applied in order, each in its own transaction, recorded with a hash."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from candlevault import paths
from candlevault.errors import StorageError
from candlevault.storage.database import Connect

# A fixed key: every starter of every version must meet the same lock.
_LOCK = 0x63616E646C6576


@dataclass(frozen=True, slots=True)
class Migration:
    """One file `NNNN_name.sql`."""

    number: int
    name: str
    text: str

    @property
    def sha256(self) -> str:
        """Hash of the file's text; an applied file must never change."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def available(folder: Path = paths.MIGRATIONS) -> list[Migration]:
    """All migrations, ascending; raises StorageError for a bad or repeated number."""
    found: dict[int, Migration] = {}
    for file in sorted(folder.glob("*.sql")):
        match = re.fullmatch(r"(\d{4})_([a-z0-9_]+)\.sql", file.name)
        if match is None:
            raise StorageError(f"migration {file.name}: must be named NNNN_words.sql")
        migration = Migration(int(match[1]), match[2], file.read_text(encoding="utf-8"))
        if migration.number in found:
            raise StorageError(f"migration number {migration.number:04d} is used twice")
        found[migration.number] = migration
    return list(found.values())


def migrate(connect: Connect, folder: Path = paths.MIGRATIONS) -> list[str]:
    """Apply what is missing; returns the names applied now. Safe for many starters at once."""
    applied_now: list[str] = []
    for migration in available(folder):
        with connect() as connection, connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            connection.execute("CREATE SCHEMA IF NOT EXISTS market")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS market.schema_migrations ("
                " number integer PRIMARY KEY, name text NOT NULL, sha256 text NOT NULL,"
                " applied_at timestamptz NOT NULL DEFAULT clock_timestamp())"
            )
            row = connection.execute(
                "SELECT sha256 FROM market.schema_migrations WHERE number = %s",
                (migration.number,),
            ).fetchone()
            if row is None:
                connection.execute(migration.text)
                connection.execute(
                    "INSERT INTO market.schema_migrations (number, name, sha256)"
                    " VALUES (%s, %s, %s)",
                    (migration.number, migration.name, migration.sha256),
                )
                applied_now.append(migration.name)
            elif row[0] != migration.sha256:
                raise StorageError(
                    f"migration {migration.number:04d}_{migration.name}.sql was changed after it"
                    " was applied: restore the file and add a new migration instead"
                )
    return applied_now
