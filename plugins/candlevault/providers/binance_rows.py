"""Binance rows to columns: the twelve fields of a kline, from JSON pages and archive CSVs.

Both are turned into the same strict CSV and parsed by Arrow straight into decimals and
integers. Whatever is not exactly twelve plain numbers a row is refused as a whole.
Source of the layout: Binance spot API documentation and the public-data repository.
"""

from __future__ import annotations

import io
import re

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from candlevault import candles
from candlevault.errors import BadPayload

_FIELDS = (
    "open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume",
    "trades_count", "taker_buy_base_volume", "taker_buy_quote_volume", "unused",
)  # fmt: skip
_TYPES = {name: pa.int64() for name in ("open_time", "close_time", "trades_count")}
_TYPES |= {name: candles.PRICE for name in candles.PRICES}
_TYPES |= {name: candles.AMOUNT for name in candles.AMOUNTS}
_TYPES["unused"] = pa.string()

_HEADER = (
    b"open_time,open,high,low,close,volume,close_time,quote_volume,count,"
    b"taker_buy_volume,taker_buy_quote_volume,ignore"
)
_CSV_BYTES = b"0123456789.,-\n"
_SPACE = rb"[ \t\r\n]*+"
_NUMBER = rb"-?[0-9]++(?:\.[0-9]++)?+"
_FIELD = rb"(?:%b|\"%b\")" % (_NUMBER, _NUMBER)
_ROW = rb"\[S(?:F(?:S,SF){11}+)S\]".replace(b"S", _SPACE).replace(b"F", _FIELD)
_PAGE = re.compile(rb"S\[S(?:R(?:S,SR)*+S)?+\]S".replace(b"S", _SPACE).replace(b"R", _ROW))
"""A JSON array of rows of twelve numbers, each bare or in quotes of its own."""
# Spot archives count microseconds from 2025-01-01 on; 10^14 ms would be the year 5138.
_MICROSECONDS_FROM = 10**14


def from_json(body: bytes) -> pa.Table:
    """The candles of a klines answer: a JSON array of arrays of twelve; may be empty.

    Raises BadPayload for an object, HTML, nested or ragged arrays, exponents, NaN, more
    than eight decimals and everything else that is not a page of plain numbers.
    """
    if not _PAGE.fullmatch(body):
        raise BadPayload("not a JSON array of rows of twelve numbers: " + repr(body[:60]))
    text = body.translate(None, b" \t\r\n")
    if text == b"[]":
        return candles.empty()
    rows = text[2:-2].replace(b"],[", b"\n").replace(b'"', b"")
    return _parse(rows + b"\n")


def from_csv(body: bytes) -> pa.Table:
    """The candles of an archive CSV: with or without header, milliseconds or microseconds.

    Both are told by content. Raises BadPayload for mixed units or anything irregular.
    """
    if not body:
        raise BadPayload("empty CSV")
    text = body
    if not text[:1].isdigit():
        header, _, text = text.partition(b"\n")
        if header != _HEADER:
            raise BadPayload("unknown CSV header: " + repr(header[:60]))
    if not text:
        return candles.empty()
    return _parse(text if text.endswith(b"\n") else text + b"\n")


def _parse(text: bytes) -> pa.Table:
    strange = text.translate(None, _CSV_BYTES)
    if strange:
        raise BadPayload("not plain numbers: " + repr(strange[:20]))
    try:
        table = pacsv.read_csv(
            io.BytesIO(text),
            read_options=pacsv.ReadOptions(
                column_names=_FIELDS, use_threads=False, block_size=max(len(text), 1)
            ),
            parse_options=pacsv.ParseOptions(quote_char=False, ignore_empty_lines=False),
            convert_options=pacsv.ConvertOptions(
                column_types=_TYPES, null_values=[], strings_can_be_null=False
            ),
        )
        # Arrow itself stores more digits than a decimal type has.
        table.validate(full=True)
    except pa.ArrowInvalid as error:
        raise BadPayload(f"row of the wrong form: {str(error)[:160]}") from error
    open_ms, close_ms = _to_ms(table["open_time"], table["close_time"])
    columns = {name: table[name] for name in (*candles.PRICES, *candles.AMOUNTS, "trades_count")}
    columns["open_time"], columns["close_time"] = open_ms, close_ms
    columns["source"] = pa.array(np.zeros(table.num_rows, dtype=np.int32))
    return pa.table({name: columns[name] for name in candles.SCHEMA.names}, candles.SCHEMA)


def _to_ms(opens: pa.ChunkedArray, closes: pa.ChunkedArray) -> tuple[pa.Array, pa.Array]:
    open_times, close_times = opens.to_numpy(), closes.to_numpy()
    micro = np.concatenate([open_times, close_times]) >= _MICROSECONDS_FROM
    if not micro.any():
        return pa.array(open_times), pa.array(close_times)
    if not micro.all():
        raise BadPayload("milliseconds and microseconds mixed in one file")
    if (open_times % 1000).any():
        raise BadPayload("an open time is not a whole millisecond")
    return pa.array(open_times // 1000), pa.array(close_times // 1000)
