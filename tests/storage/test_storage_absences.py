"""Known absences: recorded once, withdrawn when the venue publishes, never over a candle."""

from __future__ import annotations

from candlevault.windows import Window
from tests.support.market import HOUR, absence, grid, made, ms, span

DAY_ONE = span("2024-01-01", "2024-01-02")
HOLE = span("2024-01-01T08:00", "2024-01-01T12:00")


def test_an_absence_is_recorded_once(store):
    first = store.publish_made(DAY_ONE, grid(HOLE), absences=[absence(HOLE)])
    assert (first.inserted, first.absent, first.lost) == (20, 4, 0)
    again = store.publish_made(DAY_ONE, grid(HOLE), absences=[absence(HOLE)])
    assert (again.absent, again.lost, again.revision) == (0, 0, None)
    assert store.absences(DAY_ONE) == [HOLE]


def test_only_the_unknown_part_of_an_overlapping_absence_is_added(store):
    store.publish_made(DAY_ONE, grid(HOLE), absences=[absence(HOLE)])
    wider = span("2024-01-01T08:00", "2024-01-01T14:00")
    done = store.publish(made([]), wider, absences=[absence(wider)])
    # Noon and one o'clock are stored: what is stored is not absent.
    assert (done.absent, store.absences(DAY_ONE)) == (0, [HOLE])
    other = span("2024-01-02", "2024-01-02T03:00")
    store.publish(made([]), other, absences=[absence(other)])
    widest = span("2024-01-02", "2024-01-02T05:00")
    done = store.publish(made([]), widest, absences=[absence(widest)])
    assert done.absent == 2
    assert store.absences(span("2024-01-02", "2024-01-03")) == [
        other,
        span("2024-01-02T03:00", "2024-01-02T05:00"),
    ]


def test_no_absence_is_recorded_over_a_stored_candle(store):
    store.publish_made(DAY_ONE)
    done = store.publish(made([]), HOLE, absences=[absence(HOLE)])
    assert (done.absent, done.revision) == (0, None)
    assert store.absences(DAY_ONE) == []


def test_a_candle_published_later_withdraws_the_absence_and_keeps_the_remainder(store):
    store.publish_made(DAY_ONE, grid(HOLE), absences=[absence(HOLE)])
    found = ms("2024-01-01T09:00")
    done = store.publish(made([found]))
    assert (done.inserted, done.revision) == (1, 2)
    assert store.absences(DAY_ONE) == [
        Window(HOLE.start_ms, found),
        Window(found + HOUR, HOLE.end_ms),
    ]
    assert store.absences(DAY_ONE, revision=1) == [HOLE]
    assert store.rows(
        "SELECT withdrawn_revision, withdrawn_reason FROM market.known_absences"
        " WHERE series_id = %(id)s AND withdrawn_revision IS NOT NULL"
    ) == [(2, "the venue publishes it now")]


def test_an_absence_wholly_published_later_leaves_no_remainder(store):
    store.publish_made(DAY_ONE, grid(HOLE), absences=[absence(HOLE)])
    store.publish_made(HOLE)
    assert store.absences(DAY_ONE) == []
    assert len(store.read(DAY_ONE)) == 24
    assert len(store.read(DAY_ONE, revision=1)) == 20


def test_withdrawing_and_finding_again_in_one_batch_counts_nothing_twice(store):
    store.publish_made(DAY_ONE, grid(HOLE), absences=[absence(HOLE)])
    found = ms("2024-01-01T10:00")
    rest = [
        span("2024-01-01T08:00", "2024-01-01T10:00"),
        span("2024-01-01T11:00", "2024-01-01T12:00"),
    ]
    store.publish(made([found]), HOLE, absences=[absence(part) for part in rest])
    assert store.absences(DAY_ONE) == rest
    [(overlaps,)] = store.rows(
        "SELECT count(*) FROM market.known_absences a JOIN market.known_absences b"
        " ON a.series_id = b.series_id AND a.absence_id < b.absence_id"
        " AND a.window_start < b.window_end AND b.window_start < a.window_end"
        " WHERE a.series_id = %(id)s AND a.withdrawn_revision IS NULL"
        " AND b.withdrawn_revision IS NULL"
    )
    assert overlaps == 0


def test_looking_again_is_noted_without_a_new_revision(store):
    store.publish_made(DAY_ONE, grid(HOLE), absences=[absence(HOLE)])
    seen = "SELECT examined_at FROM market.known_absences WHERE series_id = %(id)s"
    [(before,)] = store.rows(seen)
    store.publish(made([]), HOLE, absences=[absence(HOLE)])
    [(after,)] = store.rows(seen)
    assert after > before
    assert store.revision == 1
