"""Decimal columns as text and as floats, without an error in the last digit.

Columns are decimal128 with 8 places, never negative, without nulls. Arrow's own casts are
not used: to text they write small numbers with an exponent, to floats they miss the nearest
one now and then.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

PLACES = 8


def plain_text(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """Every value with eight decimals: `42283.58000000`."""
    column = one_chunk(column)
    unscaled = pa.Array.from_buffers(
        pa.decimal128(38, 0), len(column), column.buffers(), offset=column.offset
    )
    digits = pc.utf8_lpad(unscaled.cast(pa.string()), PLACES + 1, "0")
    whole = pc.utf8_slice_codeunits(digits, 0, -PLACES)
    return pc.binary_join_element_wise(whole, pc.utf8_slice_codeunits(digits, -PLACES), ".")


def floats(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """Every value as the nearest float64."""
    return plain_text(column).cast(pa.float64()).to_numpy(zero_copy_only=False)


def one_chunk(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """The column as one array."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
