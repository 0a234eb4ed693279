"""The real system with the project's own DAGs, on the simulated exchange and free ports."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import psycopg
import pytest

from candlevault.local.system import LocalSystem
from tests.support.postgres import free_port, scratch_directory

END = "2025-10-01T00:00:00Z"
WINDOW = {"start": "2024-01-01T00:00:00Z", "end": END}


@pytest.fixture(scope="session")
def vault() -> Iterator[LocalSystem]:
    """A running system; its simulated venue stands at END plus one minute."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AIRFLOW", "CANDLEVAULT_")) and name not in ("EXCHANGE", "END")
    }
    with scratch_directory() as directory:
        first = free_port(5)
        system = LocalSystem(
            directory / "home",
            api_port=first,
            pg_port=first + 4,
            exchange="simulated",
            end=END,
            environment=kept
            | {"CANDLEVAULT_RETRY_DELAY_S": "2", "CANDLEVAULT_STRATEGY_TIMEOUT_S": "5"},
        )
        try:
            system.start(print)
            yield system
        finally:
            system.stop(print)


@pytest.fixture(scope="session")
def rows(vault: LocalSystem) -> Callable[..., list[tuple]]:
    """Runs a statement on the market database and returns its rows."""

    def run(statement: str, *parameters) -> list[tuple]:
        with psycopg.connect(vault.db_url) as connection:
            return connection.execute(statement, parameters).fetchall()

    return run


@pytest.fixture(scope="session")
def run_dag(vault: LocalSystem) -> Callable[..., dict]:
    """Triggers a DAG and returns its run once it has ended; the run id is in it."""

    def run(dag_id: str, conf: dict | None = None, timeout: float = 240.0) -> dict:
        vault.api.wait_for_dag(dag_id)
        vault.api.set_paused(dag_id, False)
        run_id = vault.api.trigger(dag_id, conf)
        return vault.api.wait(dag_id, run_id, timeout=timeout)

    return run
