"""What callers may write for an instant becomes exactly one instant, or an error."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from candlevault.errors import InvalidRequest
from candlevault.export import request
from candlevault.windows import Window

EAST = timezone(timedelta(hours=5, minutes=30))
MOMENT = datetime(2024, 1, 31, 12, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        MOMENT,
        MOMENT.astimezone(EAST),
        pd.Timestamp(MOMENT),
        "2024-01-31T12:30",
        "2024-01-31T12:30:00Z",
        " 2024-01-31 12:30+00:00 ",
        "2024-01-31T18:00+05:30",
    ],
    ids=str,
)
def test_one_instant_has_many_spellings(value):
    found = request.instant(value, "start")
    assert found == MOMENT
    assert type(found) is datetime and found.tzinfo is UTC


def test_a_date_is_its_midnight_utc():
    midnight = datetime(2024, 1, 31, tzinfo=UTC)
    assert request.instant(date(2024, 1, 31), "start") == midnight
    assert request.instant("2024-01-31", "start") == midnight


@pytest.mark.parametrize(
    "value",
    ["", "now", "31.01.2024", "2024-02-30", None, 0, 1.5, pd.NaT, datetime(2024, 1, 31)],  # noqa: DTZ001
)
def test_anything_else_names_the_field(value):
    with pytest.raises(InvalidRequest) as refused:
        request.instant(value, "as_of")
    assert refused.value.field == "as_of"


def test_the_first_hours_of_all_time_are_an_error_not_a_crash():
    with pytest.raises(InvalidRequest, match="start: lies outside"):
        request.instant(datetime.min.replace(tzinfo=EAST), "start")


@given(st.integers(0, 10**15), st.integers(1, 10**15))
def test_a_window_holds_the_milliseconds_between_its_instants(start_us, length_us):
    """Half-open also for instants between two milliseconds."""
    epoch, us = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
    first, last = epoch + start_us * us, epoch + (start_us + length_us) * us
    inside = range(-(-start_us // 1000), -(-(start_us + length_us) // 1000))
    if not inside:
        with pytest.raises(InvalidRequest, match="end"):
            request.window(first, last)
        return
    assert request.window(first, last) == Window(inside.start, inside.stop)
