"""The settings a sweep varies, each with its values: read, checked and put in order."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from candlevault.backtest.payload import outline
from candlevault.backtest.schema import conform, nearest
from candlevault.backtest.search import schema
from candlevault.backtest.strategies.contract import Strategy
from candlevault.errors import InvalidRequest

RISK = "risk."
"""What the names of the numbers of the risk rules start with."""

_FIELD = "search.params"
_SCALARS = (bool, int, float, str, type(None))


@dataclass(frozen=True, slots=True)
class Axis:
    """One setting and its distinct values, ascending (null, false, true, numbers, strings).

    `name` is that of a setting of the strategy, or a dotted path.
    """

    name: str
    values: tuple[object, ...]

    @property
    def of_risk(self) -> bool:
        """Whether it is a number of the risk rules."""
        return self.name.startswith(RISK)

    def places(self) -> np.ndarray:
        """Where each value lies, int64: numbers that follow each other are 1 apart; words and
        null are near nothing."""
        places, place = [], 0
        for before, value in zip((None, *self.values), self.values, strict=False):
            place += 1 if _is_number(before) and _is_number(value) else 2
            places.append(place)
        return np.array(places, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Searchable:
    """What can be searched: the strategy, and its fixed settings where these are a free form."""

    strategy: Strategy
    form: Mapping | None = None

    def value(self, value: object, wanted: Mapping | None, field: str) -> object:
        """`value` as its schema wants it. Raises InvalidRequest naming `field`."""
        if not isinstance(value, _SCALARS):
            raise InvalidRequest(field, "must be a number, a string, a boolean or null", value)
        if wanted is not None:
            return conform(value, wanted, field)
        return int(value) if isinstance(value, float) and value.is_integer() else value

    def order(self, name: str) -> tuple:
        """Settings of the strategy come first, as it declares them; then the others by name."""
        declared = [parameter.name for parameter in self.strategy.parameters]
        if name in declared:
            return (0, declared.index(name), name)
        return (2 if name.startswith(RISK) else 1, 0, name)

    def schema(self, name: str, field: str) -> Mapping | None:
        """The schema of the values of the setting `name`; None in a free form, which is judged
        as a whole. Raises InvalidRequest naming `field` when it cannot be searched."""
        if name.startswith(RISK):
            return _number_of_risk(name, field)
        if self.form is not None:
            if not _has(self.form, name):
                raise InvalidRequest(field, "names nothing in backtest.strategy.params", name)
            return None
        known = {parameter.name: parameter.schema for parameter in self.strategy.parameters}
        if name not in known:
            raise _unknown(field, name, [*known, *(f"{RISK}{leaf}" for leaf in _risk_numbers())])
        return known[name]


def read(params: Mapping, settings: Searchable) -> tuple[Axis, ...]:
    """The axes of `params` (lists of values or ranges by name), the slowest first.

    Equal values count once. Raises InvalidRequest naming `search.params.<name>`.
    """
    axes = []
    for name in sorted(params, key=settings.order):
        field = f"{_FIELD}.{name}"
        wanted = settings.schema(name, field)
        given = params[name]
        if isinstance(given, Mapping):
            given = _range(given, field)
        if not isinstance(given, list | tuple) or not given:
            raise InvalidRequest(field, "must be a list of values or a range", given or None)
        values = [settings.value(one, wanted, f"{field}[{i}]") for i, one in enumerate(given)]
        axes.append(Axis(name, distinct(values)))
    return tuple(axes)


def distinct(values: Iterable[object]) -> tuple[object, ...]:
    """The values once each, ascending."""
    # 1, 1.0 and true are equal in Python.
    once = {json.dumps(value): value for value in values}
    return tuple(sorted(once.values(), key=_order))


def put(document: dict, path: str, value: object) -> None:
    """Set what `path` names in a document of objects and lists; keys on the way must exist."""
    *parents, last = path.split(".")
    place = document
    for part in parents:
        place = place[int(part)] if isinstance(place, list) else place[part]
    place[int(last) if isinstance(place, list) else last] = value


def _has(document: object, path: str) -> bool:
    place = document
    for part in path.split("."):
        if isinstance(place, Mapping) and part in place:
            place = place[part]
        elif isinstance(place, list) and part.isdecimal() and int(part) < len(place):
            place = place[int(part)]
        else:
            return False
    return isinstance(place, _SCALARS)


def _range(given: Mapping, field: str) -> list[object]:
    """Every value of a range, computed in decimal so that no rounding adds up."""
    checked = conform(given, schema.range_schema(), field)
    start, end, step = (Decimal(repr(checked[name])) for name in ("from", "to", "step"))
    if end < start:
        raise InvalidRequest(f"{field}.to", f"must not lie below from ({start})", checked["to"])
    count = int((end - start) / step) + 1
    if count > schema.LARGEST_SWEEP:
        raise InvalidRequest(f"{field}.step", f"makes {count} values", checked["step"])
    return [float(start + i * step) for i in range(count)]


def _risk_numbers() -> dict[str, Mapping]:
    """The schemas of all numbers of the risk rules by their path below `risk`."""
    found: dict[str, Mapping] = {}
    waiting = [("", outline()["properties"]["risk"])]
    while waiting:
        path, place = waiting.pop()
        for name, leaf in place["properties"].items():
            if "properties" in leaf:
                waiting.append((f"{path}{name}.", leaf))
            elif {"number", "integer"} & set(_types(leaf)):
                found[f"{path}{name}"] = leaf
    return found


def _number_of_risk(name: str, field: str) -> Mapping:
    known = _risk_numbers()
    leaf = name.removeprefix(RISK)
    if leaf not in known:
        raise _unknown(field, name, [f"{RISK}{one}" for one in known])
    return known[leaf]


def _types(leaf: Mapping) -> list[str]:
    return leaf["type"] if isinstance(leaf["type"], list) else [leaf["type"]]


def _unknown(field: str, name: str, known: Sequence[str]) -> InvalidRequest:
    near = nearest(name, known)
    hint = f"did you mean {near}? " if near else ""
    return InvalidRequest(field, f"can not be searched; {hint}what can: {', '.join(known)}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _order(value: object) -> tuple:
    if value is None:
        return (0,)
    if isinstance(value, bool):
        return (1, value)
    return (3, value) if isinstance(value, str) else (2, value)
