"""A home's PostgreSQL server and the two databases in it, brought up to date."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import psycopg

from candlevault.errors import SetupError
from candlevault.local.airflow_settings import (
    AIRFLOW_DATABASE,
    AIRFLOW_ROLE,
    MARKET_DATABASE,
    MARKET_ROLE,
)
from candlevault.local.credentials import Credentials
from candlevault.local.files import read_json, write_atomically
from candlevault.local.home import Home
from candlevault.local.postgres import EmbeddedPostgres

MIGRATION_SECONDS = 600.0


def postgres_of(
    home: Home, credentials: Credentials, say: Callable[[str], None]
) -> EmbeddedPostgres:
    """The home's PostgreSQL server, not started."""
    directory = home.postgres_directory()
    if not directory.is_relative_to(home.path) and not (directory / "data").exists():
        say(f"PostgreSQL's account cannot reach {home.path}: its files go to {directory}")
    return EmbeddedPostgres(
        directory,
        home.pg_port,
        password=credentials.superuser_password,
        log_file=home.logs / "postgres.log",
        say=say,
    )


def ensure_databases(postgres: EmbeddedPostgres, credentials: Credentials) -> None:
    """Make the roles and databases of Airflow and of the market data where missing."""
    postgres.ensure_database(AIRFLOW_DATABASE, AIRFLOW_ROLE, credentials.airflow_db_password)
    postgres.ensure_database(MARKET_DATABASE, MARKET_ROLE, credentials.market_db_password)


class Migrations:
    """The migrations of both databases, run beside each other as processes of their own.

    Airflow's takes several seconds even when there is nothing to do; it is left out when a
    stamp says that this Airflow version brought the database to the revision it has now.
    """

    def __init__(
        self, home: Home, postgres: EmbeddedPostgres, environment: Mapping[str, str]
    ) -> None:
        self._stamp = home.run / "airflow-database.json"
        self._logs = home.logs
        self._postgres = postgres
        self._environment = dict(environment)
        self._running: list[tuple[str, subprocess.Popen, Path]] = []

    def start(self, say: Callable[[str], None]) -> None:
        """Start what is to be done; finished() tells when it is."""
        if importlib.util.find_spec("candlevault.storage.__main__") is None:
            raise SetupError(
                "candlevault.storage is missing from plugins/: this checkout is incomplete"
            )
        if self._airflow_is_current():
            say("migrating the market database")
        else:
            say("migrating Airflow's database and the market database")
            self._spawn("migration of Airflow's database", "airflow", "db", "migrate")
        self._spawn("migration of the market database", "candlevault.storage", "migrate")

    def finished(self) -> bool:
        """Whether all is done; raises SetupError when one of them failed."""
        for name, process, log in list(self._running):
            code = process.poll()
            if code is None:
                continue
            self._running = [entry for entry in self._running if entry[1] is not process]
            if code != 0:
                self.stop()
                raise SetupError(f"the {name} failed: {last_line(log)} (log: {log})")
            if "Airflow" in name:
                write_atomically(self._stamp, json.dumps(self._airflow_state()) + "\n")
        return not self._running

    def stop(self) -> None:
        """Kill what still runs."""
        for _, process, _ in self._running:
            process.kill()
            process.wait()
        self._running = []

    def _spawn(self, name: str, module: str, *arguments: str) -> None:
        log = self._logs / f"migrate-{module.split('.')[0]}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                env=self._environment,
                cwd=self._logs.parent,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._running.append((name, process, log))

    def _airflow_is_current(self) -> bool:
        stamp = read_json(self._stamp)
        return stamp is not None and stamp == self._airflow_state() and bool(stamp["revisions"])

    def _airflow_state(self) -> dict:
        """Airflow's version and the revision that its database says it is at."""
        with self._postgres.connect(AIRFLOW_DATABASE) as connection:
            try:
                rows = connection.execute("SELECT version_num FROM alembic_version").fetchall()
            except psycopg.errors.UndefinedTable:
                rows = []
        return {
            "version": importlib.metadata.version("apache-airflow"),
            "revisions": sorted(row[0] for row in rows),
        }


def last_line(log: Path) -> str:
    """The last line with text in `log`, for a message of one line."""
    try:
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
    except OSError:
        lines = []
    lines = [line for line in lines if line]
    # Of an exception that ended a program only the message is for the user.
    return re.sub(r"^[\w.]+\.(\w+): ", "", lines[-1])[:300] if lines else "it said nothing"
