"""kill -9 in the middle of a backfill: whatever dies, the content ends as if nothing had.

Each series is loaded through Airflow while something is killed, and once undisturbed, by
the library, into a database of its own. Candles and known absences must have one hash.
"""

from __future__ import annotations

import os
import signal
import time

import psutil
import psycopg
import pytest
import requests

from candlevault.errors import CandlevaultError
from candlevault.ingest import syncs
from candlevault.ingest.load import Market
from candlevault.local.databases import postgres_of
from candlevault.providers.registry import venue_of
from candlevault.series import parse
from candlevault.storage import candle_reads, series_registry
from candlevault.storage.database import connector
from candlevault.storage.migrations import migrate
from candlevault.storage.settings import adopt_exchange
from candlevault.windows import Window
from tests.system.conftest import END

START = "2020-01-01T00:00:00Z"
WINDOW = Window(1577836800000, 1759276800000)


def content_hash(url: str, symbol: str) -> str:
    connect = connector(url)
    stored = series_registry.get(connect, parse("simulated", "spot", symbol, "1h"))
    with connect() as connection:
        revision = candle_reads.current_revision(connection, stored)
        return candle_reads.fingerprint(connection, stored, WINDOW, revision)


@pytest.fixture(scope="module")
def undisturbed(vault):
    """Loads a symbol into a database of its own and gives its content hash."""
    postgres = postgres_of(vault.home, vault.credentials, lambda line: None)
    name = "undisturbed"
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name}")
        connection.execute(f"CREATE DATABASE {name} OWNER candlevault")
    url = vault.db_url.rpartition("/")[0] + f"/{name}"
    variables = vault.variables()
    before = dict(os.environ)
    os.environ.update({key: variables[key] for key in variables if key.startswith("CANDLEVAULT_")})
    try:
        connect = connector(url)
        migrate(connect)
        adopt_exchange(connect)
        market = Market(connect, venue_of("simulated", "spot"), say=lambda line: None)

        def load(symbol: str) -> str:
            report = syncs.backfill(market, parse("simulated", "spot", symbol, "1h"), WINDOW)
            assert (report.lost, report.expected) == (0, 50_400)
            return content_hash(url, symbol)

        yield load
    finally:
        os.environ.clear()
        os.environ.update(before)


def start_backfill(vault, symbol: str) -> tuple[str, str]:
    """Trigger the backfill of a symbol, however long Airflow is away from the kill before."""
    dag_id = f"backfill__{symbol}__1h"
    deadline = time.monotonic() + 120
    while True:
        try:
            vault.api.wait_for_dag(dag_id)
            vault.api.set_paused(dag_id, False)
            return dag_id, vault.api.trigger(dag_id, {"start": START, "end": END})
        except CandlevaultError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


def wait_until_loading(rows, symbol: str) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        if rows(
            "SELECT 1 FROM market.batches b JOIN market.series_names n USING (series_id)"
            " WHERE n.symbol = %s AND n.timeframe = '1h' AND b.state = 'running'",
            symbol,
        ):
            time.sleep(0.5)
            return
        time.sleep(0.1)
    raise AssertionError(f"{symbol}: the backfill never began")


def loading_process(rows, symbol: str) -> psutil.Process:
    claimed_by = rows(
        "SELECT b.claimed_by FROM market.batches b JOIN market.series_names n USING (series_id)"
        " WHERE n.symbol = %s AND b.state = 'running' ORDER BY b.claimed_at DESC LIMIT 1",
        symbol,
    )[0][0]
    return psutil.Process(int(claimed_by.split(":")[1]))


def finished(vault, dag_id: str, run_id: str) -> dict:
    """The run once it has ended; Airflow itself may be away for a while meanwhile."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        try:
            run = vault.api.dag_run(dag_id, run_id)
            if run["state"] in ("success", "failed"):
                return run
        except CandlevaultError:
            if time.monotonic() > deadline - 1:
                raise
        time.sleep(1)
    raise AssertionError(f"{dag_id} did not end within 300 s")


def kill_task_process(vault, rows, symbol: str) -> None:
    loading_process(rows, symbol).send_signal(signal.SIGKILL)


def kill_scheduler(vault, rows, symbol: str) -> None:
    os.kill(pid_of(vault, "scheduler"), signal.SIGKILL)


def kill_postgres(vault, rows, symbol: str) -> None:
    postmaster = psutil.Process(pid_of(vault, "postgresql"))
    for process in [postmaster, *postmaster.children()]:
        process.send_signal(signal.SIGKILL)


def pid_of(vault, service: str) -> int:
    return next(row.pid for row in vault.status().rows if row.name == service)


KILLS = {
    "XRPUSDT": kill_task_process,
    "DOGEUSDT": kill_scheduler,
    "LINKUSDT": kill_postgres,
}


@pytest.fixture(scope="module")
def survivors(vault, rows, undisturbed):
    """Runs a backfill per kind of kill, kills in its middle, and waits for all of them.

    Gives by symbol the run as it ended and the hash of an undisturbed load. The kills come
    one soon after the other, so that each also falls into the recovery from the last.
    """
    expected = {symbol: undisturbed(symbol) for symbol in KILLS}
    before = {name: pid_of(vault, name) for name in ("scheduler", "postgresql")}
    faults = f"{vault.exchange.simulator_url}/_control/faults"
    slow = {"match": r"/archive/.*\.zip", "kind": "latency", "times": None, "args": {"ms": 150}}
    requests.post(faults, json=[slow], timeout=10).raise_for_status()
    runs = {}
    for symbol, kill in KILLS.items():
        runs[symbol] = start_backfill(vault, symbol)
        wait_until_loading(rows, symbol)
        kill(vault, rows, symbol)
    ended = {symbol: finished(vault, *run) for symbol, run in runs.items()}
    requests.delete(faults, timeout=10)
    vault.start(lambda line: None)
    return expected, ended, before


@pytest.mark.parametrize("symbol", KILLS)
def test_a_killed_backfill_ends_as_if_undisturbed(vault, rows, survivors, symbol):
    expected, ended, _ = survivors
    assert ended[symbol]["state"] == "success"
    assert content_hash(vault.db_url, symbol) == expected[symbol]
    assert rows(
        "SELECT count(*) FROM market.batches b JOIN market.series_names n USING (series_id)"
        " WHERE n.symbol = %s AND b.state <> 'done'",
        symbol,
    ) == [(0,)]


def test_the_killed_task_was_retried_and_the_killed_processes_came_back(vault, survivors):
    _, ended, before = survivors
    run = ended["XRPUSDT"]
    tasks = vault.api.task_instances(run["dag_id"], run["dag_run_id"])
    assert next(t["try_number"] for t in tasks if t["task_id"] == "load") >= 2
    for service, pid in before.items():
        assert pid_of(vault, service) != pid, service
