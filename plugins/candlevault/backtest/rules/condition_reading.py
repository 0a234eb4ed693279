"""Conditions and operands from JSON, within a limit of size and depth."""

from __future__ import annotations

from candlevault.backtest.rules.names import Names
from candlevault.backtest.rules.params_schema import CONSTANT, PAST, TREND
from candlevault.backtest.rules.tree import (
    ALL,
    ANY,
    ARITHMETIC,
    BETWEEN,
    COMPARISONS,
    NOT,
    TRENDS,
    All,
    AnyOf,
    Arithmetic,
    Between,
    Comparison,
    Condition,
    Not,
    Number,
    Operand,
    Past,
    Reference,
    Trend,
)
from candlevault.backtest.schema import conform, place, require_kind, suggestion
from candlevault.errors import InvalidRequest

MOST_NODES = 500
"""Conditions and operands together, in all of the rules."""

DEEPEST = 16
"""Conditions and operands inside each other."""

_OPERATORS = (ALL, ANY, NOT, *COMPARISONS, BETWEEN, *TRENDS)


class ConditionReader:
    """Reads the conditions and operands of one set of rules, and counts them.

    Everything raises InvalidRequest naming the place, such as `field.all[1].above[0]`.
    """

    def __init__(self, names: Names) -> None:
        self._names = names
        self._nodes = 0

    def condition(self, given: object, field: str, level: int = 1) -> Condition:
        """The condition that `given` says."""
        self._count(field, level)
        operator, value = _single(given, _OPERATORS, field)
        inside = f"{field}.{operator}"
        if operator in (ALL, ANY):
            conditions = tuple(
                self.condition(one, f"{inside}[{i}]", level + 1)
                for i, one in enumerate(_items(value, None, "conditions", inside))
            )
            return All(conditions) if operator == ALL else AnyOf(conditions)
        if operator == NOT:
            return Not(self.condition(value, inside, level + 1))
        if operator in TRENDS:
            checked = conform(value, TREND, inside)
            of = self.operand(checked["of"], f"{inside}.of", level + 1)
            return Trend(operator, of, checked["bars"])
        if operator == BETWEEN:
            return Between(*self._operands(value, 3, inside, level))
        return Comparison(operator, *self._operands(value, 2, inside, level))

    def operand(self, given: object, field: str, level: int = 1) -> Operand:
        """The operand that `given` says."""
        self._count(field, level)
        kind = require_kind(given, ("number", "string", "object"), field)
        if kind == "number":
            return Number(conform(given, CONSTANT, field))
        if kind == "string":
            return Reference(self._names.require(given, field))
        if "of" in given or "bars_ago" in given:
            checked = conform(given, PAST, field)
            of = self.operand(checked["of"], f"{field}.of", level + 1)
            return Past(of, checked["bars_ago"])
        operator, value = _single(given, (*ARITHMETIC, "of"), field)
        return Arithmetic(operator, *self._operands(value, 2, f"{field}.{operator}", level))

    def _operands(self, given: object, count: int, field: str, level: int) -> tuple[Operand, ...]:
        return tuple(
            self.operand(one, f"{field}[{i}]", level + 1)
            for i, one in enumerate(_items(given, count, "operands", field))
        )

    def _count(self, field: str, level: int) -> None:
        self._nodes += 1
        if self._nodes > MOST_NODES:
            raise InvalidRequest(
                field, f"the rules must not hold more than {MOST_NODES} conditions and operands"
            )
        if level > DEEPEST:
            raise InvalidRequest(field, f"must not be nested deeper than {DEEPEST} levels")


def _single(given: object, known: tuple[str, ...], field: str) -> tuple[str, object]:
    """The one key of an object, and its value."""
    require_kind(given, "object", field)
    for key in given:
        if key not in known:
            raise InvalidRequest(
                place(field, key),
                f"must be one of {', '.join(known)}{suggestion(key, known)}",
            )
    if len(given) != 1:
        found = f", not {len(given)} ({', '.join(given)})" if given else ""
        raise InvalidRequest(field, f"must hold one of {', '.join(known)}{found}")
    ((operator, value),) = given.items()
    return operator, value


def _items(given: object, count: int | None, noun: str, field: str) -> list | tuple:
    require_kind(given, "array", field)
    if count is None and not given:
        raise InvalidRequest(field, f"must hold at least one of the {noun}")
    if count is not None and len(given) != count:
        raise InvalidRequest(field, f"must hold {count} {noun}, not {len(given)}")
    return given
