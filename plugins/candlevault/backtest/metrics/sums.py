"""Sums that do not depend on the processor, and lose nothing that a float could show.

A running sum keeps what its roundings lost, and what was lost adding that up: A. Klein, "A
Generalized Kahan-Babuska-Summation-Algorithm" (Computing 76, 2006), second order. Additions
stand in the order of the values. The result is the exact sum, rounded once as `math.fsum` gives
it, unless the values cancel to less than a part in 10^15 of their size.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def add(total, lost, lost_again, value):
    """The three parts of a running sum after `value`; it starts as (0.0, 0.0, 0.0)."""
    raised = total + value
    part = raised - total
    error = (total - (raised - part)) + (value - part)
    kept = lost + error
    part = kept - lost
    return raised, kept, lost_again + ((lost - (kept - part)) + (error - part))


@njit(cache=True, nogil=True)
def settled(parts):
    """The sum that the three parts stand for."""
    return parts[0] + (parts[1] + parts[2])


@njit(cache=True, nogil=True)
def total(values: np.ndarray) -> float:
    """The sum of float64 `values`; 0.0 for none."""
    parts = (0.0, 0.0, 0.0)
    for value in values:
        parts = add(*parts, value)
    return settled(parts)


@njit(cache=True, nogil=True)
def mean_of_rows(values: np.ndarray) -> float:
    """The mean of float64 `values`, of which there is at least one.

    Four plain sums side by side, for long arrays of one sign: fast, in a fixed order, and off
    by less than a part in 10^11 for a million rows.
    """
    count = len(values)
    one, two, three, four = 0.0, 0.0, 0.0, 0.0
    whole = count - count % 4
    for i in range(0, whole, 4):
        one += values[i]
        two += values[i + 1]
        three += values[i + 2]
        four += values[i + 3]
    for i in range(whole, count):
        one += values[i]
    return ((one + two) + (three + four)) / count
