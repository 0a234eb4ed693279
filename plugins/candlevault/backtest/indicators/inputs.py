"""What indicators accept: series of numbers and periods."""

from __future__ import annotations

import numpy as np
from numba import njit

from candlevault.errors import InvalidRequest


def series(values: object, name: str = "values") -> np.ndarray:
    """`values` as a contiguous, read-only float64 array; not copied where it is one already.

    Raises InvalidRequest naming `name` unless it has one dimension.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise InvalidRequest(name, "must have one dimension", array.shape)
    # Compiled code takes read-only arrays for a type of their own: one type, one compilation.
    array = np.ascontiguousarray(array).view()
    array.flags.writeable = False
    return array


def aligned(**columns: object) -> list[np.ndarray]:
    """Every column as `series` gives it; InvalidRequest for one that is not as long as the first.

    A compiled loop would read beyond the end of a shorter one.
    """
    arrays = [series(values, name) for name, values in columns.items()]
    for name, array in zip(columns, arrays, strict=True):
        if len(array) != len(arrays[0]):
            rule = f"must be as long as {next(iter(columns))} ({len(arrays[0])})"
            raise InvalidRequest(name, rule, len(array))
    return arrays


def require_period(period: object, name: str = "period") -> None:
    """Raises InvalidRequest naming `name` unless `period` is a whole number of at least 1."""
    if isinstance(period, bool) or not isinstance(period, int | np.integer) or period < 1:
        raise InvalidRequest(name, "must be a whole number of at least 1", period)


@njit(cache=True, nogil=True)
def first_defined(values):
    """The first row that is not NaN; the number of rows where there is none."""
    for i in range(len(values)):
        if not np.isnan(values[i]):
            return i
    return len(values)
