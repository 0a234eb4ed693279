"""The publishing transaction: everything a batch brought, exactly once, or nothing of it."""

from __future__ import annotations

import pytest

from candlevault.errors import LeaseLost, StorageError
from candlevault.provenance import Rejected
from candlevault.storage.publish import Batch, NewAbsence, publish
from tests.support.candles import fetch
from tests.support.market import HOUR, Store, absence, grid, made, ms, plain, span, values_at

DAY_ONE = span("2024-01-01", "2024-01-02")
NOON = ms("2024-01-01T12:00")


def totals(store: Store) -> tuple:
    [row] = store.rows(
        "SELECT total_candles, oldest_data_time, newest_data_time FROM market.series_status"
        " WHERE series_id = %(id)s"
    )
    return row[0], *(moment and int(moment.timestamp() * 1000) for moment in row[1:])


def test_a_first_batch_is_inserted_and_counted(store):
    done = store.publish_made(DAY_ONE)
    assert (done.inserted, done.changed, done.unchanged, done.revision) == (24, 0, 0, 1)
    assert store.read(DAY_ONE) == plain(made(grid(DAY_ONE)))
    assert totals(store) == (24, DAY_ONE.start_ms, DAY_ONE.end_ms - HOUR)


def test_an_identical_batch_changes_nothing_and_touches_no_row(store):
    store.publish_made(DAY_ONE)
    before = store.touched()
    done = store.publish_made(DAY_ONE)
    assert (done.inserted, done.changed, done.unchanged) == (0, 0, 24)
    assert done.revision is None
    assert store.revision == 1
    assert store.touched() == before
    assert store.rows("SELECT 1 FROM market.candle_revisions WHERE series_id = %(id)s") == []


def test_only_the_new_rows_of_an_overlapping_batch_are_written(store):
    store.publish_made(DAY_ONE)
    before = store.touched()
    done = store.publish_made(span("2024-01-01T20:00", "2024-01-02T04:00"))
    assert (done.inserted, done.changed, done.unchanged) == (4, 0, 4)
    assert store.touched()[:24] == before
    assert totals(store) == (28, DAY_ONE.start_ms, ms("2024-01-02T03:00"))


def test_a_changed_candle_keeps_its_old_version_and_the_others_are_not_touched(store):
    store.publish_made(DAY_ONE)
    before = dict((row[3], row[:3]) for row in store.touched())
    done = store.publish_made(DAY_ONE, changes={NOON: {"trades_count": 999_999}})
    assert (done.inserted, done.changed, done.unchanged, done.revision) == (0, 1, 23, 2)
    after = dict((row[3], row[:3]) for row in store.touched())
    assert [time.hour for time in after if after[time] != before[time]] == [12]
    assert store.rows(
        "SELECT revision, superseded_revision, trades_count, reason FROM market.candle_revisions"
        " WHERE series_id = %(id)s"
    ) == [(1, 2, values_at(NOON)["trades_count"], "load")]
    assert totals(store)[0] == 24


@pytest.mark.parametrize("name", list(values_at(NOON))[1:])
def test_a_difference_in_any_single_value_is_a_change(store, name):
    store.publish_made(DAY_ONE)
    value = values_at(NOON)[name]
    # The smallest step that the column can hold.
    step = 1 if isinstance(value, int) else type(value)("0.00000001")
    done = store.publish_made(DAY_ONE, changes={NOON: {name: value - step}})
    assert (done.changed, done.unchanged) == (1, 23)
    assert store.read(DAY_ONE)[12][name] == value - step


def test_a_close_time_is_kept_only_where_it_is_irregular(store):
    early = NOON + 35 * 60_000 + 32_286
    store.publish_made(DAY_ONE, changes={NOON: {"close_time": early}})
    kept = store.rows(
        "SELECT (extract(epoch FROM close_time) * 1000)::bigint FROM market.candles_1h"
        " WHERE series_id = %(id)s AND close_time IS NOT NULL"
    )
    assert kept == [(early,)]
    read = store.read(DAY_ONE)
    assert read[12]["close_time"] == early
    assert read[11]["close_time"] == NOON - 1


def test_a_superseded_claim_cannot_publish(store):
    old = store.claim(DAY_ONE)
    store.claim(DAY_ONE)
    with pytest.raises(LeaseLost):
        store.publish_made(DAY_ONE, claim=old)
    assert store.read(DAY_ONE) == []
    assert store.revision == 0


