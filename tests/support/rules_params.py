"""Settings of the strategy of rules for tests: written short, taken, refused."""

from __future__ import annotations

import jsonschema
import pytest

from candlevault.backtest.rules.params_schema import params_schema
from candlevault.backtest.strategies import registry
from candlevault.errors import InvalidRequest

SCHEMA = jsonschema.Draft202012Validator(params_schema())
RULES = registry.get("rules")
HOLDS = {"above": ["close", "open"]}


def parsed(params: dict) -> dict:
    """The canonical form of `params`."""
    return RULES.parse_params(params)


def refusal(params) -> InvalidRequest:
    """The refusal that `params` meet."""
    with pytest.raises(InvalidRequest) as caught:
        parsed(params)
    return caught.value


def entry(condition, **indicators) -> dict:
    """Rules that enter long where `condition` is true."""
    return {"indicators": indicators, "entry": {"long": condition}}


def inside(levels: int, condition: dict = HOLDS) -> dict:
    """`condition` inside so many others."""
    for _ in range(levels):
        condition = {"not": condition}
    return condition
