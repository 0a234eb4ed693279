"""Numbers as text, round ticks, and curves with fewer points."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candlevault.backtest.metrics import drawdowns
from candlevault.backtest.metrics.distributions import histogram
from candlevault.backtest.tear_sheet import charts, formats, scales
from candlevault.backtest.tear_sheet.downsampling import kept_rows

DAY = 86_400_000
START = 1_704_067_200_000  # 2024-01-01


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"), (0, "0"), (1234567, "1,234,567"), (-5, "−5"), (0.0, "0.00"),
        (-0.001, "0.00"), (1234.567, "1,234.57"), (-12.345, "−12.35"), (1e15, "1.000e+15"),
    ],
)  # fmt: skip
def test_numbers_have_groups_and_a_true_minus(value, text):
    assert formats.number(value) == text


def test_a_plus_stands_only_above_zero():
    assert formats.number(2.0, sign=True) == "+2.00"
    assert formats.number(0.001, sign=True) == "0.00"
    assert formats.number(-2.0, sign=True) == "−2.00"
    assert formats.percent(12.5, 1, sign=True) == "+12.5\u202f%"
    assert formats.percent(None) == "–"


def test_amounts_and_prices():
    assert formats.money(1234567.891) == "1,234,568"
    assert formats.money(12.0) == "12.00"
    assert formats.amount(10_000.0) == "10,000"
    assert formats.amount(10_000.5) == "10,000.50"
    assert formats.price(48922.0) == "48,922.00"
    assert formats.price(0.0000123456789) == "0.000012345679"
    assert formats.price(114048.93) == "114,048.93"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.6, "1 min"), (3600, "1 h"), (90_000, "1 d 1 h"), (86_460, "1 d"),
     (365 * 86_400 + 86_400, "1 y 1 d"), (None, "–")],
)  # fmt: skip
def test_durations_have_two_units(seconds, text):
    assert formats.duration(seconds).replace("\u202f", " ") == text


def test_times_are_utc():
    assert formats.moment(START) == "2024-01-01 00:00"
    assert formats.day(START + DAY) == "2024-01-02"
    assert (formats.moment(None), formats.day(None)) == ("–", "–")


@settings(database=None, deadline=None, derandomize=True, max_examples=100)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=400), st.integers(4, 60))
def test_a_thinned_curve_keeps_its_ends_and_extremes(values, most):
    array = np.array(values)
    rows = kept_rows(array, most)
    assert len(rows) <= max(most, 4)
    assert len(rows) == len(values) or len(values) > most
    assert list(rows) == sorted(set(rows.tolist()))
    assert (rows[0], rows[-1]) == (0, len(values) - 1)
    assert array[rows].min() == array.min()
    assert array[rows].max() == array.max()


def test_every_stretch_of_a_thinned_curve_keeps_its_spike():
    values = np.zeros(50_000)
    values[1234], values[40_000] = 5.0, -5.0
    rows = kept_rows(values)
    assert len(rows) <= 1500
    assert {1234, 40_000} <= set(rows.tolist())


def test_linear_ticks_are_round_and_inside():
    assert scales.linear(-37.0, 103.0).ticks == (0.0, 50.0, 100.0)
    assert scales.linear(0.0, 0.31, ticks=4).ticks == (0.0, 0.1, 0.2, 0.3)
    flat = scales.linear(100.0, 100.0)
    assert flat.low < 100 < flat.high


def test_values_far_apart_get_a_logarithmic_scale_with_decades():
    scale = scales.fitting(1_000.0, 100_000.0)
    assert scale.logarithmic
    assert scale.ticks == (1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5)
    assert scale.place(1e4) == pytest.approx(0.5)
    wide = scales.fitting(1e-3, 1e9)
    assert 3 <= len(wide.ticks) <= 7
    assert not scales.fitting(900.0, 1100.0).logarithmic
    assert not scales.fitting(-5.0, 1100.0).logarithmic


@settings(database=None, deadline=None, derandomize=True, max_examples=200)
@given(st.floats(-1e9, 1e9), st.floats(0, 1e9))
def test_every_scale_holds_its_values(low, span):
    scale = scales.fitting(low, low + span)
    for value in (low, low + span):
        assert -1e-9 <= scale.place(value) <= 1 + 1e-9
    assert all(scale.low <= tick <= scale.high for tick in scale.ticks)
    assert len(scale.ticks) <= 11


@pytest.mark.parametrize(
    ("span", "first", "count"),
    [(3 * 3_600_000, "00:00", 7), (2 * DAY, "01-01 00:00", 9), (7 * DAY, "01-01", 8),
     (40 * DAY, "2024-01-01", 6), (200 * DAY, "2024-01", 7), (3 * 365 * DAY, "2024-01", 6),
     (6 * 365 * DAY, "2024", 6), (30 * 365 * DAY, "2030", 3)],
)  # fmt: skip
def test_times_are_labelled_at_round_places(span, first, count):
    ticks = scales.times(START, START + span)
    assert (ticks[0].label, len(ticks)) == (first, count)
    assert all(0 <= tick.place <= 1 for tick in ticks)
    assert len({tick.label for tick in ticks}) == len(ticks)


def test_there_is_no_time_axis_for_one_moment():
    assert scales.times(START, START) == ()


def test_a_tick_stands_where_its_time_is():
    ticks = {tick.label: tick.place for tick in scales.times(START, START + 10 * 366 * DAY)}
    assert ticks["2026"] == pytest.approx(731 / 3660)


def places(drawing, kind):
    """The points of a polyline as numbers."""
    text = str(drawing).split(f'class="{kind}" points="')[1].split('"')[0]
    return [tuple(map(float, pair.split(","))) for pair in text.split()]


def test_the_equity_line_goes_from_edge_to_edge_and_rises_upwards():
    times = START + np.arange(3) * DAY
    drawing = charts.equity(times, np.array([100.0, 90.0, 120.0]), None, 100.0)
    points = places(drawing, "main")
    assert [x for x, _ in points] == [0, 500, 1000]
    heights = [y for _, y in points]
    assert heights[2] < heights[0] < heights[1]
    assert "other" not in str(drawing)


def test_a_drawdown_hangs_from_the_top_to_its_deepest_point():
    drawing = charts.drawdown(START + np.arange(3) * DAY, np.array([0.0, 50.0, 25.0]))
    assert places(drawing, "under-line") == [(0, 0), (500, 1000), (1000, 500)]
    assert "50.00\u202f%" in str(drawing)


def test_exposure_bars_are_as_high_as_the_share_of_rows():
    held = np.array([True, True, False, True, False, False, False, False])
    drawing = str(charts.exposure(START + np.arange(8) * DAY, held, most=4))
    # two rows a bar: 100 %, 50 %, 0 (not drawn), 0
    assert drawing.count('class="held"') == 2
    assert '<rect class="held" x="250" y="500" width="250" height="500"/>' in drawing
    assert "37.50\u202f%" in drawing


def test_a_histogram_colours_gains_and_losses_and_names_its_mark():
    bins = histogram([-2.0, -1.0, 1.0, 2.0, 2.1])
    drawing = str(charts.spread("x", "t", "w", bins, (1.5, "<b>here</b>")))
    assert drawing.count('class="loss"') == 2
    assert drawing.count('class="gain"') == sum(
        1 for i in range(len(bins.counts)) if bins.counts[i] and bins.edges[i] >= 0
    )
    assert "&lt;b&gt;here&lt;/b&gt;" in drawing
    plain = str(charts.spread("x", "t", "w", bins, (1e9, "far"), plain=True))
    assert 'class="gain"' not in plain
    assert 'x1="100.00%"' in plain  # a mark beyond the edge stands at the edge


def test_an_interval_shows_its_ends_zero_and_the_value():
    drawing = str(charts.interval(-50.0, 50.0, 25.0))
    assert 'class="range" x1="2.00%" x2="98.00%"' in drawing
    assert 'class="zero" x1="50.00%"' in drawing
    assert 'cx="74.00%"' in drawing
    assert "circle" not in str(charts.interval(1.0, 2.0, None))
    assert "nan" not in str(charts.interval(0.0, 0.0, 0.0))


@settings(database=None, deadline=None, derandomize=True, max_examples=100)
@given(st.lists(st.floats(-1e5, 1e7), min_size=1, max_size=60), st.floats(1e-3, 1e9))
def test_no_drawing_holds_what_is_no_number(values, capital):
    array, times = np.array([capital, *values]), START + np.arange(len(values) + 1) * DAY
    for drawing in (
        charts.equity(times, array, array[::-1].copy(), capital),
        charts.drawdown(times, drawdowns.curve(array)),
    ):
        assert "nan" not in str(drawing)
        assert "inf" not in str(drawing)
        for x, y in (*(places(drawing, "main") if "main" in str(drawing) else ()),):
            assert 0 <= x <= 1000
            assert math.isfinite(y)
            assert -1 <= y <= 1001
