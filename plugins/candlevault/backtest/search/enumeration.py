"""Which combinations a sweep runs, and in which order: all, some drawn by a seed, or a list."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from candlevault.backtest.search.axes import Axis
from candlevault.backtest.search.recipe import BrokenRule
from candlevault.backtest.search.schema import LARGEST_SWEEP
from candlevault.backtest.significance.generator import drawn, started
from candlevault.errors import InvalidRequest

NOT_GIVEN = -1
"""Stands in the rows for a setting that a combination of a list leaves alone."""

_DRAWS_A_SAMPLE = 50
_WORD = 64

Check = Callable[[dict[str, object]], object]
"""Raises BrokenRule for values that break a rule between settings."""


@dataclass(frozen=True, slots=True, eq=False)
class Combinations:
    """`rows` (int32): the position of the value on each axis, a row a combination.

    `left_out` broke a rule, `duplicates` were given twice.
    """

    rows: np.ndarray
    left_out: int = 0
    duplicates: int = 0


class _Rules:
    """Whether combinations keep the rules; each part of one is only checked once."""

    def __init__(self, axes: Sequence[Axis], strategy: Check, risk: Check) -> None:
        self._axes = axes
        self._first_of_risk = sum(not axis.of_risk for axis in axes)
        self._checks = (strategy, risk)
        self._known: tuple[dict, dict] = ({}, {})
        self.first_reason: InvalidRequest | None = None

    def kept(self, row: tuple[int, ...]) -> bool:
        """Whether the combination at these positions keeps all rules."""
        cut = self._first_of_risk
        return self._part(0, row[:cut], self._axes[:cut]) and self._part(
            1, row[cut:], self._axes[cut:]
        )

    def _part(self, which: int, row: tuple[int, ...], axes: Sequence[Axis]) -> bool:
        known = self._known[which]
        if row not in known:
            try:
                self._checks[which](values_at(axes, row))
                known[row] = True
            except BrokenRule as error:
                self.first_reason = self.first_reason or error.reason
                known[row] = False
        return known[row]


def values_at(axes: Sequence[Axis], row: Iterable[int]) -> dict[str, object]:
    """The values by name of the combination at these positions."""
    return {
        axis.name: axis.values[position]
        for axis, position in zip(axes, row, strict=True)
        if position != NOT_GIVEN
    }


def grid(axes: Sequence[Axis], strategy: Check, risk: Check) -> Combinations:
    """Every combination, the last axis fastest."""
    count = math.prod(len(axis.values) for axis in axes)
    if count > LARGEST_SWEEP:
        raise InvalidRequest(
            "search.params",
            f"must make at most {LARGEST_SWEEP} combinations, not {count}; use method random"
            " with samples",
        )
    rules = _Rules(axes, strategy, risk)
    rows = [
        row
        for row in itertools.product(*(range(len(axis.values)) for axis in axes))
        if rules.kept(row)
    ]
    return _some(rows, axes, rules, left_out=count - len(rows))


def random(
    axes: Sequence[Axis], samples: int, seed: int, strategy: Check, risk: Check
) -> Combinations:
    """`samples` different combinations that keep the rules, in the order of drawing.

    Fewer where there are no more, or where too many draws break a rule.
    """
    sizes = [len(axis.values) for axis in axes]
    rules = _Rules(axes, strategy, risk)
    rows: list[tuple[int, ...]] = []
    left_out = 0
    most = samples * _DRAWS_A_SAMPLE
    for number in itertools.islice(shuffled(math.prod(sizes), seed), most):
        row = _positions(number, sizes)
        if rules.kept(row):
            rows.append(row)
        else:
            left_out += 1
        if len(rows) == samples:
            break
    return _some(rows, axes, rules, left_out)


def shuffled(count: int, seed: int) -> Iterator[int]:
    """The numbers from 0 to `count` - 1 in an order that `seed` decides, one after the other.

    The shuffle of R. Durstenfeld (1964), which only keeps what it has moved.
    """
    bits = _bits(seed)
    moved: dict[int, int] = {}
    for i in range(count):
        j = i + _below(count - i, bits)
        yield moved.get(j, j)
        moved[j] = moved.pop(i, i)


def _bits(seed: int) -> Iterator[int]:
    state = started(seed)
    while True:
        yield int(drawn(state))


def _below(limit: int, bits: Iterator[int]) -> int:
    """A whole number from 0 to `limit` - 1, every one as likely."""
    width = (limit - 1).bit_length()
    words = -(-width // _WORD)
    while True:
        number = 0
        for _ in range(words):
            number = number << _WORD | next(bits)
        number >>= words * _WORD - width
        if number < limit:
            return number


def _positions(number: int, sizes: Sequence[int]) -> tuple[int, ...]:
    """The combination of this number, the last axis fastest."""
    row = []
    for size in reversed(sizes):
        number, position = divmod(number, size)
        row.append(position)
    return tuple(reversed(row))


def listed(
    given: Sequence[dict[str, object]], axes: Sequence[Axis], strategy: Check, risk: Check
) -> Combinations:
    """The combinations of a list in its order, equal ones once; a broken rule is refused."""
    # 1, 1.0 and true are equal in Python.
    places = [{json.dumps(value): i for i, value in enumerate(axis.values)} for axis in axes]
    seen: dict[tuple[int, ...], None] = {}
    for number, values in enumerate(given):
        row = tuple(
            place[json.dumps(values[axis.name])] if axis.name in values else NOT_GIVEN
            for axis, place in zip(axes, places, strict=True)
        )
        for check in (strategy, risk):
            try:
                check(values)
            except BrokenRule as error:
                name = error.reason.field.removeprefix("backtest.").removeprefix("strategy.params.")
                raise InvalidRequest(
                    f"search.list[{number}].{name}", error.reason.rule, error.reason.value
                ) from None
        seen[row] = None
    return Combinations(
        np.array(list(seen), dtype=np.int32).reshape(len(seen), len(axes)),
        duplicates=len(given) - len(seen),
    )


def _some(
    rows: Sequence[tuple[int, ...]], axes: Sequence[Axis], rules: _Rules, left_out: int
) -> Combinations:
    if not rows:
        raise InvalidRequest(
            "search.params", f"leaves no combination that keeps the rules: {rules.first_reason}"
        )
    return Combinations(np.array(rows, dtype=np.int32).reshape(len(rows), len(axes)), left_out)
