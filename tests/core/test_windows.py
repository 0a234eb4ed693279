"""The interval algebra: what is expected is stored, known absent or lost, and nothing twice."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from candlevault import timeframe as timeframes
from candlevault import windows
from candlevault.errors import InvalidRequest
from candlevault.windows import Window
from tests.support.candles import ms, window

DAY = 86_400_000
timeframe = st.sampled_from(list(timeframes.ALL.values()))


@st.composite
def spans(draw, step_ms: int = DAY, most: int = 60) -> Window:
    """A window near 2024 of at most `most` steps, seldom on a grid."""
    start = ms("2024-01-01") + draw(st.integers(-most * step_ms, most * step_ms))
    return Window(start, start + draw(st.integers(1, most * step_ms)))


@st.composite
def accounts(draw):
    """A timeframe, a window, stored open times (some outside, some twice) and absences."""
    frame = draw(timeframe)
    span = draw(spans(frame.step_ms))
    wide = Window(span.start_ms - 3 * frame.step_ms, span.end_ms + 3 * frame.step_ms)
    around = windows.expected_open_times(wide, frame).tolist()
    stored = draw(st.lists(st.sampled_from(around), max_size=80))
    absences = draw(st.lists(spans(frame.step_ms), max_size=5))
    return frame, span, stored, absences


def as_set(array) -> set[int]:
    assert array.dtype == np.int64
    assert array.tolist() == sorted(set(array.tolist()))
    return set(array.tolist())


@given(accounts())
def test_expected_is_the_disjoint_union_of_stored_absent_and_lost(made):
    frame, span, stored, absences = made
    account = windows.account(span, frame, np.array(stored, dtype=np.int64), absences)
    expected = as_set(account.expected)
    parts = [as_set(part) for part in (account.stored, account.absent, account.lost)]
    assert set.union(*parts) == expected
    assert sum(map(len, parts)) == len(expected)
    assert parts[0] == expected & set(stored)
    said_absent = {t for t in expected if any(a.contains(t) for a in absences)}
    assert parts[1] == said_absent - parts[0]


@given(accounts())
def test_ratios_are_shares_of_all_and_of_the_obtainable(made):
    frame, span, stored, absences = made
    account = windows.account(span, frame, np.array(stored, dtype=np.int64), absences)
    assert 0 <= account.raw_ratio <= account.obtainable_ratio <= 1
    assert (account.obtainable_ratio == 1) == (len(account.lost) == 0)
    if len(account.expected):
        assert account.raw_ratio == len(account.stored) / len(account.expected)


@given(accounts())
def test_lost_and_absent_windows_hold_exactly_the_lost_and_absent(made):
    frame, span, stored, absences = made
    account = windows.account(span, frame, np.array(stored, dtype=np.int64), absences)
    for times, runs in (
        (account.lost, account.lost_windows),
        (account.absent, account.absent_windows),
    ):
        assert windows.open_times_of(runs, frame).tolist() == times.tolist()


def test_candle_stored_off_the_grid_is_not_counted_as_stored():
    span = window("2024-01-01", "2024-01-01T03:00")
    stored = np.array([span.start_ms, span.start_ms + 3_600_001])
    account = windows.account(span, timeframes.ALL["1h"], stored)
    assert (len(account.stored), len(account.lost)) == (1, 2)


def test_account_of_a_window_without_open_time_is_empty_and_complete():
    span = window("2024-01-01T00:10", "2024-01-01T00:50")
    account = windows.account(span, timeframes.ALL["1h"], np.empty(0, dtype=np.int64))
    assert len(account.expected) == 0
    assert (account.raw_ratio, account.obtainable_ratio) == (1.0, 1.0)
    assert account.lost_windows == []


@given(timeframe.flatmap(lambda frame: st.tuples(st.just(frame), spans(frame.step_ms))))
def test_expected_open_times_are_all_grid_points_inside(made):
    frame, span = made
    times = windows.expected_open_times(span, frame).tolist()
    assert len(times) == windows.expected_count(span, frame)
    assert all(frame.is_aligned(t) and span.contains(t) for t in times)
    assert np.all(np.diff(times) == frame.step_ms)
    before = (times[0] if times else frame.ceil(span.start_ms)) - frame.step_ms
    after = times[-1] + frame.step_ms if times else frame.ceil(span.start_ms)
    assert before < span.start_ms and after >= span.end_ms


@given(timeframe.flatmap(lambda frame: st.tuples(st.just(frame), spans(frame.step_ms))))
def test_aligned_window_holds_the_same_open_times_and_ends_on_the_grid(made):
    frame, span = made
    grid = windows.aligned(span, frame)
    expected = windows.expected_open_times(span, frame).tolist()
    if grid is None:
        assert expected == []
    else:
        assert frame.is_aligned(grid.start_ms) and frame.is_aligned(grid.end_ms)
        assert windows.expected_open_times(grid, frame).tolist() == expected


@given(timeframe, st.sets(st.integers(-100, 100)))
def test_runs_and_open_times_of_are_inverse(frame, positions):
    times = np.array([frame.origin_ms + p * frame.step_ms for p in sorted(positions)], np.int64)
    runs = windows.runs(times, frame)
    assert windows.open_times_of(runs, frame).tolist() == times.tolist()
    assert all(a.end_ms < b.start_ms for a, b in pairwise(runs))


def test_open_times_of_overlapping_windows_come_once():
    twice = [window("2024-01-01", "2024-01-02"), window("2024-01-01T12:00", "2024-01-03")]
    assert len(windows.open_times_of(twice, timeframes.ALL["1h"])) == 48
    assert len(windows.open_times_of([], timeframes.ALL["1h"])) == 0


@given(timeframe, st.integers(1, 50), st.data())
def test_chunks_cover_the_window_exactly_in_pieces_of_limited_size(frame, most, data):
    span = data.draw(spans(frame.step_ms, 200))
    pieces = list(windows.chunks(span, frame, most))
    assert pieces[0].start_ms == span.start_ms and pieces[-1].end_ms == span.end_ms
    assert all(a.end_ms == b.start_ms for a, b in pairwise(pieces))
    counts = [windows.expected_count(piece, frame) for piece in pieces]
    assert max(counts) <= most
    assert sum(counts) == windows.expected_count(span, frame)


@given(timeframe, st.integers(1, 50), st.data())
def test_chunks_are_cut_at_the_same_places_whatever_the_window(frame, most, data):
    wide = data.draw(spans(frame.step_ms, 200))
    start = data.draw(st.integers(wide.start_ms, wide.end_ms - 1))
    end = data.draw(st.integers(start + 1, wide.end_ms))
    cuts = {piece.start_ms for piece in windows.chunks(wide, frame, most)} - {wide.start_ms}
    narrow = {piece.start_ms for piece in windows.chunks(Window(start, end), frame, most)} - {start}
    assert narrow == {cut for cut in cuts if start < cut < end}


@given(spans(DAY, 2_000))
def test_months_are_whole_adjacent_and_cover_the_window(span):
    months = list(windows.months(span))
    assert months[0].contains(span.start_ms) and months[-1].contains(span.end_ms - 1)
    assert all(a.end_ms == b.start_ms for a, b in pairwise(months))
    for month in months:
        assert (month.start.day, month.start.hour, month.end.day, month.end.hour) == (1, 0, 1, 0)
        assert 28 * DAY <= month.end_ms - month.start_ms <= 31 * DAY


def test_months_of_a_window_that_ends_at_midnight_do_not_touch_the_next():
    assert list(windows.months(window("2023-12-31T23:59", "2024-03-01"))) == [
        window("2023-12-01", "2024-01-01"),
        window("2024-01-01", "2024-02-01"),
        window("2024-02-01", "2024-03-01"),
    ]


small = st.integers(0, 60).flatmap(
    lambda start: st.integers(start + 1, 70).map(lambda end: Window(start, end))
)


def instants(many) -> set[int]:
    return {t for one in many for t in range(one.start_ms, one.end_ms)}


@given(st.lists(small, max_size=8))
def test_merge_covers_the_same_instants_with_windows_that_do_not_touch(many):
    merged = windows.merge(many)
    assert instants(merged) == instants(many)
    assert all(a.end_ms < b.start_ms for a, b in pairwise(merged))


@given(small, st.lists(small, max_size=8))
def test_subtract_leaves_exactly_what_no_hole_covers(one, holes):
    parts = windows.subtract(one, holes)
    assert instants(parts) == instants([one]) - instants(holes)
    assert all(a.end_ms < b.start_ms for a, b in pairwise(parts))


@given(small, small)
def test_intersection_is_what_both_contain(one, other):
    common = one.intersection(other)
    assert instants([common] if common else []) == instants([one]) & instants([other])
    assert common == other.intersection(one)
    assert all(one.contains(t) == (t in instants([one])) for t in range(-1, 72))


@pytest.mark.parametrize(("start", "end"), [(5, 5), (6, 5)])
def test_empty_and_reversed_windows_are_refused(start, end):
    with pytest.raises(InvalidRequest, match="start must lie before end"):
        Window(start, end)


def test_naive_datetimes_make_no_window():
    with pytest.raises(InvalidRequest, match="must carry a time zone"):
        Window.of(datetime(2024, 1, 1), datetime(2024, 1, 2, tzinfo=UTC))  # noqa: DTZ001


def test_window_reads_as_half_open_and_far_ones_as_numbers():
    assert str(window("2024-01-01", "2024-01-02T00:30")) == (
        "[2024-01-01T00:00:00Z, 2024-01-02T00:30:00Z)"
    )
    assert str(Window(0, 10**18)) == "[0 ms, 1000000000000000000 ms)"
