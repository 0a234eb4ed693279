"""Interrupted at any moment, in any way: the next load ends with the same content."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from candlevault.errors import CandlevaultError
from candlevault.storage.database import connector
from candlevault.storage.migrations import migrate
from candlevault.storage.settings import adopt_exchange
from candlevault.windows import Window
from tests.support.market import (
    HOUR,
    SMALL_BATCH,
    LoadingProcess,
    ReplayFiles,
    SimulatedVenue,
    Store,
    grid,
    load_in_small_batches,
    simulated,
    span,
)
from tests.support.postgres import running_postgres

EVERYTHING = span("2024-01-01", "2024-02-25")
NOW = EVERYTHING.end_ms + 20 * 60_000
CUT = next(t for t in grid(EVERYTHING)[800:] if t % (SMALL_BATCH * HOUR) == 0)
HOLES = [span("2024-01-15T04:00", "2024-01-15T09:00"), Window(CUT - 2 * HOUR, CUT + 3 * HOUR)]
SYMBOLS = [f"K{i:03}USDT" for i in range(500)]


@pytest.fixture(scope="module")
def venue(tmp_path_factory):
    files = ReplayFiles(tmp_path_factory.mktemp("replay"))
    hours = [t for t in grid(EVERYTHING) if not any(hole.contains(t) for hole in HOLES)]
    files.write(SYMBOLS[0], [*hours, EVERYTHING.end_ms])
    first = files.root / "spot" / SYMBOLS[0]
    for symbol in SYMBOLS[1:]:
        (files.root / "spot" / symbol).symlink_to(first)
    with simulated(files.root, NOW) as running:
        yield running


@pytest.fixture(autouse=True)
def healthy(venue: SimulatedVenue):
    venue.heal()
    venue.forget()


@pytest.fixture
def symbol() -> str:
    return SYMBOLS.pop()


def process(database: str, venue: SimulatedVenue, symbol: str) -> LoadingProcess:
    return LoadingProcess(database, venue.base_url, symbol, "1h", EVERYTHING)


def finish(database: str, venue: SimulatedVenue, symbol: str):
    return load_in_small_batches(database, venue.base_url, symbol, "1h", EVERYTHING)


@pytest.fixture(scope="module")
def undisturbed(database: str, venue: SimulatedVenue) -> tuple[str, float]:
    """Content hash of a load that nobody disturbs, and how long it takes."""
    # The first process is slow to start: the one that the others are forked from loads all.
    LoadingProcess(database, venue.base_url, SYMBOLS.pop(), "1h", HOLES[0]).outcome()
    symbol = SYMBOLS.pop()
    started = time.monotonic()
    assert process(database, venue, symbol).outcome().status == "completed"
    seconds = time.monotonic() - started
    return Store(database, symbol).fingerprint(EVERYTHING), seconds


def states(store: Store) -> Counter:
    return Counter(
        state
        for (state,) in store.rows(
            "SELECT state FROM market.batches WHERE series_id = %(id)s AND purpose = 'backfill'"
        )
    )


def kill_and_finish(database, venue, undisturbed, seed: int) -> str:
    """One load killed at a random moment and finished by another; returns what was hit."""
    content, seconds = undisturbed
    symbol = SYMBOLS.pop()
    loading = process(database, venue, symbol)
    time.sleep(random.Random(seed).uniform(0, seconds))
    loading.kill()
    hit = loading.outcome()
    store = Store(database, symbol)
    before = states(store)
    [(kept,)] = store.rows("SELECT count(*) FROM market.candles_1h WHERE series_id = %(id)s")
    report = process(database, venue, symbol).outcome()
    assert (report.status, report.lost, report.known_absent) == ("completed", 0, 10)
    assert store.fingerprint(EVERYTHING) == content
    # What had been published was neither fetched nor written again.
    assert report.candles_added == report.stored - kept
    assert report.total_batches <= 5 - before["done"]
    assert set(states(store)) == {"done"}
    [(running,)] = store.rows(
        "SELECT count(*) FROM market.sync_log WHERE series_id = %(id)s AND outcome = 'running'"
    )
    assert running == 0
    return f"after {before['done']} batches" if hit == "killed" else "finished"


def kill_many(database, venue, undisturbed, seeds: range) -> Counter:
    with ThreadPoolExecutor(2) as pool:
        work = [pool.submit(kill_and_finish, database, venue, undisturbed, seed) for seed in seeds]
        return Counter(one.result() for one in work)


@pytest.mark.slow
def test_ten_loads_killed_at_random_moments_end_with_the_same_content(database, venue, undisturbed):
    hits = kill_many(database, venue, undisturbed, range(10))
    # Kills that came too late or too early prove little: most must have hit something.
    assert len(hits) >= 3, hits
    assert hits["finished"] <= 4, hits


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_hundred_loads_killed_at_random_moments_end_with_the_same_content(
    database, venue, undisturbed
):
    hits = kill_many(database, venue, undisturbed, range(100, 300))
    assert len(hits) >= 5, hits


def test_a_load_killed_again_and_again_gets_there(database, venue, undisturbed, symbol):
    content, seconds = undisturbed
    for turn in range(4):
        loading = process(database, venue, symbol)
        time.sleep(seconds * (turn + 1) / 5)
        loading.kill()
    assert finish(database, venue, symbol).status == "completed"
    assert Store(database, symbol).fingerprint(EVERYTHING) == content


def wait_until(true, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def test_a_stopped_loader_whose_batch_was_taken_over_cannot_publish(
    database, venue, undisturbed, symbol
):
    content, _ = undisturbed
    store = Store(database, symbol)
    # Only the first file is slow, so that the loader is stopped while it waits for it.
    venue.fault("latency", match=f"archive/.*{symbol}.*zip$", ms=1500, times=1)
    loading = process(database, venue, symbol)
    try:
        wait_until(lambda: states(store)["running"] == 1)
        wait_until(lambda: venue.asked().get("archive.zip"))
        os.kill(loading.pid, signal.SIGSTOP)
        # Its host is believed dead: its sessions are ended, and somebody else takes over.
        with store.connect() as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
                " AND objid = %s AND pid <> pg_backend_pid()",
                (store.stored.series_id,),
            )
        assert finish(database, venue, symbol).status == "completed"
        before, revision = store.touched(), store.revision
    finally:
        os.kill(loading.pid, signal.SIGCONT)
    assert "LeaseLost" in str(loading.outcome())
    assert (store.touched(), store.revision) == (before, revision)
    assert set(states(store)) == {"done"}
    assert store.fingerprint(EVERYTHING) == content


def test_backends_terminated_all_through_a_load_cost_nothing(database, venue, undisturbed, symbol):
    content, _ = undisturbed
    store = Store(database, symbol)
    loading = process(database, venue, symbol)
    terminated = 0
    with connector(database)() as connection:
        connection.autocommit = True
        while loading.process.is_alive():
            time.sleep(0.15)
            terminated += connection.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND backend_type = 'client backend'"
                " AND pid <> pg_backend_pid()"
            ).fetchone()[0]
    assert terminated > 0
    # It either got through or failed for a reason that is worth another try.
    loading.outcome()
    assert finish(database, venue, symbol).status == "completed"
    assert store.fingerprint(EVERYTHING) == content


def test_an_immediate_shutdown_of_postgresql_in_the_middle_costs_nothing(
    venue, undisturbed, symbol
):
    content, _ = undisturbed
    with running_postgres() as server, server.database() as url:
        migrate(connector(url))
        adopt_exchange(connector(url))
        store = Store(url, symbol)
        loading = process(url, venue, symbol)
        wait_until(lambda: states(store)["done"] >= 2)
        os.kill(server.postgres.pid, signal.SIGQUIT)
        wait_until(lambda: server.postgres.pid is None)
        server.postgres.start()
        assert loading.outcome().status == "completed"
        report = finish(url, venue, symbol)
        assert (report.status, report.lost, report.candles_added) == ("completed", 0, 0)
        assert store.fingerprint(EVERYTHING) == content


def test_a_venue_that_fails_at_random_costs_nothing_in_the_end(
    database, venue, undisturbed, symbol
):
    content, _ = undisturbed
    for kind in ("503", "cut_body", "429", "html", "empty"):
        more = {"status": 500} if kind in ("html", "empty") else {}
        venue.fault(kind, match=f"{symbol}", times=3, **more)
    report = None
    for _ in range(20):
        try:
            report = finish(database, venue, symbol)
        except CandlevaultError as error:
            assert error.transient
        if report is not None and report.lost == 0:
            break
    assert Store(database, symbol).fingerprint(EVERYTHING) == content
