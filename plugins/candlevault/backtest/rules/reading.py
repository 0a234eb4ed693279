"""Rules from JSON: every name, number and limit checked, nothing executed."""

from __future__ import annotations

from collections.abc import Mapping

from candlevault.backtest.rules.condition_reading import ConditionReader
from candlevault.backtest.rules.indicator_reading import read_indicators
from candlevault.backtest.rules.params_schema import CARRIED
from candlevault.backtest.rules.tree import SIDES, Operand, Rules, Side
from candlevault.backtest.schema import conform
from candlevault.errors import InvalidRequest


def read(params: Mapping, field: str) -> Rules:
    """The rules that `params`, as `conform` gives them, say.

    Raises InvalidRequest naming the place below `field`, the rule and the nearest known name.
    """
    indicators, names = read_indicators(params["indicators"], f"{field}.indicators")
    reader = ConditionReader(names)
    if not params["entry"]:
        raise InvalidRequest(f"{field}.entry", "must name long, short or both")
    sides = {}
    for side in SIDES:
        for part in ("exit", "orders"):
            if side in params[part] and side not in params["entry"]:
                raise InvalidRequest(
                    f"{field}.{part}.{side}", f"is never used: nothing enters {side}"
                )
        conditions = {
            part: reader.condition(params[part][side], f"{field}.{part}.{side}")
            for part in ("entry", "exit")
            if side in params[part]
        }
        orders = ()
        if side in params["orders"]:
            orders = _orders(params["orders"][side], reader, f"{field}.orders.{side}")
        sides[side] = Side(**conditions, orders=orders)
    return Rules(indicators, **sides)


def _orders(given: object, reader: ConditionReader, field: str) -> tuple[tuple[str, Operand], ...]:
    checked = conform(given, CARRIED, field)
    if not checked:
        raise InvalidRequest(field, f"must hold at least one of {', '.join(CARRIED['properties'])}")
    return tuple(
        (name, reader.operand(operand, f"{field}.{name}")) for name, operand in checked.items()
    )
