"""Which of two lines lies above the other, and where they cross.

Values within EQUAL_RATIO of each other count as equal: rounding is neither above nor a cross.
Where one of the two is NaN, nothing holds. Either side may be a number instead of an array.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import njit

from candlevault.backtest.indicators.inputs import aligned
from candlevault.errors import InvalidRequest

EQUAL_RATIO = 1e-12
"""Two values that differ by at most this part of the larger one count as equal."""

Line = np.ndarray | float


def above(left: Line, right: Line) -> np.ndarray:
    """Bool array: left > right."""
    return _compared(_above, left, right)


def below(left: Line, right: Line) -> np.ndarray:
    """Bool array: left < right."""
    return _compared(_above, right, left)


def at_least(left: Line, right: Line) -> np.ndarray:
    """Bool array: left >= right."""
    return _compared(_at_least, left, right)


def at_most(left: Line, right: Line) -> np.ndarray:
    """Bool array: left <= right."""
    return _compared(_at_least, right, left)


def crosses_above(left: Line, right: Line) -> np.ndarray:
    """Bool array: left[i-1] <= right[i-1] and left[i] > right[i], all four defined."""
    return _compared(_crosses, left, right)


def crosses_below(left: Line, right: Line) -> np.ndarray:
    """Bool array: left[i-1] >= right[i-1] and left[i] < right[i], all four defined."""
    return _compared(_crosses, right, left)


def crosses(left: Line, right: Line) -> tuple[np.ndarray, np.ndarray]:
    """`crosses_above` and `crosses_below` in one pass."""
    left, right = _lines(left, right)
    return _sealed(*_both_crosses(left, right))


def _compared(kernel: Callable, left: Line, right: Line) -> np.ndarray:
    return _sealed(kernel(*_lines(left, right)))[0]


def _lines(left: Line, right: Line) -> list[np.ndarray]:
    if np.ndim(left) == 0 and np.ndim(right) == 0:
        raise InvalidRequest("left", "must be an array where right is a number", left)
    if np.ndim(left) == 0:
        left = np.full(len(right), left, dtype=np.float64)
    if np.ndim(right) == 0:
        right = np.full(len(left), right, dtype=np.float64)
    return aligned(left=left, right=right)


def _sealed(*answers: np.ndarray) -> tuple[np.ndarray, ...]:
    for answer in answers:
        answer.flags.writeable = False
    return answers


@njit(cache=True, nogil=True)
def _exceeds(left, right):
    one, two = abs(left), abs(right)
    return left - right > EQUAL_RATIO * (one if one > two else two)


@njit(cache=True, nogil=True)
def _defined(left, right):
    return (left == left) & (right == right)


@njit(cache=True, nogil=True)
def _above(left, right):
    out = np.empty(len(left), dtype=np.bool_)
    for i in range(len(out)):
        out[i] = _exceeds(left[i], right[i])
    return out


@njit(cache=True, nogil=True)
def _at_least(left, right):
    out = np.empty(len(left), dtype=np.bool_)
    for i in range(len(out)):
        out[i] = _defined(left[i], right[i]) & (not _exceeds(right[i], left[i]))
    return out


@njit(cache=True, nogil=True)
def _crosses(left, right):
    return _both_crosses(left, right)[0]


@njit(cache=True, nogil=True)
def _both_crosses(left, right):
    above, below = np.zeros((2, len(left)), dtype=np.bool_)
    # Every row on its own and without branches: four and more are worked on at a time.
    for i in range(1, len(left)):
        one, two, left_now, right_now = left[i - 1], right[i - 1], left[i], right[i]
        known = _defined(one, two)
        above[i] = known & (not _exceeds(one, two)) & _exceeds(left_now, right_now)
        below[i] = known & (not _exceeds(two, one)) & _exceeds(right_now, left_now)
    return above, below
