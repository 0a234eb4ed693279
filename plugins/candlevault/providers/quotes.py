"""From a source's own numbers to our columns: the one place where they are checked.

Most of these sources keep prices as binary floats. Their JSON text is read as decimals and
rounded half-even to eight places, the places that are stored; so 7194.89208984375 becomes
7194.89208984. Rounding keeps the order of values: a high stays at or above its low.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import NamedTuple, NoReturn

import numpy as np
import pyarrow as pa

from candlevault import candles
from candlevault.errors import BadPayload
from candlevault.timeframe import Timeframe

ZERO = Decimal(0)
_PLACES = Decimal("0.00000001")
_ROUNDING = Context(prec=60, rounding=ROUND_HALF_EVEN)
_NUMBER = re.compile(r"[+-]?[0-9]{1,40}(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)
_LIMIT = Decimal(10) ** 22
"""What a stored amount cannot reach: 30 digits, eight of them after the point."""


class Quote(NamedTuple):
    """One candle of a source: its start in ms UTC, prices, and the volumes it tells of."""

    open_time_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal = ZERO
    quote_volume: Decimal = ZERO
    trades_count: int = 0


def parse_json(body: bytes) -> object:
    """The JSON value of a body, fractions as decimals; BadPayload for anything else.

    NaN and Infinity, which Python would accept, are refused: JSON does not know them.
    """
    try:
        return json.loads(body, parse_float=Decimal, parse_constant=_refuse)
    except (ValueError, RecursionError):
        pass
    # Raised out here because the decoder's error carries the body, which may repeat a key.
    raise BadPayload("not JSON")


def _refuse(word: str) -> NoReturn:
    raise ValueError("not a word of JSON")


def parse_object(body: bytes) -> dict:
    """The JSON object of a body; BadPayload for anything else."""
    parsed = parse_json(body)
    if not isinstance(parsed, dict):
        raise BadPayload("not a JSON object")
    return parsed


def words_of(body: bytes) -> dict:
    """The JSON object of an error body for quoting from it; empty for anything else."""
    try:
        return parse_object(body)
    except BadPayload:
        return {}


def decimal_of(value: object, what: str) -> Decimal:
    """A number or its text as a decimal of eight places, not negative; else BadPayload."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        raise BadPayload(f"{what} is not a number")
    text = str(value)
    if not _NUMBER.fullmatch(text):
        raise BadPayload(f"{what} is not a plain number: {text[:40]!r}")
    number = Decimal(text)
    if number < 0:
        raise BadPayload(f"{what} is negative: {text[:40]}")
    if number >= _LIMIT:
        raise BadPayload(f"{what} is too large to be stored: {text[:40]}")
    return number.quantize(_PLACES, context=_ROUNDING)


def whole_of(value: object, what: str) -> int:
    """A count or an instant in whole units; BadPayload for fractions and negative ones."""
    if isinstance(value, Decimal) and value == value.to_integral_value():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**62:
        raise BadPayload(f"{what} is not a whole number")
    return value


def to_table(quotes: Iterable[Quote], timeframe: Timeframe) -> pa.Table:
    """The candles of `quotes` in ascending order, identical duplicates collapsed.

    `close_time` is the last millisecond of the candle; what the source does not tell of is
    0. Raises BadPayload for a price that cannot be stored.
    """
    rows = list(quotes)
    times = np.array([row.open_time_ms for row in rows], dtype=np.int64)
    columns = {
        "open_time": pa.array(times),
        "trades_count": pa.array([row.trades_count for row in rows], pa.int64()),
        "close_time": pa.array(times + timeframe.step_ms - 1),
        "source": pa.array(np.zeros(len(rows), dtype=np.int32)),
    }
    try:
        for name in candles.PRICES:
            columns[name] = pa.array([getattr(row, name) for row in rows], candles.PRICE)
        for name in candles.AMOUNTS:
            columns[name] = pa.array([getattr(row, name, ZERO) for row in rows], candles.AMOUNT)
    except pa.ArrowInvalid as error:
        raise BadPayload(f"a value cannot be stored: {str(error)[:120]}") from error
    table = pa.table({name: columns[name] for name in candles.SCHEMA.names}, candles.SCHEMA)
    return candles.collapse(table)
