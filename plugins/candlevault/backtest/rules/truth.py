"""Conditions in three values: true, false, and undefined where a value is not known.

A comparison with an undefined value is undefined: neither true nor false. `all` is false as
soon as one of its parts is false and true when every one is true; `any` is true as soon as one
is true and false when every one is false; `not` swaps true and false. Whatever is left is
undefined, and `not` leaves that as it is. Only what is true fires. (The strong logic of three
values of S. C. Kleene, "Introduction to Metamathematics", 1952, section 64.)
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from typing import NamedTuple

import numpy as np

from candlevault.backtest import indicators


class Truth(NamedTuple):
    """Bool arrays: where a condition is true, and where it is false; undefined elsewhere."""

    true: np.ndarray
    false: np.ndarray


def compared(operator: str, left: np.ndarray, right: np.ndarray) -> Truth:
    """The comparison of two float64 arrays, NaN undefined.

    `operator` is one of tree.COMPARISONS. Values within EQUAL_RATIO of each other are equal. A
    cross also needs the two values of the row before.
    """
    if operator == "above":
        return Truth(indicators.above(left, right), indicators.at_most(left, right))
    if operator == "at_least":
        return Truth(indicators.at_least(left, right), indicators.below(left, right))
    if operator == "equal":
        return all_of((compared("at_least", left, right), compared("at_most", left, right)))
    if operator == "crosses_above":
        crosses = indicators.crosses_above(left, right)
        defined = _held(~(np.isnan(left) | np.isnan(right)), 2)
        return Truth(crosses, defined & ~crosses)
    return compared(_MIRRORED[operator], right, left)


_MIRRORED = {"below": "above", "at_most": "at_least", "crosses_below": "crosses_above"}


def moved(operator: str, values: np.ndarray, bars: int) -> Truth:
    """Whether each of the last `bars` values lies beyond the one before it.

    `operator` is one of tree.TRENDS; undefined until all bars + 1 values are defined.
    """
    before = indicators.previous(values)
    beyond = indicators.above if operator == "rising" else indicators.below
    true = _held(beyond(values, before), bars)
    return Truth(true, _held(~np.isnan(values), bars + 1) & ~true)


def all_of(parts: Iterable[Truth]) -> Truth:
    """True where every part is, false where any part is."""
    true, false = zip(*parts, strict=True)
    return Truth(reduce(np.logical_and, true), reduce(np.logical_or, false))


def any_of(parts: Iterable[Truth]) -> Truth:
    """True where any part is, false where every part is."""
    return opposite(all_of(opposite(part) for part in parts))


def opposite(part: Truth) -> Truth:
    """True where the part is false, false where it is true."""
    return Truth(part.false, part.true)


def _held(flags: np.ndarray, rows: int) -> np.ndarray:
    """Where each of the last `rows` flags is set; not in the first rows - 1 rows."""
    row = np.arange(len(flags))
    last_unset = np.maximum.accumulate(np.where(flags, -1, row))
    return row - last_unset >= rows
