"""One running local system for the whole folder, on free ports and in a home of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from candlevault.local.system import LocalSystem
from tests.support.postgres import empty_database, free_port, postgres_server, scratch_directory

__all__ = ["empty_database", "postgres_server"]

DAGS = """
import datetime
from airflow.sdk import Param, dag, task


@dag(dag_id="backtest", schedule=None, params={"number": Param(1, type="integer")})
def backtest():
    @task(retries=1, retry_delay=datetime.timedelta(seconds=1))
    def work(**context):
        import os
        import sys
        from airflow.providers.postgres.hooks.postgres import PostgresHook

        print("the number is", context["params"]["number"])
        hook = PostgresHook("candlevault_db")
        user, timezone = hook.get_first("SELECT current_user, current_setting('timezone')")
        return {
            "user": user,
            "timezone": timezone,
            "rest": os.environ["CANDLEVAULT_BINANCE_REST_URL"],
            "warm": "great_expectations" in sys.modules,
        }

    work()


@dag(dag_id="other", schedule=None)
def other():
    @task
    def nothing():
        pass

    nothing()


backtest()
other()
"""


def clean_environment() -> dict[str, str]:
    """The environment without settings of a home that the developer may have sourced."""
    dropped = ("AIRFLOW", "CANDLEVAULT_")
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(dropped) and name not in ("EXCHANGE", "END")
    }


def new_system(directory: Path, **options) -> LocalSystem:
    """A system that was never started, on free ports."""
    first = free_port(5)
    chosen = {"exchange": "simulated", "api_port": first, "pg_port": first + 4} | options
    return LocalSystem(directory / "home", environment=clean_environment(), **chosen)


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A directory that the database account can reach."""
    with scratch_directory() as directory:
        yield directory


@pytest.fixture(scope="session")
def session_system() -> Iterator[LocalSystem]:
    with scratch_directory() as directory:
        dags = directory / "dags"
        dags.mkdir()
        (dags / "two.py").write_text(DAGS)
        system = new_system(directory, dags=dags)
        try:
            system.start(lambda line: None)
            yield system
        finally:
            system.stop(lambda line: None)


@pytest.fixture
def system(session_system: LocalSystem) -> LocalSystem:
    """The folder's running system, healthy whatever the test before did to it."""
    session_system.start(lambda line: None)
    return session_system
