"""Candles in memory: one Arrow table, decimals exact, no Python object per value.

Columns, in order: `open_time` int64 ms UTC; `open high low close` decimal128(20, 8);
`volume quote_volume taker_buy_base_volume taker_buy_quote_volume` decimal128(30, 8);
`trades_count` int64; `close_time` int64 ms (inclusive, as venues give it); `source` int32,
the position of the fetch in the batch's list of fetches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from candlevault import decimals

PRICE = pa.decimal128(20, 8)
AMOUNT = pa.decimal128(30, 8)

PRICES = ("open", "high", "low", "close")
AMOUNTS = ("volume", "quote_volume", "taker_buy_base_volume", "taker_buy_quote_volume")
VALUES = (*PRICES, *AMOUNTS, "trades_count", "close_time")
"""What makes two candles of the same open_time the same candle."""

SCHEMA = pa.schema(
    [("open_time", pa.int64())]
    + [(name, PRICE) for name in PRICES]
    + [(name, AMOUNT) for name in AMOUNTS]
    + [("trades_count", pa.int64()), ("close_time", pa.int64()), ("source", pa.int32())]
)


def empty() -> pa.Table:
    """No candles."""
    return SCHEMA.empty_table()


def concat(tables: Sequence[pa.Table]) -> pa.Table:
    """All rows of all tables in the order given, in one chunk."""
    return pa.concat_tables(tables).combine_chunks() if tables else empty()


def open_times(table: pa.Table) -> np.ndarray:
    """The open times, int64 ms, in the table's order."""
    return table["open_time"].to_numpy()


def take(table: pa.Table, rows: np.ndarray) -> pa.Table:
    """The rows at these positions, or where this boolean mask is true."""
    if rows.dtype == np.bool_:
        rows = np.flatnonzero(rows)
    return table.take(pa.array(rows))


def within(table: pa.Table, start_ms: int, end_ms: int) -> pa.Table:
    """The candles that open in `[start_ms, end_ms)`."""
    times = open_times(table)
    return take(table, (times >= start_ms) & (times < end_ms))


def with_source(table: pa.Table, source: int) -> pa.Table:
    """The same candles, said to come from the fetch at position `source`."""
    column = pa.array(np.full(table.num_rows, source, dtype=np.int32))
    return table.set_column(table.schema.get_field_index("source"), "source", column)


def same_values(left: pa.Table, right: pa.Table) -> np.ndarray:
    """Row by row: whether all values (not the source) are equal. Both tables equally long."""
    equal = np.ones(left.num_rows, dtype=bool)
    for name in VALUES:
        equal &= np.asarray(pc.equal(left[name], right[name])).astype(bool)
    return equal


def canonical_text(table: pa.Table) -> bytes:
    """The candles as text with one form per value: what fingerprints are made of.

    A line per candle, `open_time` and VALUES joined by commas, decimals with eight places
    and no exponent. The source is left out: it says where a candle came from, not what it is.
    """
    return b"".join(canonical_blocks(table))


def canonical_blocks(table: pa.Table) -> Iterator[bytes]:
    """The canonical text in blocks of bounded size."""
    for start in range(0, table.num_rows, _BLOCK):
        yield _canonical(table.slice(start, _BLOCK))


_BLOCK = 65_536


def _canonical(table: pa.Table) -> bytes:
    columns = [decimals.one_chunk(table["open_time"].cast(pa.string()))]
    for name in VALUES:
        decimal = pa.types.is_decimal(table[name].type)
        column = decimals.plain_text(table[name]) if decimal else table[name].cast(pa.string())
        columns.append(decimals.one_chunk(column))
    lines = pc.binary_join_element_wise(*columns, ",")
    return ("\n".join(lines.to_pylist()) + "\n").encode("ascii")


def collapse(table: pa.Table) -> pa.Table:
    """Ascending by open_time, identical duplicates collapsed into one.

    Candles of the same open_time with different values all stay: which of them is right
    is not decided here.
    """
    times = open_times(table)
    if len(times) < 2 or bool(np.all(np.diff(times) > 0)):
        return table
    table = take(table, np.argsort(times, kind="stable"))
    times = open_times(table)
    repeated = np.isin(times, times[1:][np.diff(times) == 0])
    rows = np.flatnonzero(repeated)
    keep = np.ones(len(times), dtype=bool)
    keep[rows] = False
    columns = [table[name].take(pa.array(rows)).to_pylist() for name in VALUES]
    seen: set[tuple] = set()
    for row, values in zip(rows, zip(*columns, strict=True), strict=True):
        version = (times[row], *values)
        keep[row] = version not in seen
        seen.add(version)
    return take(table, keep)
