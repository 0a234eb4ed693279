"""Grids: every instant lies in exactly one candle, weeks open on Mondays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candlevault import timeframe as timeframes
from candlevault.errors import InvalidRequest
from candlevault.timeframe import from_ms, to_ms
from tests.support.candles import ms

frames = st.sampled_from(list(timeframes.ALL.values()))
instants = st.integers(-(10**13), 10**13)


@given(frames, instants)
def test_floor_and_ceil_are_the_grid_points_around_an_instant(frame, at):
    floor, ceil = frame.floor(at), frame.ceil(at)
    assert floor <= at <= ceil
    assert frame.is_aligned(floor) and frame.is_aligned(ceil)
    assert ceil - floor == (0 if frame.is_aligned(at) else frame.step_ms)


@given(frames, instants)
def test_grid_points_are_one_step_apart(frame, at):
    floor = frame.floor(at)
    assert frame.ceil(floor + 1) == floor + frame.step_ms
    assert frame.floor(floor + frame.step_ms - 1) == floor
    assert not any(frame.is_aligned(floor + off) for off in (1, frame.step_ms - 1))


@given(instants)
def test_week_opens_on_monday_at_midnight(at):
    opened = from_ms(timeframes.ALL["1w"].floor(at))
    assert (opened.weekday(), opened.hour, opened.minute, opened.second) == (0, 0, 0, 0)
    assert opened.microsecond == 0


@pytest.mark.parametrize(
    ("code", "at", "opened"),
    [
        ("1w", "2024-01-07T23:59", "2024-01-01"),
        ("1w", "2024-01-08", "2024-01-08"),
        ("1w", "1970-01-01", "1969-12-29"),
        ("1d", "1969-12-31T12:00", "1969-12-31"),
        ("4h", "2024-01-01T07:59", "2024-01-01T04:00"),
        ("1h", "1969-12-31T23:30", "1969-12-31T23:00"),
        ("15m", "2024-01-01T00:44:59.999", "2024-01-01T00:30"),
    ],
)
def test_floor_of_known_instants(code, at, opened):
    assert timeframes.ALL[code].floor(ms(at)) == ms(opened)


def test_every_grid_is_a_grid_of_the_finer_ones():
    steps = [frame.step_ms for frame in timeframes.ALL.values()]
    assert steps == sorted(set(steps))
    for coarse in timeframes.ALL.values():
        for fine in timeframes.ALL.values():
            if fine.step_ms <= coarse.step_ms:
                assert coarse.step_ms % fine.step_ms == 0
                assert fine.is_aligned(coarse.origin_ms)


@given(st.datetimes(timezones=st.just(UTC), min_value=datetime(1900, 1, 1)))  # noqa: DTZ001
def test_milliseconds_and_datetimes_are_inverse_down_to_the_millisecond(moment):
    cut = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    assert from_ms(to_ms(moment)) == cut


def test_time_zones_are_honoured_and_naive_times_refused():
    there = timezone(timedelta(hours=5, minutes=30))
    assert to_ms(datetime(2024, 1, 1, 5, 30, tzinfo=there)) == ms("2024-01-01")
    with pytest.raises(InvalidRequest, match="must carry a time zone"):
        to_ms(datetime(2024, 1, 1))  # noqa: DTZ001


@pytest.mark.parametrize("code", timeframes.ALL)
def test_known_codes_are_parsed(code):
    frame = timeframes.parse(code)
    assert (frame.code, str(frame)) == (code, code)
    assert frame.step == timedelta(milliseconds=frame.step_ms)


@pytest.mark.parametrize("code", ["1M", "2h", "1H", "", " 1h", "1h\n", None, 60, ["1h"]])
def test_unknown_code_is_refused_naming_the_field_and_the_known_ones(code):
    with pytest.raises(InvalidRequest, match=r"^data\.tf: must be one of 1m, .*, 1w") as raised:
        timeframes.parse(code, "data.tf")
    assert raised.value.field == "data.tf"
