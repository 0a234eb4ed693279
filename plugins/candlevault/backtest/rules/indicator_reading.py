"""Indicators from JSON: functions, settings and inputs checked, circles refused."""

from __future__ import annotations

import re
from collections.abc import Mapping

from candlevault.backtest.rules.functions import EXCLUDED, Function, catalogue
from candlevault.backtest.rules.names import Names
from candlevault.backtest.rules.params_schema import (
    MOST_INDICATORS,
    NAME_PATTERN,
    NAME_RULE,
    indicator_schema,
)
from candlevault.backtest.rules.tree import PRICES, Indicator
from candlevault.backtest.schema import conform, place, require_kind, suggestion
from candlevault.errors import InvalidRequest


def read_indicators(given: Mapping, field: str) -> tuple[tuple[Indicator, ...], Names]:
    """The indicators by name, ascending, and the names that conditions can use.

    Raises InvalidRequest naming the place, `field.<name>.<setting>`.
    """
    if len(given) > MOST_INDICATORS:
        raise InvalidRequest(field, f"must hold at most {MOST_INDICATORS} indicators", len(given))
    functions = {}
    for name, settings in given.items():
        _require_name(name, field)
        functions[name] = _function(settings, f"{field}.{name}")
    names = Names({name: function.outputs for name, function in functions.items()})
    indicators = {
        name: _indicator(name, given[name], function, names, f"{field}.{name}")
        for name, function in functions.items()
    }
    _refuse_circle(indicators, field)
    return tuple(indicators[name] for name in sorted(indicators)), names


def _require_name(name: object, field: str) -> None:
    if not isinstance(name, str) or not re.fullmatch(NAME_PATTERN, name):
        raise InvalidRequest(place(field, name), f"is not a name: {NAME_RULE}")
    if name in PRICES:
        raise InvalidRequest(place(field, name), "is the name of a price column; choose another")


def _function(given: object, field: str) -> Function:
    require_kind(given, "object", field)
    field = f"{field}.function"
    if "function" not in given:
        raise InvalidRequest(field, "is required")
    name = given["function"]
    require_kind(name, "string", field)
    if name in EXCLUDED:
        raise InvalidRequest(field, f"is not offered: {EXCLUDED[name]}", name)
    if name not in catalogue():
        rule = f"must be the name of a function of TA-Lib{suggestion(name, catalogue())}"
        raise InvalidRequest(field, rule, name)
    return catalogue()[name]


def _indicator(name: str, given: Mapping, function: Function, names: Names, field: str):
    checked = conform(given, indicator_schema(function), field)
    settings = {setting.name: checked[setting.name] for setting in function.settings}
    function.require_accepted(settings, field)
    of = checked["of"]
    if isinstance(of, str):
        ((role, _),) = function.inputs
        inputs = ((role, names.require(of, f"{field}.of")),)
    else:
        inputs = tuple(
            (role, names.require(of[role], f"{field}.of.{role}")) for role, _ in function.inputs
        )
    return Indicator(name, function.name, tuple(settings.items()), inputs)


def _refuse_circle(indicators: Mapping[str, Indicator], field: str) -> None:
    finished: set[str] = set()

    def follow(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            circle = " -> ".join((*path[path.index(name) :], name))
            raise InvalidRequest(f"{field}.{name}.of", f"goes in a circle: {circle}")
        if name in finished:
            return
        for _, reference in indicators[name].inputs:
            source = reference.partition(".")[0]
            if source in indicators:
                follow(source, (*path, name))
        finished.add(name)

    for name in indicators:
        follow(name, ())
