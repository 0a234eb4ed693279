"""kill -9 in the middle of a backfill: whatever dies, the content ends as if nothing had.

Each series is loaded through Airflow while something is killed, and once undisturbed, by
the library, into a database of its own. Candles and known absences must have one hash.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psutil
import psycopg
import pytest
import requests

from candlevault.ingest import syncs
from candlevault.ingest.load import Market
from candlevault.local.databases import postgres_of
from candlevault.providers.registry import venue_of
from candlevault.series import parse
from candlevault.storage import candle_reads, series_registry
from candlevault.storage.database import connector
from candlevault.storage.migrations import migrate
from candlevault.storage.settings import adopt_exchange
from candlevault.timeframe import to_ms
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


@pytest.fixture
def slow_archive(vault):
    """Every archive file takes a while, so that there is a middle to kill in."""
    faults = f"{vault.exchange.simulator_url}/_control/faults"
    rule = {"match": r"/archive/.*\.zip", "kind": "latency", "times": None, "args": {"ms": 150}}
    requests.post(faults, json=[rule], timeout=10).raise_for_status()
    yield
    requests.delete(faults, timeout=10)


def start_backfill(vault, symbol: str) -> tuple[str, str]:
    dag_id = f"backfill__{symbol}__1h"
    vault.api.wait_for_dag(dag_id)
    vault.api.set_paused(dag_id, False)
    return dag_id, vault.api.trigger(dag_id, {"start": START, "end": END})


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
        except Exception:
            if time.monotonic() > deadline - 1:
                raise
        time.sleep(1)
    raise AssertionError(f"{dag_id} did not end within 300 s")


def assert_nothing_lost(vault, rows, symbol: str, expected_hash: str, run: dict) -> None:
    assert run["state"] == "success"
    assert content_hash(vault.db_url, symbol) == expected_hash
    assert rows(
        "SELECT count(*) FROM market.batches b JOIN market.series_names n USING (series_id)"
        " WHERE n.symbol = %s AND b.state <> 'done'",
        symbol,
    ) == [(0,)]


def test_a_killed_task_process_is_retried_and_nothing_differs(
    vault, rows, undisturbed, slow_archive
):
    expected = undisturbed("XRPUSDT")
    dag_id, run_id = start_backfill(vault, "XRPUSDT")
    wait_until_loading(rows, "XRPUSDT")
    loading_process(rows, "XRPUSDT").send_signal(signal.SIGKILL)
    run = finished(vault, dag_id, run_id)
    assert_nothing_lost(vault, rows, "XRPUSDT", expected, run)
    tries = [
        t["try_number"] for t in vault.api.task_instances(dag_id, run_id) if t["task_id"] == "load"
    ]
    assert tries[0] >= 2


def test_a_killed_scheduler_comes_back_and_nothing_differs(vault, rows, undisturbed, slow_archive):
    expected = undisturbed("DOGEUSDT")
    dag_id, run_id = start_backfill(vault, "DOGEUSDT")
    wait_until_loading(rows, "DOGEUSDT")
    scheduler = next(row for row in vault.status().rows if row.name == "scheduler")
    os.kill(scheduler.pid, signal.SIGKILL)
    run = finished(vault, dag_id, run_id)
    assert_nothing_lost(vault, rows, "DOGEUSDT", expected, run)
    vault.start(lambda line: None)
    again = next(row for row in vault.status().rows if row.name == "scheduler")
    assert again.pid != scheduler.pid


def test_a_killed_postgres_recovers_and_nothing_differs(vault, rows, undisturbed, slow_archive):
    expected = undisturbed("LINKUSDT")
    dag_id, run_id = start_backfill(vault, "LINKUSDT")
    wait_until_loading(rows, "LINKUSDT")
    postmaster = next(row for row in vault.status().rows if row.name == "postgresql")
    for process in [psutil.Process(postmaster.pid), *psutil.Process(postmaster.pid).children()]:
        process.send_signal(signal.SIGKILL)
    run = finished(vault, dag_id, run_id)
    assert_nothing_lost(vault, rows, "LINKUSDT", expected, run)
    assert Path(f"/proc/{postmaster.pid}").exists() is False
    assert to_ms(rows("SELECT max(open_time) FROM market.candles_1h")[0][0]) < WINDOW.end_ms
