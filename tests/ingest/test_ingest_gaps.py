"""Gaps: found wherever they lie, told apart, logged, and settled when they are filled."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candlevault import timeframe, windows
from candlevault.ingest import gaps
from candlevault.ingest.gaps import Gap
from candlevault.storage import candle_reads
from candlevault.windows import Window
from tests.support.market import DAY, HOUR, Store, absence, grid, made, span

DAY_ONE = span("2024-01-01", "2024-01-02")
EXPECTED = grid(DAY_ONE)


def find(missing: list[int], absent: tuple[Window, ...] = (), code: str = "1h") -> list[Gap]:
    stored = np.array([t for t in EXPECTED if t not in missing], dtype=np.int64)
    return gaps.find(windows.account(DAY_ONE, timeframe.parse(code), stored, absent))


@pytest.mark.parametrize(
    ("first", "last", "position"),
    [(0, 2, "start"), (5, 8, "inside"), (20, 24, "end"), (0, 24, "whole"), (7, 8, "inside")],
)
def test_a_gap_has_its_place_start_end_duration_and_count(first, last, position):
    [gap] = find(EXPECTED[first:last])
    window = Window(DAY_ONE.start_ms + first * HOUR, DAY_ONE.start_ms + last * HOUR)
    assert gap == Gap(window, last - first, position, "lost")
    assert gap.duration_minutes == (last - first) * 60


def test_no_gap_where_nothing_is_missing():
    assert find([]) == []


def test_lost_and_known_absent_neighbours_are_two_gaps():
    missing = EXPECTED[5:10]
    absent = Window(EXPECTED[5], EXPECTED[8])
    assert find(missing, (absent,)) == [
        Gap(absent, 3, "inside", "known_absent"),
        Gap(Window(EXPECTED[8], EXPECTED[10]), 2, "inside", "lost"),
    ]


@pytest.mark.parametrize("code", timeframe.ALL)
def test_a_gap_of_one_candle_is_found_in_every_timeframe(code):
    frame = timeframe.parse(code)
    start = frame.ceil(span("2024-01-01", "2024-01-02").start_ms)
    window = Window(start, start + 10 * frame.step_ms)
    stored = np.array([t for i, t in enumerate(grid(window, frame.step_ms)) if i != 4])
    [gap] = gaps.find(windows.account(window, frame, stored))
    assert gap.missing_candles == 1
    assert gap.duration_minutes == frame.step_ms // 60_000


@settings(max_examples=200, derandomize=True)
@given(st.sets(st.sampled_from(EXPECTED)))
def test_gaps_and_stored_candles_are_all_that_was_expected(missing):
    found = find(sorted(missing))
    covered = [t for gap in found for t in grid(gap.window)]
    assert sorted(covered) == sorted(missing)
    assert sum(gap.missing_candles for gap in found) == len(missing)


def record(store: Store, window: Window = DAY_ONE) -> list[Gap]:
    with store.connect() as connection:
        return gaps.record(
            connection, store.stored, candle_reads.account(connection, store.stored, window)
        )


def log(store: Store) -> list[tuple]:
    return store.rows(
        "SELECT missing_candles, position, verdict, fill_ratio, duration_minutes"
        " FROM market.gap_log WHERE series_id = %(id)s ORDER BY gap_start, gap_end"
    )


@pytest.fixture
def store(database: str) -> Store:
    return Store(database)


def test_a_gap_is_logged_once_however_often_it_is_seen(store):
    store.publish_made(DAY_ONE, EXPECTED[5:10])
    assert record(store) == record(store)
    assert log(store) == [(5, "inside", "lost", 0, 300)]


def test_a_filled_gap_is_settled(store):
    store.publish_made(DAY_ONE, EXPECTED[5:10])
    record(store)
    store.publish(made(EXPECTED[5:10]))
    assert record(store) == []
    assert log(store) == [(5, "inside", "filled", 1, 300)]


def test_a_half_filled_gap_stays_lost_with_its_ratio_beside_the_rest(store):
    store.publish_made(DAY_ONE, EXPECTED[4:8])
    record(store)
    store.publish(made(EXPECTED[4:6]))
    record(store)
    assert log(store) == [(4, "inside", "lost", 0.5, 240), (2, "inside", "lost", 0, 120)]


def test_a_gap_explained_later_is_known_absent(store):
    hole = Window(EXPECTED[5], EXPECTED[10])
    store.publish_made(DAY_ONE, EXPECTED[5:10])
    record(store)
    store.publish(made([]), hole, absences=[absence(hole)])
    record(store)
    assert log(store) == [(5, "inside", "known_absent", 0, 300)]


def test_a_known_absence_that_the_venue_publishes_later_is_filled(store):
    hole = Window(EXPECTED[5], EXPECTED[10])
    store.publish_made(DAY_ONE, EXPECTED[5:10], absences=[absence(hole)])
    record(store)
    assert log(store) == [(5, "inside", "known_absent", 0, 300)]
    store.publish(made(EXPECTED[5:10]))
    record(store)
    assert log(store) == [(5, "inside", "filled", 1, 300)]


def test_a_gap_partly_filled_and_partly_explained_is_settled(store):
    store.publish_made(DAY_ONE, EXPECTED[5:10])
    record(store)
    rest = Window(EXPECTED[8], EXPECTED[10])
    store.publish(made(EXPECTED[5:8]), Window(EXPECTED[5], EXPECTED[10]), absences=[absence(rest)])
    record(store)
    assert log(store) == [(5, "inside", "filled", 0.6, 300), (2, "inside", "known_absent", 0, 120)]


def test_gaps_outside_the_window_looked_at_are_left_alone(store):
    store.publish_made(DAY_ONE, EXPECTED[5:10])
    record(store)
    store.publish(made(EXPECTED[5:10]))
    record(store, Window(DAY_ONE.end_ms, DAY_ONE.end_ms + DAY))
    assert (5, "inside", "lost", 0, 300) in log(store)
