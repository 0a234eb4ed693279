"""Publishers at once: revisions in commit order, one writer a time, nothing half seen."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

from candlevault.errors import LeaseLost
from candlevault.storage import candle_reads, ledger
from candlevault.windows import Window
from tests.support.market import HOUR, made, ms

START = ms("2024-03-01")
WRITERS, ROUNDS = 3, 5


def test_revisions_of_concurrent_publishers_are_in_commit_order_without_a_hole(store):
    """A reader that saw revision n never sees n change afterwards."""
    everything = Window(START, START + WRITERS * ROUNDS * HOUR)
    stop = threading.Event()
    seen: dict[int, str] = {}
    wrong: list[int] = []

    def write(writer: int) -> list[int]:
        revisions = []
        for turn in range(ROUNDS):
            time = START + (writer * ROUNDS + turn) * HOUR
            revisions.append(store.publish(made([time])).revision)
        return revisions

    def watch() -> None:
        with store.connect() as connection:
            connection.autocommit = True
            while not stop.is_set():
                now = candle_reads.current_revision(connection, store.stored)
                content = candle_reads.fingerprint(connection, store.stored, everything, now)
                if seen.setdefault(now, content) != content:
                    wrong.append(now)

    watcher = threading.Thread(target=watch)
    watcher.start()
    with ThreadPoolExecutor(WRITERS) as pool:
        revisions = [n for result in pool.map(write, range(WRITERS)) for n in result]
    stop.set()
    watcher.join()
    assert sorted(revisions) == list(range(1, WRITERS * ROUNDS + 1))
    assert len(seen) > 3
    assert wrong == []
    for revision, content in seen.items():
        assert store.fingerprint(everything, revision) == content
    recorded = store.rows(
        "SELECT revision FROM market.series_revisions WHERE series_id = %(id)s ORDER BY recorded_at"
    )
    assert [n for (n,) in recorded] == sorted(revisions)
    assert store.rows(
        "SELECT total_candles FROM market.series_status WHERE series_id = %(id)s"
    ) == [(WRITERS * ROUNDS,)]


def test_of_two_claims_that_overlap_only_the_later_publishes(store):
    window = Window(START, START + 50 * HOUR)
    longer = Window(window.start_ms, window.end_ms + HOUR)
    table = made(range(window.start_ms, window.end_ms, HOUR))
    earlier, later = store.claim(window), store.claim(longer)
    with pytest.raises(LeaseLost, match="overtaken"):
        store.publish(table, claim=earlier)
    assert store.publish(table, claim=later).inserted == 50
    with pytest.raises(LeaseLost, match="overtaken"):
        store.publish(table, claim=earlier)
    assert store.revision == 1


def test_a_stalled_writer_cannot_bring_back_an_old_value(store):
    window = Window(START, START + 3 * HOUR)
    old = made(range(window.start_ms, window.end_ms, HOUR))
    new = made(
        range(window.start_ms, window.end_ms, HOUR), changes={START: {"volume": Decimal(1000)}}
    )
    stalled = store.claim(window)
    store.publish(new, claim=store.claim(Window(window.start_ms, window.end_ms + HOUR)))
    with pytest.raises(LeaseLost):
        store.publish(old, claim=stalled)
    assert store.read(window)[0]["volume"] == 1000


def test_a_claim_published_twice_says_what_it_did_the_first_time(store):
    """The answer to a COMMIT can be lost: the second try finds the work done."""
    window = Window(START, START + 10 * HOUR)
    table = made(range(window.start_ms, window.end_ms, HOUR))
    claim = store.claim(window)
    first = store.publish(table, claim=claim)
    fetches = store.rows("SELECT count(*) FROM market.fetches")
    assert store.publish(table, claim=claim) == first
    assert first.inserted == 10
    assert store.rows("SELECT count(*) FROM market.fetches") == fetches
    assert store.revision == first.revision == 1


def test_a_failed_mark_never_undoes_a_publication(store):
    window = Window(START, START + 2 * HOUR)
    claim = store.claim(window)
    store.publish(made(range(window.start_ms, window.end_ms, HOUR)), claim=claim)
    ledger.fail(store.connect, claim, RuntimeError("the answer was lost"))
    assert store.rows(
        "SELECT state FROM market.batches WHERE series_id = %(id)s ORDER BY batch_id DESC LIMIT 1"
    ) == [("done",)]


def test_the_next_sync_settles_what_a_killed_one_left_running(store):
    store.claim(Window(START, START + HOUR))
    later = Window(START, START + 5 * HOUR)
    ledger.start_sync(store.connect, store.stored.series_id, "increment", later, None)
    assert store.rows("SELECT state, error FROM market.batches WHERE series_id = %(id)s") == [
        ("failed", "the process was killed")
    ]
