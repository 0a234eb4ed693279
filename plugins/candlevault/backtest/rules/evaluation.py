"""What rules say on bars: the indicators, and what is wished.

- Nothing is wished where a condition is false or undefined.
- Where the entries of both sides are true on one bar they contradict each other: neither is
  wished.
- An entry whose price, level, distance or weight is undefined or not above 0 is not wished;
  a weight above 1 counts as 1.
"""

from __future__ import annotations

import numpy as np

from candlevault.backtest.data.frame import Bars
from candlevault.backtest.indicators import previous
from candlevault.backtest.rules import truth
from candlevault.backtest.rules.functions import catalogue
from candlevault.backtest.rules.names import references
from candlevault.backtest.rules.tree import (
    PRICES,
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
    Rules,
    Side,
    Trend,
)
from candlevault.backtest.rules.truth import Truth
from candlevault.backtest.signals import Signals

_ARITHMETIC = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
}


def lines(rules: Rules, bars: Bars) -> dict[str, np.ndarray]:
    """Every indicator as a read-only float64 array, NaN where undefined, by name; an output of
    an indicator of several as `name.output`."""
    columns = _Columns(rules, bars)
    return {
        reference: columns[reference]
        for one in rules.indicators
        for reference in references(one.name, catalogue()[one.function].outputs)
    }


def signals(rules: Rules, bars: Bars) -> Signals:
    """The wishes of `rules`, one value a bar; bar i depends on bars 0..i only."""
    columns = _Columns(rules, bars)
    sides = (rules.long, rules.short)
    entered = [_fires(side.entry, columns) for side in sides]
    if entered[0] is not None and entered[1] is not None:
        contradictory = entered[0] & entered[1]
        entered = [one & ~contradictory for one in entered]
    values: dict[str, np.ndarray] = {}
    for position, side in enumerate(sides):
        carried = _carried(side, columns)
        for value in carried.values():
            entered[position] = entered[position] & (value > 0.0)
        for name, value in carried.items():
            kept = values.setdefault(name, np.full(columns.count, np.nan))
            kept[entered[position]] = value[entered[position]]
    return Signals(
        enter_long=entered[0],
        enter_short=entered[1],
        exit_long=_fires(rules.long.exit, columns),
        exit_short=_fires(rules.short.exit, columns),
        **values,
    )


class _Columns:
    """Prices and indicators by reference, each indicator computed when first asked for."""

    def __init__(self, rules: Rules, bars: Bars) -> None:
        self._indicators = {one.name: one for one in rules.indicators}
        self._lines = {name: getattr(bars, name) for name in PRICES}
        self.count = len(bars.close)

    def __getitem__(self, reference: str) -> np.ndarray:
        if reference not in self._lines:
            one = self._indicators[reference.partition(".")[0]]
            function = catalogue()[one.function]
            found = function.lines([self[source] for _, source in one.inputs], dict(one.settings))
            self._lines |= zip(references(one.name, function.outputs), found, strict=True)
        return self._lines[reference]


def _carried(side: Side, columns: _Columns) -> dict[str, np.ndarray]:
    """What the entries of a side carry, on every bar."""
    carried = {name: _value(operand, columns) for name, operand in side.orders}
    if "weight" in carried:
        carried["weight"] = np.minimum(carried["weight"], 1.0)
    return carried


def _fires(condition: Condition | None, columns: _Columns) -> np.ndarray | None:
    return None if condition is None else _truth(condition, columns).true


def _truth(condition: Condition, columns: _Columns) -> Truth:
    match condition:
        case Comparison(operator, left, right):
            return truth.compared(operator, _value(left, columns), _value(right, columns))
        case Between(value, lowest, highest):
            inner = _value(value, columns)
            return truth.all_of(
                (
                    truth.compared("at_least", inner, _value(lowest, columns)),
                    truth.compared("at_most", inner, _value(highest, columns)),
                )
            )
        case Trend(operator, of, bars):
            return truth.moved(operator, _value(of, columns), bars)
        case All(conditions):
            return truth.all_of(_truth(one, columns) for one in conditions)
        case AnyOf(conditions):
            return truth.any_of(_truth(one, columns) for one in conditions)
        case Not(inner):
            return truth.opposite(_truth(inner, columns))


def _value(operand: Operand, columns: _Columns) -> np.ndarray:
    """The operand on every bar, NaN where undefined."""
    match operand:
        case Number(value):
            return np.full(columns.count, value)
        case Reference(name):
            return columns[name]
        case Past(of, bars_ago):
            value = _value(of, columns)
            return previous(value, bars_ago) if bars_ago else value
        case Arithmetic(operator, left, right):
            with np.errstate(all="ignore"):
                value = _ARITHMETIC[operator](_value(left, columns), _value(right, columns))
            value[~np.isfinite(value)] = np.nan
            return value
