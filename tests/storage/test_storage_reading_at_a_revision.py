"""What was stored at a revision or an instant is read back exactly, whatever came later."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from candlevault.errors import InvalidRequest
from candlevault.storage import candle_reads
from candlevault.windows import Window, merge
from tests.support.market import HOUR, Store, absence, made, ms, plain, span, table, values_at

START = ms("2023-12-31T20:00")
SLOTS = 10
WINDOW = Window(START, START + SLOTS * HOUR)

batches = st.lists(
    st.tuples(
        st.dictionaries(st.integers(0, SLOTS - 1), st.integers(0, 2), max_size=SLOTS),
        st.sets(st.integers(0, SLOTS - 1), max_size=3),
    ),
    min_size=1,
    max_size=5,
)


def row(slot: int, version: int) -> dict[str, object]:
    values = values_at(START + slot * HOUR)
    return values | {"trades_count": values["trades_count"] + version}


def slots_of(windows: list[Window]) -> set[int]:
    return {(t - START) // HOUR for w in windows for t in range(w.start_ms, w.end_ms, HOUR)}


@settings(
    max_examples=20, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(batches)
def test_any_sequence_of_publications_reads_back_like_a_model(database, sequence):
    store = Store(database)
    stored: dict[int, int] = {}
    absent: set[int] = set()
    history = {0: ({}, set())}
    for brought, missing in sequence:
        missing = missing - set(brought)
        batch = table(row(slot, version) for slot, version in sorted(brought.items()))
        gone = [absence(Window(START + s * HOUR, START + (s + 1) * HOUR)) for s in sorted(missing)]
        done = store.publish(batch, WINDOW, absences=gone)

        new = {s: v for s, v in brought.items() if stored.get(s) != v}
        told = (len(set(new) - set(stored)), len(set(new) & set(stored)))
        newly_absent = missing - absent - set(stored) - set(brought)
        assert (done.inserted, done.changed) == told
        assert done.absent == len(newly_absent)
        changes = bool(new or newly_absent)
        assert (done.revision is not None) == changes
        stored |= brought
        absent = (absent | newly_absent) - set(brought)
        assert done.lost == SLOTS - len(stored) - len(absent)
        if changes:
            assert done.revision == max(history) + 1
            history[done.revision] = (dict(stored), set(absent))
    prints = {}
    for revision, (candles, gone) in history.items():
        assert store.read(WINDOW, revision) == [row(s, candles[s]) for s in sorted(candles)]
        assert slots_of(store.absences(WINDOW, revision)) == gone
        prints.setdefault(store.fingerprint(WINDOW, revision), []).append((candles, gone))
    # Equal content, equal fingerprint; other content, another one.
    assert all(state == states[0] for states in prints.values() for state in states)
    distinct = [
        state for i, state in enumerate(history.values()) if state not in list(history.values())[:i]
    ]
    assert len(prints) == len(distinct)


def test_as_of_resolves_to_the_revision_of_that_instant(store):
    moments = [datetime.now(UTC)]
    for version in range(3):
        store.publish(table([row(0, version)]))
        moments.append(datetime.now(UTC))
    with store.connect() as connection:
        found = [candle_reads.revision_at(connection, store.stored, moment) for moment in moments]
        [(recorded,)] = store.rows(
            "SELECT recorded_at FROM market.series_revisions"
            " WHERE series_id = %(id)s AND revision = 2"
        )
        exact = candle_reads.revision_at(connection, store.stored, recorded)
        before = candle_reads.revision_at(
            connection, store.stored, recorded - timedelta(microseconds=1)
        )
    assert found == [0, 1, 2, 3]
    assert (exact, before) == (2, 1)


def test_as_of_without_a_time_zone_is_refused(store):
    with store.connect() as connection, pytest.raises(InvalidRequest, match="as_of"):
        candle_reads.revision_at(connection, store.stored, datetime(2024, 1, 1))  # noqa: DTZ001


def test_reading_is_half_open_and_ascending(store):
    store.publish(made([START + i * HOUR for i in range(SLOTS)]))
    part = Window(START + 2 * HOUR, START + 5 * HOUR)
    assert [r["open_time"] for r in store.read(part)] == [START + i * HOUR for i in (2, 3, 4)]
    assert store.read(span("2030-01-01", "2030-02-01")) == []


def test_another_series_is_never_read(database):
    one, other = Store(database), Store(database)
    one.publish(made([START]))
    assert other.read(WINDOW) == []
    assert one.read(WINDOW) == plain(made([START]))


def test_the_fingerprint_does_not_depend_on_order_or_batch_cut(database):
    times = [START + i * HOUR for i in range(SLOTS)]
    hole = Window(START + 3 * HOUR, START + 5 * HOUR)
    here = [t for t in times if not hole.contains(t)]
    whole, cut, turned = Store(database), Store(database), Store(database)
    whole.publish(made(here), WINDOW, absences=[absence(hole)])
    for time in here:
        cut.publish(made([time]))
    halves = [Window(t, t + HOUR) for t in (hole.start_ms, hole.start_ms + HOUR)]
    for half in reversed(halves):
        cut.publish(made([]), half, absences=[absence(half)])
    turned.publish(made([]), hole, absences=[absence(hole)])
    turned.publish(made(here, changes={START: {"trades_count": 1}}), WINDOW)
    turned.publish(made(reversed(here)), WINDOW)
    assert len({one.fingerprint(WINDOW) for one in (whole, cut, turned)}) == 1
    assert merge(cut.absences(WINDOW)) == whole.absences(WINDOW)


@pytest.mark.parametrize("name", list(values_at(START)))
def test_the_fingerprint_is_sensitive_to_each_value(database, name):
    one, other = Store(database), Store(database)
    one.publish(made([START]), WINDOW)
    value = values_at(START)[name]
    if name == "open_time":
        other.publish(made([START + HOUR]), WINDOW)
    else:
        less = value - (1 if isinstance(value, int) else type(value)("0.00000001"))
        other.publish(made([START], changes={START: {name: less}}), WINDOW)
    assert one.fingerprint(WINDOW) != other.fingerprint(WINDOW)


def test_the_fingerprint_is_sensitive_to_absences(database):
    one, other = Store(database), Store(database)
    hole = Window(START, START + HOUR)
    one.publish(made([]), hole, absences=[absence(hole)])
    assert one.fingerprint(WINDOW) != other.fingerprint(WINDOW)
