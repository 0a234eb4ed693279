"""What is missing from a set: known absences clipped and joined, lost windows found."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from candlevault import timeframe, windows
from candlevault.export.candle_set import KnownAbsence, clipped, iso, lost_windows
from candlevault.timeframe import from_ms
from candlevault.windows import Window

HOUR = timeframe.parse("1h")
WEEK = timeframe.parse("1w")
STEP = HOUR.step_ms
SLOTS = 24
ORIGIN = 1_704_067_200_000
LATER = datetime(2030, 1, 1, tzinfo=UTC)

slots = st.sets(st.integers(0, SLOTS - 1))
edges = st.integers(-2 * STEP, (SLOTS + 2) * STEP)


def at(slot: int) -> int:
    return ORIGIN + slot * STEP


@given(slots, slots, st.tuples(edges, edges).filter(lambda ends: ends[0] < ends[1]))
def test_lost_is_what_the_account_says(stored, gone, ends):
    window = Window(ORIGIN + ends[0], ORIGIN + ends[1])
    inside = np.array(sorted(at(s) for s in stored if window.contains(at(s))), dtype=np.int64)
    absences = [KnownAbsence(Window(at(s), at(s + 1)), "not_published") for s in gone - stored]
    found = lost_windows(window, HOUR, inside, absences, LATER)
    account = windows.account(window, HOUR, inside, [one.window for one in absences])
    assert list(found) == account.lost_windows


def test_a_candle_that_was_not_closed_cannot_be_lost():
    window = Window(at(0), at(10))
    nothing = np.empty(0, dtype=np.int64)
    just_closed = from_ms(at(3))
    assert lost_windows(window, HOUR, nothing, [], just_closed) == (Window(at(0), at(3)),)
    almost = just_closed - timedelta(milliseconds=1)
    assert lost_windows(window, HOUR, nothing, [], almost) == (Window(at(0), at(2)),)
    assert lost_windows(window, HOUR, nothing, [], from_ms(at(0))) == ()
    assert lost_windows(window, HOUR, nothing, [], from_ms(1)) == ()


def test_weeks_begin_on_monday():
    window = Window(ORIGIN, ORIGIN + 14 * 24 * STEP)
    monday = datetime(2024, 1, 1, tzinfo=UTC)
    [lost] = lost_windows(window, WEEK, np.empty(0, dtype=np.int64), [], LATER)
    assert (lost.start, lost.end) == (monday, monday + timedelta(weeks=2))


def test_absences_are_clipped_and_joined_where_they_touch_for_one_reason():
    given_absences = [
        KnownAbsence(Window(at(4), at(6)), "pause"),
        KnownAbsence(Window(at(-5), at(2)), "before_listing"),
        KnownAbsence(Window(at(2), at(3)), "not_published"),
        KnownAbsence(Window(at(3), at(4)), "not_published"),
        KnownAbsence(Window(at(9), at(12)), "pause"),
        KnownAbsence(Window(at(20), at(21)), "pause"),
    ]
    assert clipped(given_absences, Window(at(0), at(10))) == (
        KnownAbsence(Window(at(0), at(2)), "before_listing"),
        KnownAbsence(Window(at(2), at(4)), "not_published"),
        KnownAbsence(Window(at(4), at(6)), "pause"),
        KnownAbsence(Window(at(9), at(10)), "pause"),
    )


def test_instants_keep_every_digit():
    assert iso(from_ms(at(0))) == "2024-01-01T00:00:00Z"
    assert iso(from_ms(at(0)) + timedelta(microseconds=7)) == "2024-01-01T00:00:00.000007Z"
    east = datetime.fromisoformat("2024-01-01T01:00:00+01:00")
    assert iso(east) == "2024-01-01T00:00:00Z"
