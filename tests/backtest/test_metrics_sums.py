"""Compensated sums and the one power: as exact as fsum and decimal arithmetic."""

from __future__ import annotations

import decimal
import math
import random
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from candlevault.backtest.metrics import annual_return_pct, sums

DAY = 86_400_000
YEAR = 365 * DAY


def test_what_rounding_would_lose_is_kept():
    assert sums.total(np.array([1e16, 1.0, -1e16])) == 1.0
    assert sums.total(np.array([1.0, 1e100, 1.0, -1e100])) == 2.0
    assert sums.total(np.full(10, 0.1)) == 1.0
    assert sums.total(np.array([])) == 0.0


@settings(database=None, deadline=None, derandomize=True, max_examples=300)
@given(st.lists(st.floats(-1e12, 1e12), max_size=60))
def test_a_sum_is_as_good_as_the_exact_one(values):
    exact = sum(map(Fraction, values), Fraction(0))
    size = sum(map(abs, values))
    got = sums.total(np.array(values))
    # half a unit in the last place, and what cancels to less than a part in 10^15
    assert abs(Fraction(got) - exact) <= math.ulp(got) * 0.5000001 + 2.0**-100 * size


def test_sums_of_prices_and_returns_equal_fsum():
    draw = random.Random(3)
    for _ in range(200):
        values = [draw.gauss(0.0, 0.02) for _ in range(500)]
        assert sums.total(np.array(values)) == math.fsum(values)
        values = [draw.gauss(0.0, 1.0) * 10 ** draw.uniform(-3, 5) for _ in range(500)]
        assert sums.total(np.array(values)) == math.fsum(values)


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 7, 8, 1001])
def test_the_mean_of_rows_takes_every_row_once(rows):
    values = np.array([2.0**i if i < 50 else 1.0 for i in range(rows)])
    assert sums.mean_of_rows(values) == pytest.approx(math.fsum(values) / rows, rel=1e-14)


def by_decimal(initial, final, elapsed_ms):
    with decimal.localcontext(decimal.Context(prec=40)):
        growth = decimal.Decimal(final) / decimal.Decimal(initial)
        return float((growth ** (decimal.Decimal(YEAR) / decimal.Decimal(elapsed_ms)) - 1) * 100)


@settings(database=None, deadline=None, derandomize=True, max_examples=300)
@given(st.floats(1e-3, 1e9), st.floats(1e-3, 1e9), st.integers(60, 60_000))
def test_annual_growth_is_the_decimal_power_rounded_once(initial, final, hours):
    elapsed = hours * 3_600_000
    assume((math.log(final) - math.log(initial)) * YEAR / elapsed < 705)
    assert annual_return_pct(initial, final, elapsed) == by_decimal(initial, final, elapsed)


@settings(database=None, deadline=None, derandomize=True, max_examples=100)
@given(st.floats(-1e-9, 1e-9), st.integers(1, 3650))
def test_annual_growth_keeps_its_digits_close_to_nothing(change, days):
    final = 1e4 * (1.0 + change)
    assert annual_return_pct(1e4, final, days * DAY) == by_decimal(1e4, final, days * DAY)


def test_annual_growth_at_its_limits():
    assert annual_return_pct(1e4, 1e4, YEAR) == 0.0
    assert annual_return_pct(1e4, 1e-300, DAY) == -100.0
    assert annual_return_pct(1e4, -5.0, YEAR) == -100.0
    assert annual_return_pct(100.0, 110.0, DAY) == by_decimal(100.0, 110.0, DAY)
    # 7e307 percent is still a figure; what lies beyond the largest float is none
    assert annual_return_pct(1.0, 6.9, DAY) == by_decimal(1.0, 6.9, DAY) > 1e307
    assert annual_return_pct(1.0, 7.1, DAY) is None
