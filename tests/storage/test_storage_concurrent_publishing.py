"""Publishers at once: revisions in commit order, one writer a time, nothing half seen."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from candlevault.storage import candle_reads
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


def test_the_same_batch_published_by_two_at_once_is_stored_once(store):
    window = Window(START, START + 50 * HOUR)
    table = made(range(window.start_ms, window.end_ms, HOUR))
    # Two windows, so that neither claim fences the other off.
    claims = [store.claim(window), store.claim(Window(window.start_ms, window.end_ms + HOUR))]
    start = threading.Barrier(2)

    def write(claim):
        start.wait()
        return store.publish(table, claim=claim)

    with ThreadPoolExecutor(2) as pool:
        results = sorted(pool.map(write, claims), key=lambda one: one.inserted)
    assert [(one.inserted, one.changed, one.unchanged) for one in results] == [
        (0, 0, 50),
        (50, 0, 0),
    ]
    assert store.revision == 1
