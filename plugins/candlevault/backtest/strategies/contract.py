"""What a strategy declares. A strategy module binds one `Strategy` to the name STRATEGY."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from candlevault.backtest.frame import Bars
from candlevault.backtest.schema import conform
from candlevault.errors import InvalidRequest

Params = Mapping[str, int | float]

ENTER, EXIT, NOTHING = 1, -1, 0


@dataclass(frozen=True, slots=True)
class Parameter:
    """One setting of a strategy: `kind` is `integer` or `number`; both limits are inclusive."""

    name: str
    kind: str
    default: int | float
    minimum: int | float
    maximum: int | float
    description: str

    @property
    def schema(self) -> dict:
        """The JSON schema of the value."""
        return {
            "type": self.kind,
            "title": self.name,
            "description": self.description,
            "default": self.default,
            "minimum": self.minimum,
            "maximum": self.maximum,
            "examples": [self.default],
        }


@dataclass(frozen=True, slots=True)
class Ascending:
    """A rule between two settings: `smaller` must lie below `larger`."""

    smaller: str
    larger: str


@dataclass(frozen=True, slots=True)
class Strategy:
    """A named, versioned rule that turns closed candles into wishes.

    `lines(bars, params)` gives the indicator arrays by name, as long as the bars.
    `signals(bars, params)` gives an int8 array as long as the bars: ENTER (+1) wishes to be
    long, EXIT (-1) wishes to be flat, NOTHING (0) leaves things as they are. Element i may
    depend on bars 0..i only; the engine fills it at the open of a later bar.
    `version` changes whenever the same bars and params could give other signals.
    """

    name: str
    version: str
    title: str
    description: str
    parameters: tuple[Parameter, ...]
    signals: Callable[[Bars, Params], np.ndarray]
    lines: Callable[[Bars, Params], dict[str, np.ndarray]]
    rules: tuple[Ascending, ...] = ()

    @property
    def params_schema(self) -> dict:
        """The JSON schema of `strategy.params`. Rules between settings are not in it."""
        return {
            "type": "object",
            "title": f"Parameters of {self.name}",
            "description": self.description,
            "properties": {parameter.name: parameter.schema for parameter in self.parameters},
            "additionalProperties": False,
            "default": {parameter.name: parameter.default for parameter in self.parameters},
        }

    def parse_params(self, given: object, field: str = "strategy.params") -> dict:
        """All settings in declared order, defaults applied.

        Raises InvalidRequest naming `field.<name>` for unknown names, wrong types, values
        out of range and broken rules between settings.
        """
        params = conform(given, self.params_schema, field)
        for rule in self.rules:
            if params[rule.smaller] >= params[rule.larger]:
                # Name a setting that the caller wrote, not a default.
                name, words, other = (
                    (rule.smaller, "smaller", rule.larger)
                    if rule.smaller in given or rule.larger not in given
                    else (rule.larger, "larger", rule.smaller)
                )
                limit = f"must be {words} than {other} ({params[other]})"
                raise InvalidRequest(f"{field}.{name}", limit, params[name])
        return params
