"""Indicators against figures by hand and against slow exact references."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candlevault.backtest import indicators as ind
from candlevault.errors import InvalidRequest

NAN = float("nan")
QUIET = settings(database=None, deadline=None, derandomize=True, max_examples=60)
PRICES = st.lists(st.integers(1, 10**9).map(lambda n: n / 10_000), min_size=1, max_size=40)


def exact(values):
    return [Fraction(value) for value in values]


def reference_sma(values, period):
    values = exact(values)
    return [None if i + 1 < period else sum(values[i + 1 - period : i + 1]) / period
            for i in range(len(values))]


def reference_smoothed(values, period, weight):
    """`values` may begin with None."""
    first = next((i for i, v in enumerate(values) if v is not None), len(values))
    out = [None] * len(values)
    for i in range(first + period - 1, len(values)):
        if i == first + period - 1:
            out[i] = sum(values[first : i + 1]) / period
        else:
            out[i] = (1 - weight) * out[i - 1] + weight * values[i]
    return out


def reference_ema(values, period):
    return reference_smoothed(values, period, Fraction(2, period + 1))


def agree(array, reference, scale):
    assert len(array) == len(reference)
    for got, expected in zip(array.tolist(), reference, strict=True):
        if expected is None:
            assert np.isnan(got)
        else:
            assert got == pytest.approx(float(expected), rel=1e-11, abs=1e-11 * scale)


def test_sma_by_hand():
    np.testing.assert_array_equal(
        ind.sma(np.array([1.0, 2.0, 6.0, 4.0, 5.0]), 3), [NAN, NAN, 3.0, 4.0, 5.0]
    )


def test_sma_of_period_one_is_the_series_and_of_a_short_series_nothing():
    np.testing.assert_array_equal(ind.sma(np.array([3.0, 1.0]), 1), [3.0, 1.0])
    assert np.isnan(ind.sma(np.array([3.0, 1.0]), 3)).all()
    assert len(ind.sma(np.array([]), 3)) == 0


@QUIET
@given(PRICES, st.integers(1, 12))
def test_sma_equals_exact_arithmetic(values, period):
    agree(ind.sma(np.array(values), period), reference_sma(values, period), 0.0)


def test_sma_carries_no_rounding_from_earlier_rows():
    """A running sum would carry the rounding of 1e9 through the small prices after it."""
    values = np.concatenate((np.full(1000, 1e9), np.full(5000, 0.1)))
    np.testing.assert_allclose(ind.sma(values, 37)[1100:], 0.1, rtol=1e-15)


def test_averages_of_a_frozen_price_are_equal_whatever_their_period():
    frozen = np.full(300, 0.1)
    for period in (3, 7, 20, 50, 199):
        left, right = ind.sma(frozen, period), ind.sma(frozen, 200)
        assert not ind.crosses_above(left, right).any()
        assert abs(left[-1] / right[-1] - 1.0) < ind.EQUAL_RATIO


def test_ema_by_hand():
    # period 3, weight 1/2; seed (2 + 4 + 6) / 3 = 4; 4 + (8 - 4) / 2 = 6; 6 + (2 - 6) / 2 = 4
    np.testing.assert_array_equal(
        ind.ema(np.array([2.0, 4.0, 6.0, 8.0, 2.0]), 3), [NAN, NAN, 4.0, 6.0, 4.0]
    )


def test_ema_starts_after_leading_nan():
    np.testing.assert_array_equal(
        ind.ema(np.array([NAN, NAN, 2.0, 4.0, 6.0, 8.0]), 3), [NAN, NAN, NAN, NAN, 4.0, 6.0]
    )


@QUIET
@given(PRICES, st.integers(1, 12))
def test_ema_equals_exact_arithmetic(values, period):
    agree(ind.ema(np.array(values), period), reference_ema(exact(values), period), max(values))


def test_rsi_by_hand():
    # changes +2 -1 +3 -4; period 2: gain (2 + 0) / 2 = 1, loss (0 + 1) / 2 = 0.5 -> 66.67
    # then gain (1 + 3) / 2 = 2, loss 0.25 -> 88.89; then gain 1, loss (0.25 + 4) / 2 = 2.125 -> 32
    got = ind.rsi(np.array([10.0, 12.0, 11.0, 14.0, 10.0]), 2)
    np.testing.assert_allclose(got, [NAN, NAN, 200 / 3, 800 / 9, 32.0], rtol=1e-14)


def test_rsi_limits():
    assert ind.rsi(np.arange(1.0, 10.0), 3)[-1] == 100.0
    assert ind.rsi(np.arange(10.0, 1.0, -1.0), 3)[-1] == 0.0
    np.testing.assert_array_equal(ind.rsi(np.full(5, 7.0), 3), [NAN, NAN, NAN, 50.0, 50.0])


@QUIET
@given(PRICES, st.integers(1, 10))
def test_rsi_equals_exact_arithmetic(values, period):
    prices = exact(values)
    changes = [None, *(b - a for a, b in pairwise(prices))]
    gains = [None if c is None else max(c, Fraction(0)) for c in changes]
    losses = [None if c is None else max(-c, Fraction(0)) for c in changes]
    weight = Fraction(1, period)
    expected = [
        None if g is None else Fraction(50) if g + w == 0 else 100 * g / (g + w)
        for g, w in zip(reference_smoothed(gains, period, weight),
                        reference_smoothed(losses, period, weight), strict=True)
    ]
    got = ind.rsi(np.array(values), period)
    for value, reference in zip(got.tolist(), expected, strict=True):
        if reference is None:
            assert np.isnan(value)
        else:
            # Differences of nearly equal prices carry the rounding of the prices.
            assert value == pytest.approx(float(reference), rel=1e-4, abs=1e-4)


def test_true_range_and_atr_by_hand():
    high, low, close = (np.array(x, dtype=float) for x in
                        ([12, 13, 20, 15], [9, 11, 18, 10], [10, 12, 19, 11]))
    # 13-11=2, 13-10=3, |11-10|=1 -> 3;  20-12 -> 8;  19-10 -> 9
    np.testing.assert_array_equal(ind.true_range(high, low, close), [NAN, 3.0, 8.0, 9.0])
    # seed (3 + 8) / 2 = 5.5; (5.5 + 9) / 2 = 7.25
    np.testing.assert_array_equal(ind.atr(high, low, close, 2), [NAN, NAN, 5.5, 7.25])


@QUIET
@given(PRICES, st.integers(1, 4), st.integers(5, 9), st.integers(1, 4))
def test_macd_equals_exact_arithmetic(values, fast, slow, signal):
    quick, slack = reference_ema(exact(values), fast), reference_ema(exact(values), slow)
    line = [None if s is None else q - s for q, s in zip(quick, slack, strict=True)]
    average = reference_ema(line, signal)
    got = ind.macd(np.array(values), fast, slow, signal)
    agree(got.line, line, max(values))
    agree(got.signal, average, max(values))
    agree(got.histogram,
          [None if a is None else v - a for v, a in zip(line, average, strict=True)], max(values))


def test_macd_refuses_a_fast_average_that_is_not_faster():
    with pytest.raises(InvalidRequest):
        ind.macd(np.arange(50.0), 26, 26, 9)


def test_bollinger_by_hand():
    # window 2, 4, 4, 4, 5, 5, 7, 9: mean 5, squared distances 9+1+1+1+0+0+4+16 = 32, /8 = 4 -> 2
    bands = ind.bollinger(np.array([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]), 8, 2.0)
    assert (bands.lower[-1], bands.middle[-1], bands.upper[-1]) == (1.0, 5.0, 9.0)
    assert np.isnan(bands.upper[:7]).all()


@QUIET
@given(PRICES, st.integers(1, 10))
def test_bollinger_width_equals_exact_variance(values, period):
    bands = ind.bollinger(np.array(values), period, 1.0)
    means = reference_sma(values, period)
    for i, mean in enumerate(means):
        if mean is None:
            assert np.isnan(bands.upper[i])
            continue
        window = exact(values)[i + 1 - period : i + 1]
        deviation = float(sum((v - mean) ** 2 for v in window) / period) ** 0.5
        assert bands.upper[i] - bands.middle[i] == pytest.approx(deviation, abs=1e-9 * max(values))


@pytest.mark.parametrize("period", [0, -1, 2.0, True, None])
def test_a_period_that_is_no_positive_whole_number_is_refused(period):
    with pytest.raises(InvalidRequest) as caught:
        ind.sma(np.arange(3.0), period)
    assert caught.value.field == "period"


def test_cross_needs_both_bars_defined():
    left = np.array([NAN, 3.0, 3.0, 1.0, 3.0])
    right = np.array([2.0, 2.0, NAN, 2.0, 2.0])
    assert ind.crosses_above(left, right).tolist() == [False, False, False, False, True]
    assert not ind.crosses_below(left, right).any()


def test_cross_from_equality_counts_and_into_equality_does_not():
    left, right = np.array([1.0, 2.0, 3.0, 2.0, 1.0]), np.full(5, 2.0)
    assert ind.crosses_above(left, right).tolist() == [False, False, True, False, False]
    assert ind.crosses_below(left, right).tolist() == [False, False, False, False, True]
    for one, other in ((left, right), (right, left), (left, 1.0)):
        above, below = ind.crosses(one, other)
        assert above.tolist() == ind.crosses_above(one, other).tolist()
        assert below.tolist() == ind.crosses_below(one, other).tolist()
        assert not above.flags.writeable


def test_values_within_a_trillionth_are_equal():
    right = np.full(4, 1000.0)
    touching = np.array([999.0, 1000.0 * (1 + 0.9e-12), 1000.0 * (1 + 0.9e-12), 999.0])
    assert not ind.crosses_above(touching, right).any()
    # only the last bar leaves equality, downwards
    assert ind.crosses_below(touching, right).tolist() == [False, False, False, True]
    beyond = np.array([999.0, 1000.0 * (1 + 1.1e-12), 999.0, 999.0])
    assert ind.crosses_above(beyond, right).tolist() == [False, True, False, False]


def test_two_series_of_different_length_are_refused():
    long, short = np.arange(1.0, 6.0), np.arange(1.0, 5.0)
    for compute, field in (
        (lambda: ind.crosses_above(long, short), "right"),
        (lambda: ind.crosses_below(short, long), "right"),
        (lambda: ind.true_range(long, long, short), "close"),
        (lambda: ind.atr(long, short, long, 2), "low"),
    ):
        with pytest.raises(InvalidRequest) as caught:
            compute()
        assert caught.value.field == field


def test_a_table_is_no_series():
    with pytest.raises(InvalidRequest, match="one dimension"):
        ind.sma(np.ones((4, 2)), 2)


def test_above_and_its_kin_by_hand():
    left = np.array([1.0, 2.0, 2.0 * (1 + 0.9e-12), 3.0, NAN, 1.0])
    right = np.array([2.0, 2.0, 2.0, 2.0, 2.0, NAN])
    assert ind.above(left, right).tolist() == [False, False, False, True, False, False]
    assert ind.below(left, right).tolist() == [True, False, False, False, False, False]
    assert ind.at_least(left, right).tolist() == [False, True, True, True, False, False]
    assert ind.at_most(left, right).tolist() == [True, True, True, False, False, False]


def test_either_side_of_a_comparison_may_be_a_number():
    values = np.array([1.0, 3.0, 1.0])
    assert ind.above(values, 2.0).tolist() == [False, True, False]
    assert ind.above(2, values).tolist() == [True, False, True]
    assert ind.crosses_above(values, 2).tolist() == [False, True, False]
    assert ind.crosses_below(values, 2.0).tolist() == [False, False, True]
    assert ind.crosses_below(2.0, values).tolist() == [False, True, False]
    with pytest.raises(InvalidRequest):
        ind.above(1.0, 2.0)


def test_highest_and_lowest_by_hand():
    values = np.array([3.0, 1.0, 4.0, 1.0, 5.0, 2.0])
    np.testing.assert_array_equal(ind.highest(values, 3), [NAN, NAN, 4.0, 4.0, 5.0, 5.0])
    np.testing.assert_array_equal(ind.lowest(values, 3), [NAN, NAN, 1.0, 1.0, 1.0, 1.0])
    np.testing.assert_array_equal(ind.highest(values, 1), values)
    assert np.isnan(ind.lowest(values, 7)).all()
    assert len(ind.highest(np.array([]), 2)) == 0


@QUIET
@given(st.lists(st.integers(-5, 5) | st.just(NAN), max_size=40), st.integers(1, 41))
def test_extremes_are_those_of_each_window_and_undefined_where_it_holds_nan(values, period):
    values = [float(value) for value in values]
    for compute, pick in ((ind.highest, max), (ind.lowest, min)):
        expected = [
            pick(values[i + 1 - period : i + 1])
            if i + 1 >= period and not np.isnan(values[i + 1 - period : i + 1]).any()
            else NAN
            for i in range(len(values))
        ]
        np.testing.assert_array_equal(compute(np.array(values), period), expected)


def test_previous_gives_the_rows_before():
    values = np.array([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(ind.previous(values), [NAN, 1.0, 2.0])
    np.testing.assert_array_equal(ind.previous(values, 2), [NAN, NAN, 1.0])
    assert np.isnan(ind.previous(values, 3)).all()
    assert np.isnan(ind.previous(values, 4)).all()
    with pytest.raises(InvalidRequest) as caught:
        ind.previous(values, 0)
    assert caught.value.field == "rows"


def test_rate_of_change_by_hand():
    values = np.array([4.0, 5.0, 3.0, 0.0, 6.0, 7.0])
    # 100 * (3 - 4) / 4; 100 * (0 - 5) / 5; 100 * (6 - 3) / 3; nothing is a part of 0
    np.testing.assert_array_equal(ind.roc(values, 2), [NAN, NAN, -25.0, -100.0, 100.0, NAN])
    assert np.isnan(ind.roc(values, 6)).all()
    assert np.isnan(ind.roc(values, 9)).all()


def test_standard_deviation_by_hand_and_of_a_frozen_price():
    # distances from the mean 5: 9+1+1+1+0+0+4+16 = 32, /8 = 4 -> 2
    values = np.array([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0])
    np.testing.assert_array_equal(ind.standard_deviation(values, 8), [NAN] * 7 + [2.0])
    assert ind.standard_deviation(np.full(1300, 0.25), 600)[-1] == 0.0


@QUIET
@given(PRICES, st.integers(1, 12))
def test_standard_deviation_equals_exact_variance(values, period):
    got = ind.standard_deviation(np.array(values), period)
    for i, mean in enumerate(reference_sma(values, period)):
        if mean is None:
            assert np.isnan(got[i])
            continue
        window = exact(values)[i + 1 - period : i + 1]
        deviation = float(sum((v - mean) ** 2 for v in window) / period) ** 0.5
        assert got[i] == pytest.approx(deviation, abs=1e-9 * max(values))


def test_answers_are_read_only_and_inputs_stay_as_they_were():
    close = np.arange(1.0, 60.0)
    before = close.copy()
    lines = [
        ind.sma(close, 3), ind.ema(close, 3), ind.wilder(close, 3), ind.rsi(close, 3),
        ind.true_range(close, close, close), ind.atr(close, close, close, 3), *ind.macd(close),
        ind.standard_deviation(close, 3), *ind.bollinger(close), ind.highest(close, 3),
        ind.lowest(close, 3), ind.previous(close), ind.roc(close, 3),
        ind.above(close, 3.0), ind.crosses_below(close, 3.0),
    ]  # fmt: skip
    for line in lines:
        assert len(line) == len(close)
        with pytest.raises(ValueError, match="read-only"):
            line[0] = 1
    np.testing.assert_array_equal(close, before)


def test_a_read_only_a_strided_and_a_whole_numbered_series_are_as_good_as_any():
    close = np.array([5.0, 2.0, 8.0, 6.0, 7.0, 1.0])
    sealed = close.copy()
    sealed.flags.writeable = False
    wide = np.repeat(close, 2)
    for other in (sealed, wide[::2], close.astype(np.int64), close.tolist()):
        for compute in (ind.sma, ind.ema, ind.rsi, ind.highest):
            np.testing.assert_array_equal(compute(other, 2), compute(close, 2))


@QUIET
@given(PRICES, st.integers(0, 40))
def test_cutting_off_the_future_changes_nothing(values, cut):
    close = np.array(values)
    for compute in (
        lambda c: ind.sma(c, 5),
        lambda c: ind.ema(c, 5),
        lambda c: ind.rsi(c, 5),
        lambda c: ind.atr(c * 1.01, c * 0.98, c, 5),
        lambda c: ind.macd(c, 3, 6, 4).signal,
        lambda c: ind.bollinger(c, 5).upper,
        lambda c: ind.highest(c, 5),
        lambda c: ind.lowest(c, 5),
        lambda c: ind.previous(c, 3),
        lambda c: ind.roc(c, 5),
        lambda c: ind.crosses_above(c, ind.sma(c, 3)),
        lambda c: ind.crosses_below(c, ind.sma(c, 3)),
    ):
        np.testing.assert_array_equal(compute(close)[:cut], compute(close[:cut]))
