"""Which of two lines lies above the other, and where they cross.

Values within EQUAL_RATIO of each other count as equal: rounding is neither above nor a cross.
Where one of the two is NaN, nothing holds. Either side may be a number instead of an array.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from candlevault.backtest.indicators.inputs import aligned
from candlevault.backtest.indicators.memory import remembered
from candlevault.errors import InvalidRequest

EQUAL_RATIO = 1e-12
"""Two values that differ by at most this part of the larger one count as equal."""

Line = np.ndarray | float


@remembered
def above(left: Line, right: Line) -> np.ndarray:
    """Bool array: left > right."""
    return _compared(_above, left, right)


@remembered
def below(left: Line, right: Line) -> np.ndarray:
    """Bool array: left < right."""
    return _compared(_above, right, left)


@remembered
def at_least(left: Line, right: Line) -> np.ndarray:
    """Bool array: left >= right."""
    return _compared(_at_least, left, right)


@remembered
def at_most(left: Line, right: Line) -> np.ndarray:
    """Bool array: left <= right."""
    return _compared(_at_least, right, left)


@remembered
def crosses_above(left: Line, right: Line) -> np.ndarray:
    """Bool array: left[i-1] <= right[i-1] and left[i] > right[i], all four defined."""
    return _compared(_crosses, left, right)


@remembered
def crosses_below(left: Line, right: Line) -> np.ndarray:
    """Bool array: left[i-1] >= right[i-1] and left[i] < right[i], all four defined."""
    return _compared(_crosses, right, left)


def _compared(kernel, left: Line, right: Line) -> np.ndarray:
    if np.ndim(left) == 0 and np.ndim(right) == 0:
        raise InvalidRequest("left", "must be an array where right is a number", left)
    if np.ndim(left) == 0:
        left = np.full(len(right), left, dtype=np.float64)
    if np.ndim(right) == 0:
        right = np.full(len(left), right, dtype=np.float64)
    left, right = aligned(left=left, right=right)
    out = np.zeros(len(left), dtype=np.bool_)
    kernel(left, right, out)
    return out


@njit(cache=True, nogil=True)
def _exceeds(left, right):
    one, two = abs(left), abs(right)
    return left - right > EQUAL_RATIO * (one if one > two else two)


@njit(cache=True, nogil=True)
def _above(left, right, out):
    for i in range(len(out)):
        out[i] = _exceeds(left[i], right[i])


@njit(cache=True, nogil=True)
def _at_least(left, right, out):
    for i in range(len(out)):
        defined = not (np.isnan(left[i]) or np.isnan(right[i]))
        out[i] = defined and not _exceeds(right[i], left[i])


@njit(cache=True, nogil=True)
def _crosses(left, right, out):
    ready = False
    for i in range(len(out)):
        exceeds = _exceeds(left[i], right[i])
        out[i] = exceeds and ready
        ready = not (exceeds or np.isnan(left[i]) or np.isnan(right[i]))
