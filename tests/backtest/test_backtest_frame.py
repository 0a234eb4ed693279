"""The frame: continuous grid, absent modes, refusals, fingerprint."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candlevault import timeframe as timeframes
from candlevault.backtest.data.frame import build_frame
from candlevault.errors import DataMissing, InvalidRequest
from candlevault.windows import Window

HOUR = 3_600_000
START = 1_704_067_200_000
H1 = timeframes.parse("1h")
WINDOW = Window(START, START + 4 * HOUR)
NAN = float("nan")


def candles(hours=(0, 1, 2, 3), **columns):
    count = len(hours)
    base = {
        "open_time": np.array([START + hour * HOUR for hour in hours], dtype=np.int64),
        "open": np.array([10.0 + hour for hour in hours]),
        "high": np.array([12.0 + hour for hour in hours]),
        "low": np.array([9.0 + hour for hour in hours]),
        "close": np.array([11.0 + hour for hour in hours]),
        "volume": np.full(count, 5.0),
    }
    return base | columns


def test_rows_stand_on_the_continuous_grid_of_the_window():
    frame = build_frame(H1, WINDOW, candles((0, 3)))
    assert frame.open_time.tolist() == [START, START + HOUR, START + 2 * HOUR, START + 3 * HOUR]
    assert frame.open_time.dtype == np.int64
    assert frame.present.tolist() == [True, False, False, True]
    assert len(frame) == 4


def test_unaligned_window_holds_the_open_times_inside():
    window = Window(START - 10 * 60_000, START + HOUR + 1)
    frame = build_frame(H1, window, candles((0, 1)))
    assert frame.open_time.tolist() == [START, START + HOUR]


def test_decimals_and_strings_become_the_nearest_float():
    exact = [Decimal("10.10000000"), Decimal("11.20000000"), Decimal(12), Decimal(13)]
    frame = build_frame(H1, WINDOW, candles(open=np.array(exact, dtype=object)))
    assert frame.open.tolist() == [10.1, 11.2, 12.0, 13.0]
    frame = build_frame(H1, WINDOW, candles(open=np.array([str(x) for x in exact], dtype=object)))
    assert frame.open.tolist() == [10.1, 11.2, 12.0, 13.0]


def test_a_data_frame_is_as_good_as_arrays():
    frame = build_frame(H1, WINDOW, pd.DataFrame(candles()))
    assert frame.close.tolist() == [11.0, 12.0, 13.0, 14.0]


def test_mark_leaves_absent_rows_empty_and_out_of_the_bars():
    frame = build_frame(H1, WINDOW, candles((0, 3)), absent="mark")
    np.testing.assert_array_equal(frame.close, [11.0, NAN, NAN, 14.0])
    np.testing.assert_array_equal(frame.volume, [5.0, NAN, NAN, 5.0])
    assert not frame.carried.any()
    assert frame.bars().close.tolist() == [11.0, 14.0]
    assert frame.bars().open_time.tolist() == [START, START + 3 * HOUR]


def test_carry_puts_a_flat_candle_at_the_last_close_and_flags_it():
    frame = build_frame(H1, WINDOW, candles((0, 3)), absent="carry")
    for column in (frame.open, frame.high, frame.low, frame.close):
        assert column[1:3].tolist() == [11.0, 11.0]
    assert frame.volume.tolist() == [5.0, 0.0, 0.0, 5.0]
    assert frame.present.tolist() == [True, False, False, True]
    assert frame.carried.tolist() == [False, True, True, False]
    assert frame.bars().close.tolist() == [11.0, 11.0, 11.0, 14.0]


def test_carry_has_nothing_to_carry_before_the_first_candle():
    frame = build_frame(H1, WINDOW, candles((2,)), absent="carry")
    np.testing.assert_array_equal(frame.close, [NAN, NAN, 13.0, 13.0])
    assert frame.carried.tolist() == [False, False, False, True]
    assert frame.bars().close.tolist() == [13.0, 13.0]


def test_forbid_refuses_and_names_the_windows():
    with pytest.raises(DataMissing, match=r"\[2024-01-01T01:00:00Z, 2024-01-01T03:00:00Z\)"):
        build_frame(H1, WINDOW, candles((0, 3)), absent="forbid")
    assert build_frame(H1, WINDOW, candles(), absent="forbid").present.all()


def test_many_missing_windows_are_named_up_to_ten():
    window = Window(START, START + 30 * HOUR)
    with pytest.raises(DataMissing, match="and 4 more windows"):
        build_frame(H1, window, candles(range(0, 30, 2)[:14]), absent="forbid")


@pytest.mark.parametrize("absent", ["mark", "carry", "forbid"])
def test_lost_candles_are_refused_in_every_mode_when_absences_are_given(absent):
    outage = Window(START + HOUR, START + 2 * HOUR)
    with pytest.raises(DataMissing, match=r"lost in \[2024-01-01T02:00:00Z"):
        build_frame(H1, WINDOW, candles((0, 3)), absent=absent, absences=[outage])


def test_known_absences_pass_in_mark():
    outage = Window(START + HOUR, START + 3 * HOUR)
    frame = build_frame(H1, WINDOW, candles((0, 3)), absences=[outage])
    assert frame.absent_windows == [outage]


def test_a_window_without_any_candle_is_refused():
    with pytest.raises(DataMissing, match="no candle of 1h"):
        build_frame(H1, WINDOW, candles(()))


@pytest.mark.parametrize(
    ("field", "columns"),
    [
        ("candles.open_time", {"open_time": np.array([START, START, START + 1, START + 2])}),
        ("candles.open_time", {"open_time": START + np.array([0, 1, 1, 2]) * HOUR}),
        ("candles.open_time", {"open_time": START + np.array([0, 2, 1, 3]) * HOUR}),
        ("candles.open_time", {"open_time": START + np.array([0, 1, 2, 4]) * HOUR}),
        ("candles.open_time", {"open_time": START + np.array([-1, 1, 2, 3]) * HOUR}),
        ("candles.open_time", {"open_time": START + np.array([0, 1, 2, 3]) * HOUR + 1}),
        ("candles.open_time", {"open_time": START + np.array([0.0, 1, 2, 3]) * HOUR}),
        ("candles.close", {"close": np.array([11.0, 12.0, 13.0])}),
        ("candles.close", {"close": np.array([11.0, NAN, 13.0, 14.0])}),
        ("candles.low", {"low": np.array([0.0, 10.0, 11.0, 12.0])}),
        ("candles.low", {"low": np.array([10.5, 10.0, 11.0, 12.0])}),
        ("candles.high", {"high": np.array([10.5, 13.0, 14.0, 15.0])}),
        ("candles.volume", {"volume": np.array([-1.0, 1.0, 1.0, 1.0])}),
        ("candles.open", {"open": np.array(["x", "1", "1", "1"], dtype=object)}),
    ],
)
def test_broken_columns_are_refused_by_name(field, columns):
    with pytest.raises(InvalidRequest) as caught:
        build_frame(H1, WINDOW, candles(**columns))
    assert caught.value.field == field


def test_unknown_absent_mode_is_refused():
    with pytest.raises(InvalidRequest) as caught:
        build_frame(H1, WINDOW, candles(), absent="fill")
    assert caught.value.field == "absent"


def test_a_candle_without_trades_is_a_candle():
    assert build_frame(H1, WINDOW, candles(volume=np.zeros(4))).present.all()


def test_arrays_cannot_be_written():
    frame = build_frame(H1, WINDOW, candles())
    with pytest.raises(ValueError, match="read-only"):
        frame.close[0] = 1.0


def test_on_grid_puts_values_of_bars_back_to_their_rows():
    frame = build_frame(H1, WINDOW, candles((0, 3)))
    assert frame.on_grid(np.array([7, 8]), 0).tolist() == [7, 0, 0, 8]
    with pytest.raises(ValueError, match="3 values for 2 bars"):
        frame.on_grid(np.zeros(3), 0)


def test_fingerprint_sees_every_value_flag_and_mode(frame_of):
    base = [(10.0, 12.0, 9.0, 11.0), None, 11.0, 12.0]
    variants = [
        frame_of(base),
        frame_of(base, absent="carry"),
        frame_of(base, volume=2.0),
        frame_of([*base[:3], 12.5]),
        frame_of([(10.0, 12.0, 9.0, 11.5), *base[1:]]),
        frame_of([(10.0, 12.5, 9.0, 11.0), *base[1:]]),
        frame_of([*base[:1], 11.0, *base[2:]]),
        frame_of(base, timeframe="1d"),
    ]
    assert len({frame.fingerprint() for frame in variants}) == len(variants)
    assert frame_of(base).fingerprint() == frame_of(list(base)).fingerprint()
    assert frame_of([5.0]).fingerprint() != frame_of([5.0], timeframe="1d").fingerprint()


@settings(database=None, deadline=None, derandomize=True)
@given(st.lists(st.booleans(), min_size=1, max_size=30).filter(any),
       st.sampled_from(["mark", "carry"]))
def test_every_expected_row_is_there_and_accounted_for(frame_of, stored, absent):
    frame = frame_of([100.0 + i if there else None for i, there in enumerate(stored)],
                     absent=absent)
    assert len(frame) == len(stored)
    assert (np.diff(frame.open_time) == HOUR).all()
    assert frame.present.tolist() == stored
    priced = frame.present | frame.carried
    assert np.isfinite(frame.close[priced]).all()
    assert np.isnan(frame.close[~priced]).all()
    assert not (frame.present & frame.carried).any()
    first = stored.index(True)
    expected = frame.present if absent == "mark" else np.arange(len(frame)) >= first
    assert (priced == expected).all()
    last = None
    for row, there in enumerate(stored):
        last = 100.0 + row if there else last
        if priced[row]:
            assert frame.close[row] == last
