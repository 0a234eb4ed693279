"""Rules as canonical JSON: every default filled in, keys in a fixed order."""

from __future__ import annotations

from candlevault.backtest.rules.tree import (
    ALL,
    ANY,
    BETWEEN,
    NOT,
    SIDES,
    All,
    AnyOf,
    Arithmetic,
    Between,
    Comparison,
    Condition,
    Indicator,
    Not,
    Number,
    Operand,
    Past,
    Reference,
    Rules,
    Trend,
)


def written(rules: Rules) -> dict:
    """The settings that `read` makes `rules` of; equal rules give equal JSON texts."""
    sides = {side: getattr(rules, side) for side in SIDES}
    return {
        "indicators": {one.name: _indicator(one) for one in rules.indicators},
        "entry": {name: _condition(side.entry) for name, side in sides.items() if side.entry},
        "exit": {name: _condition(side.exit) for name, side in sides.items() if side.exit},
        "orders": {
            name: {order: _operand(operand) for order, operand in side.orders}
            for name, side in sides.items()
            if side.orders
        },
    }


def _indicator(one: Indicator) -> dict:
    inputs = dict(one.inputs)
    of = next(iter(inputs.values())) if len(inputs) == 1 else inputs
    return {"function": one.function, **dict(one.settings), "of": of}


def _condition(condition: Condition) -> dict:
    match condition:
        case Comparison(operator, left, right):
            return {operator: [_operand(left), _operand(right)]}
        case Between(value, lowest, highest):
            return {BETWEEN: [_operand(value), _operand(lowest), _operand(highest)]}
        case Trend(operator, of, bars):
            return {operator: {"of": _operand(of), "bars": bars}}
        case All(conditions):
            return {ALL: [_condition(one) for one in conditions]}
        case AnyOf(conditions):
            return {ANY: [_condition(one) for one in conditions]}
        case Not(inner):
            return {NOT: _condition(inner)}


def _operand(operand: Operand) -> float | str | dict:
    match operand:
        case Number(value):
            return value
        case Reference(name):
            return name
        case Past(of, bars_ago):
            return {"of": _operand(of), "bars_ago": bars_ago}
        case Arithmetic(operator, left, right):
            return {operator: [_operand(left), _operand(right)]}
