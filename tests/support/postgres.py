"""A real PostgreSQL for tests: one throw-away server per session, fresh databases from it.

As fixtures (import them in a conftest.py): `postgres_server`, `empty_database`.
Without pytest: `running_postgres()` and `PostgresServer.database()`, context managers both.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from candlevault.local.postgres import EmbeddedPostgres

OWNER = "candlevault"
PASSWORD = "for-tests-only"
PREFIX = "candlevault-test-"


class PostgresServer:
    """A running server that hands out databases owned by the role `candlevault`."""

    def __init__(self, postgres: EmbeddedPostgres) -> None:
        self.postgres = postgres
        self._numbers = itertools.count(1)

    def url(self, database: str) -> str:
        """The libpq URL of `database` for its owner."""
        return self.postgres.url(database, OWNER, PASSWORD)

    def superuser_url(self, database: str = "postgres") -> str:
        """The libpq URL of `database` for the superuser."""
        return self.postgres.url(database)

    def make_template(self, name: str, prepare: Callable[[str], None]) -> str:
        """Make the database `name`, let `prepare(url)` fill it, and return the name.

        Once made it is kept, so that calling this again costs nothing; `prepare` must
        close its connections, or no copy can be made.
        """
        with psycopg.connect(self.superuser_url(), autocommit=True) as connection:
            known = connection.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", [name]
            ).fetchone()
        if known is None:
            draft = f"{name}_draft"
            self.postgres.drop_database(draft)
            self.postgres.create_database(draft, OWNER)
            prepare(self.url(draft))
            with psycopg.connect(self.superuser_url(), autocommit=True) as connection:
                connection.execute(f'ALTER DATABASE "{draft}" RENAME TO "{name}"')
        return name

    @contextlib.contextmanager
    def database(self, template: str | None = None) -> Iterator[str]:
        """The URL of a fresh database, a copy of `template` if given; dropped afterwards."""
        name = f"test_{os.getpid()}_{next(self._numbers)}"
        self.postgres.create_database(name, OWNER, template=template)
        try:
            yield self.url(name)
        finally:
            self.postgres.drop_database(name)


def free_port(span: int = 1) -> int:
    """The first of `span` consecutive ports on 127.0.0.1 that are all free right now."""
    for _ in range(200):
        with contextlib.ExitStack() as stack:
            first = stack.enter_context(socket.socket())
            first.bind(("127.0.0.1", 0))
            start = first.getsockname()[1]
            try:
                for port in range(start + 1, start + span):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except (OSError, OverflowError):
                continue
            return start
    raise RuntimeError(f"found no {span} consecutive free ports")


@contextlib.contextmanager
def scratch_directory() -> Iterator[Path]:
    """A new directory that the database account can reach, removed afterwards.

    (pytest's own temporary directories are closed to every other account.)
    """
    _remove_abandoned()
    path = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-")).resolve()
    path.chmod(0o711)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """A fresh server on a free port; stopped and removed afterwards."""
    with scratch_directory() as directory:
        postgres = EmbeddedPostgres(
            directory / "postgres",
            free_port(),
            password=PASSWORD,
            log_file=directory / "postgres.log",
            # Nothing here has to survive a power cut; everything else is as in real use.
            settings={"fsync": "off", "shared_buffers": "64MB"},
        )
        postgres.start()
        try:
            postgres.ensure_database("candlevault", OWNER, PASSWORD)
            yield PostgresServer(postgres)
        finally:
            postgres.stop()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The session's PostgreSQL server."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def empty_database(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of a database of its own for one test, owned by `candlevault`, without a table."""
    with postgres_server.database() as url:
        yield url


def _remove_abandoned() -> None:
    """Stop and remove the servers of test runs that were killed."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        owner = path.name.removeprefix(PREFIX).split("-")[0]
        if not owner.isdigit() or psutil.pid_exists(int(owner)):
            continue
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.name() == "postgres" and process.cwd().startswith(str(path)):
                    process.kill()
        shutil.rmtree(path, ignore_errors=True)