def test_a_claim_of_a_batch_that_was_finished_by_another_cannot_publish(store):
    old = store.claim(DAY_ONE)
    store.publish_made(DAY_ONE)
    before = store.touched()
    with pytest.raises(LeaseLost):
        store.publish_made(DAY_ONE, claim=old, changes={NOON: {"trades_count": 1}})
    assert store.touched() == before
    [(state,)] = store.rows("SELECT state FROM market.batches WHERE series_id = %(id)s")
    assert state == "done"


def test_a_candle_that_breaks_a_rule_of_the_tables_leaves_nothing_of_its_batch(store):
    wrong = made(grid(DAY_ONE), changes={NOON: {"high": values_at(NOON)["low"] / 2}})
    with pytest.raises(StorageError, match="high_is_highest"):
        store.publish(wrong, DAY_ONE)
    assert store.read(DAY_ONE) == []
    assert store.rows("SELECT 1 FROM market.fetches f JOIN market.batches b USING (batch_id)"
                      " WHERE series_id = %(id)s") == []  # fmt: skip


@pytest.mark.parametrize(
    "poison",
    [
        {"absences": [absence(span("2024-01-05", "2024-01-06"), "no such reason")]},
        {"rejected": [Rejected(NOON, (), {"open": "1"}, "https://venue.invalid/")]},
        {"rejected": [Rejected(NOON, ("bad\0reason",), {"open": "1"}, "https://venue.invalid/")]},
    ],
    ids=["absence", "no reason", "NUL"],
)
def test_everything_or_nothing_when_any_part_fails(store, poison):
    store.publish_made(span("2024-01-01", "2024-01-01T06:00"))
    before = store.touched()
    with pytest.raises(StorageError):
        store.publish_made(DAY_ONE, changes={DAY_ONE.start_ms: {"trades_count": 5}}, **poison)
    assert store.touched() == before
    assert store.revision == 1
    assert store.absences(span("2024-01-01", "2024-02-01")) == []
    for name in ("candle_revisions", "quarantine"):
        assert store.rows(f"SELECT 1 FROM market.{name} WHERE series_id = %(id)s") == []
    assert totals(store)[0] == 6


def test_a_batch_without_candles_is_closed_too(store):
    done = store.publish(made([]), DAY_ONE)
    assert (done.inserted, done.lost, done.revision) == (0, 24, None)
    [(state, lost)] = store.rows("SELECT state, lost FROM market.batches WHERE series_id = %(id)s")
    assert (state, lost) == ("done", 24)


def test_every_candle_leads_to_its_fetch(store):
    store.publish_made(DAY_ONE)
    rows = store.rows(
        "SELECT DISTINCT p.name, f.sha256 FROM market.candles_1h c"
        " JOIN market.fetches f USING (fetch_id) JOIN market.providers p USING (provider_id)"
        " WHERE c.series_id = %(id)s"
    )
    assert [name for name, _ in rows] == ["binance_archive"]


def rejected(open_time: int | None, value: str = "-1") -> Rejected:
    return Rejected(open_time, ("low_positive",), {"low": value}, "https://venue.invalid/page")


def test_a_rejected_row_is_quarantined_once_however_often_it_comes(store):
    first = store.publish_made(DAY_ONE, [NOON], rejected=[rejected(NOON), rejected(None)])
    again = store.publish_made(DAY_ONE, [NOON], rejected=[rejected(NOON), rejected(None)])
    other = store.publish_made(DAY_ONE, [NOON], rejected=[rejected(NOON, "-2")])
    assert [first.quarantined, again.quarantined, other.quarantined] == [2, 0, 1]
    assert first.lost == 1
    rows = store.rows(
        "SELECT reasons, row ->> 'low' FROM market.quarantine WHERE series_id = %(id)s"
        " ORDER BY quarantine_id"
    )
    assert rows == [(["low_positive"], "-1")] * 2 + [(["low_positive"], "-2")]


def test_taking_everything_out_while_inserting_others_keeps_the_status_right(store):
    early, late = span("2024-01-01", "2024-01-01T05:00"), span("2024-01-02", "2024-01-02T03:00")
    store.publish_made(early)
    gone = NewAbsence(early, "pause", {"rest": [{}], "archive": [{}], "neighbours_ms": [0, 1]})
    window = span("2024-01-01", "2024-01-02T03:00")
    batch = Batch(made(grid(late)), [fetch(store.series)], [gone], removes=True)
    done = publish(store.connect, store.stored, store.claim(window), batch)
    assert (done.inserted, done.removed) == (3, 5)
    [row] = store.rows(
        "SELECT total_candles, oldest_data_time, newest_data_time FROM market.series_status"
        " WHERE series_id = %(id)s"
    )
    assert row == (3, late.start, span("2024-01-02T02:00", "2024-01-03").start)
