"""From a source's numbers to columns: rounding, and what is no number at all."""

from __future__ import annotations

import json
import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candlevault import candles
from candlevault.errors import BadPayload
from candlevault.providers.quotes import (
    Quote,
    decimal_of,
    parse_json,
    parse_object,
    to_table,
    whole_of,
    words_of,
)
from candlevault.timeframe import ALL as TIMEFRAMES

HOUR = TIMEFRAMES["1h"]
PLACE = Decimal("0.00000001")


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ("1", "1"),
        (1, "1"),
        (1.5, "1.5"),
        (Decimal("2.50"), "2.5"),
        ("0.000000005", "0"),
        ("0.000000015", "0.00000002"),
        ("0.000000025", "0.00000002"),
        ("7194.89208984375", "7194.89208984"),
        ("1e-7", "0.0000001"),
        ("1.5E3", "1500"),
        ("9999999999999999999999.99999999", "9999999999999999999999.99999999"),
    ],
)
def test_numbers_are_rounded_half_even_to_eight_places(given_, expected):
    number = decimal_of(given_, "a price")
    assert number == Decimal(expected)
    assert number.as_tuple().exponent == -8


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, False, [], {}, "", " 1", "1 ", "1,5", "0x1", "1_0", "NaN", "inf", "-1"),
        *("-0.1", "+-1", ".5", "5.", "1e9999", "1e22", "٣", "1" * 41, b"1"),
        *(math.nan, math.inf, -1, 10**22),
    ],
    ids=repr,
)
def test_what_is_no_number_of_a_candle_is_refused(value):
    with pytest.raises(BadPayload, match="a price"):
        decimal_of(value, "a price")


def test_a_minus_before_nothing_is_nothing():
    assert decimal_of("-0.0", "a volume") == 0


@pytest.mark.parametrize(("given_", "expected"), [(0, 0), (7, 7), (Decimal("1e3"), 1000)])
def test_whole_numbers(given_, expected):
    assert whole_of(given_, "a time") == expected


@pytest.mark.parametrize("value", [None, True, 1.0, "1", Decimal("1.5"), -1, 2**62, Decimal("NaN")])
def test_what_is_no_whole_number_is_refused(value):
    with pytest.raises(BadPayload, match="a time"):
        whole_of(value, "a time")


@given(st.decimals(0, 10**12, allow_nan=False, places=12), st.decimals(0, 10**12, places=12))
def test_rounding_keeps_the_order(left, right):
    low, high = sorted((left, right))
    assert decimal_of(low, "low") <= decimal_of(high, "high")
    assert abs(decimal_of(low, "low") - low) <= PLACE / 2


@given(st.floats(0, 1e12))
def test_a_number_written_as_json_is_read_as_it_is_written(number):
    read = parse_json(json.dumps([number]).encode())[0]
    assert isinstance(read, Decimal)
    assert read == Decimal(json.dumps(number))


@pytest.mark.parametrize("body", [b"", b"{", b"NaN", b'{"a":Infinity}', b"-Infinity", b"[" * 10**5])
def test_what_is_no_json_is_refused_and_not_carried_along(body):
    with pytest.raises(BadPayload) as raised:
        parse_json(body)
    assert raised.value.__cause__ is raised.value.__context__ is None


def test_a_number_of_thousands_of_digits_is_refused():
    with pytest.raises(BadPayload):
        parse_json(b"[" + b"1" * 10_000 + b"]")


@pytest.mark.parametrize("body", [b"[]", b"7", b'"x"', b"null"])
def test_what_is_no_object_is_refused(body):
    with pytest.raises(BadPayload, match="not a JSON object"):
        parse_object(body)
    assert words_of(body) == {}


def test_the_columns_of_a_candle():
    values = (Decimal(2), Decimal(4), Decimal(1), Decimal(3))
    made = to_table([Quote(7_200_000, *values, Decimal(5), Decimal(6), 7)], HOUR)
    assert made.schema == candles.SCHEMA
    assert made.to_pylist() == [
        {
            "open_time": 7_200_000,
            "open": 2,
            "high": 4,
            "low": 1,
            "close": 3,
            "volume": 5,
            "quote_volume": 6,
            "taker_buy_base_volume": 0,
            "taker_buy_quote_volume": 0,
            "trades_count": 7,
            "close_time": 10_799_999,
            "source": 0,
        }
    ]


def test_no_rows_are_no_candles():
    assert to_table([], HOUR).equals(candles.empty())


def test_two_versions_of_a_candle_both_stay_and_equal_ones_are_one():
    one = Quote(0, *[Decimal(1)] * 4)
    other = one._replace(close=Decimal("0.5"))
    assert to_table([one, one, other], HOUR).num_rows == 2


def test_a_price_with_too_many_digits_to_be_stored_is_refused():
    with pytest.raises(BadPayload, match="cannot be stored"):
        to_table([Quote(0, *[decimal_of("1e13", "x")] * 4)], HOUR)
