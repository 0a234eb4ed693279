"""Decimal columns become text and floats without an error in the last digit."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pyarrow as pa
from hypothesis import example, given
from hypothesis import strategies as st

from candlevault.candles import AMOUNT, PRICE
from candlevault.export import decimals

units = st.lists(st.integers(0, 10**30 - 1), max_size=20)


def exact(unit: int) -> Decimal:
    """`unit` hundred-millionths, without arithmetic that would round."""
    return Decimal(f"{unit // 10**8}.{unit % 10**8:08d}")


def column(drawn: list[int]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array([exact(unit) for unit in drawn], AMOUNT)])


@given(units)
@example([0, 1, 10**8, 10**30 - 1])
def test_text_and_floats_are_those_of_the_decimal(drawn):
    values = [exact(unit) for unit in drawn]
    assert decimals.plain_text(column(drawn)).to_pylist() == [f"{value:f}" for value in values]
    short = decimals.short_text(column(drawn)).to_pylist()
    assert [Decimal(text) for text in short] == values
    assert not any("." in text and text[-1] in "0." for text in short)
    assert decimals.floats(column(drawn)).tolist() == [float(value) for value in values]


def test_arrows_own_casts_would_not_do():
    """Why this module exists: the day this fails, it can go."""
    chance = np.random.default_rng(1)
    drawn = [int(unit) for unit in chance.integers(1, 10**18, 5_000)]
    theirs = column(drawn).cast(pa.float64()).to_pylist()
    assert theirs != [float(exact(unit)) for unit in drawn]
    assert column([1]).cast(pa.string()).to_pylist() == ["1E-8"]


@given(units.map(lambda drawn: [unit % 10**20 for unit in drawn]))
def test_places_are_the_fewest_that_hold_every_value(drawn):
    values = [exact(unit).normalize() for unit in drawn]
    needed = max((max(0, -value.as_tuple().exponent) for value in values), default=0)
    prices = pa.chunked_array([pa.array([exact(unit) for unit in drawn], PRICE)])
    assert decimals.places(prices) == needed
    assert decimals.places(column([10**8]), prices) == needed


@given(units.map(lambda drawn: [unit % (34 * 10**20) for unit in drawn]))
def test_fixed_point_is_the_integer_in_little_endian_bytes(drawn):
    made = decimals.fixed_point(column(drawn), 16)
    assert made.type == pa.binary(16)
    assert [int.from_bytes(raw, "little", signed=True) for raw in made.to_pylist()] == [
        unit * 10**8 for unit in drawn
    ]


def test_a_slice_is_read_from_its_own_beginning():
    part = column([10**8, 2 * 10**8, 3 * 10**8]).combine_chunks().slice(1, 1)
    assert decimals.short_text(part).to_pylist() == ["2"]
    assert int.from_bytes(decimals.fixed_point(part, 16)[0].as_py(), "little") == 2 * 10**16
