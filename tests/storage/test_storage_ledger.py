"""The ledger: claims and their tokens, failures, and the log of syncs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from candlevault.storage import ledger
from candlevault.storage.ledger import SyncTotals
from tests.support.market import Store, grid, span

DAY_ONE = span("2024-01-01", "2024-01-02")


def batch(store: Store, columns: str) -> tuple:
    [row] = store.rows(f"SELECT {columns} FROM market.batches WHERE series_id = %(id)s")
    return row


def test_claiming_again_is_the_next_attempt_with_a_greater_token(store):
    first, second = store.claim(DAY_ONE), store.claim(DAY_ONE)
    assert first.batch_id == second.batch_id
    assert second.fencing_token > first.fencing_token
    assert batch(store, "attempt, state, fencing_token") == (2, "running", second.fencing_token)


def test_claims_at_once_get_tokens_of_their_own(store):
    with ThreadPoolExecutor(6) as pool:
        claims = list(pool.map(lambda _: store.claim(DAY_ONE), range(12)))
    assert len({claim.fencing_token for claim in claims}) == 12
    assert batch(store, "attempt, fencing_token") == (12, max(c.fencing_token for c in claims))


def test_a_failure_is_noted_with_its_reason_and_cleared_by_the_next_claim(store):
    ledger.fail(store.connect, store.claim(DAY_ONE), ValueError("x" * 5000))
    state, error = batch(store, "state, error")
    assert (state, error[:12], len(error)) == ("failed", "ValueError: ", 1000)
    store.claim(DAY_ONE)
    assert batch(store, "state, error, finished_at") == ("running", None, None)


def test_a_late_failure_does_not_spoil_the_batch_of_another(store):
    old = store.claim(DAY_ONE)
    store.publish_made(DAY_ONE)
    ledger.fail(store.connect, old, ValueError("late"))
    assert batch(store, "state, error") == ("done", None)


def test_a_published_batch_says_what_it_did(store):
    store.publish_made(DAY_ONE, grid(DAY_ONE)[:2])
    assert batch(store, "state, inserted, changed, unchanged, absent, lost") == (
        "done", 22, 0, 0, 0, 2,
    )  # fmt: skip


def start(store: Store) -> int:
    return ledger.start_sync(
        store.connect, store.stored.series_id, "backfill", DAY_ONE, "manual__1"
    )


def outcomes(store: Store) -> list[tuple]:
    return store.rows(
        "SELECT outcome, error FROM market.sync_log WHERE series_id = %(id)s ORDER BY sync_id"
    )


def test_a_sync_is_running_until_it_is_finished(store):
    sync = start(store)
    assert outcomes(store) == [("running", None)]
    ledger.finish_sync(store.connect, sync, store.stored.series_id, SyncTotals(), ["a"], None)
    assert outcomes(store) == [("completed", None)]


def test_a_sync_left_open_by_a_killed_process_is_closed_by_the_next(store):
    start(store)
    start(store)
    assert outcomes(store) == [("failed", "the process was killed"), ("running", None)]


def test_the_syncs_of_another_series_are_left_alone(store):
    other = Store(store.url)
    start(other)
    start(store)
    assert outcomes(other) == [("running", None)]


def test_losses_make_a_sync_incomplete_and_an_error_makes_it_failed(store):
    for totals, error in ((SyncTotals(lost=3), None), (SyncTotals(lost=3), "boom")):
        ledger.finish_sync(store.connect, start(store), store.stored.series_id, totals, [], error)
    assert outcomes(store) == [("incomplete", "3 candles lost"), ("failed", "boom")]
