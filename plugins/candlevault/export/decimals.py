"""Decimal columns as other tools want them: short text, places, fixed-point bytes."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from candlevault.decimals import floats, one_chunk, plain_text

__all__ = ["fixed_point", "floats", "places", "plain_text", "short_text"]


def short_text(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """Every value without needless zeros: `42283.58`, `8870`."""
    return pc.utf8_rtrim(pc.utf8_rtrim(plain_text(column), "0"), ".")


def places(*columns: pa.ChunkedArray | pa.Array) -> int:
    """The fewest decimals, 0 to 8, that hold every value of all columns exactly."""
    needed = 0
    for column in columns:
        text = short_text(column)
        point = pc.find_substring(text, ".")
        decimals = pc.if_else(
            pc.equal(point, -1), 0, pc.subtract(pc.subtract(pc.utf8_length(text), point), 1)
        )
        needed = max(needed, pc.max(decimals).as_py() or 0)
    return needed


def fixed_point(column: pa.ChunkedArray | pa.Array, scale: int) -> pa.Array:
    """Every value times 10^scale as 16 bytes, a little-endian signed integer each.

    `scale` is 8 to 16; a value of 10^(38 − scale) or more raises pyarrow.ArrowInvalid.
    """
    scaled = one_chunk(column).cast(pa.decimal128(38, scale))
    return pa.Array.from_buffers(
        pa.binary(16), len(scaled), [None, scaled.buffers()[1]], offset=scaled.offset
    )
