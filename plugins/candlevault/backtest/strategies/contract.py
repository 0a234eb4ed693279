"""What a strategy declares. A strategy module binds one `Strategy` to the name STRATEGY."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from candlevault.backtest.data.frame import Bars
from candlevault.backtest.schema import conform
from candlevault.backtest.signals import Signals
from candlevault.errors import InvalidRequest

Params = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One setting of a strategy.

    `kind` is `integer`, `number` (both limits inclusive), `boolean`, or `choice` among the
    strings `options`.
    """

    name: str
    kind: str
    default: int | float | bool | str
    minimum: int | float | None = None
    maximum: int | float | None = None
    description: str = ""
    options: tuple[str, ...] = ()

    @property
    def schema(self) -> dict:
        """The JSON schema of the value."""
        limits = {"minimum": self.minimum, "maximum": self.maximum}
        kind = {"choice": "string"}.get(self.kind, self.kind)
        return {
            "type": kind,
            "title": self.name,
            "description": self.description,
            "default": self.default,
            **{word: limit for word, limit in limits.items() if limit is not None},
            **({"enum": list(self.options)} if self.kind == "choice" else {}),
            "examples": [self.default],
        }


@dataclass(frozen=True, slots=True)
class Ascending:
    """A rule between two settings: `smaller` must lie below `larger`."""

    smaller: str
    larger: str

    @property
    def words(self) -> str:
        """The rule as a sentence."""
        return f"{self.smaller} must be smaller than {self.larger}."


@dataclass(frozen=True, slots=True)
class Strategy:
    """A named, versioned rule that turns closed candles into wishes.

    `signals(bars, params)` gives the Signals of the bars. Element i may depend on bars 0..i
    only; the engine fills it at the open of a later bar at the earliest.
    `lines(bars, params)` gives indicator arrays by name, as long as the bars, for charts only;
    None: there are none.
    `version` changes whenever the same bars and params could give other signals; `source`
    tells the hash of the code of a strategy of the user's. `sets_levels`: whether its signals
    may carry stops of their own.

    A strategy whose settings are no plain list declares `params` (their JSON schema) and
    `parse`, which gets what `conform` made of them and the field's name and returns them
    checked, JSON-able and with defaults; it raises InvalidRequest naming the place.
    """

    name: str
    version: str
    title: str
    description: str
    parameters: tuple[Parameter, ...]
    signals: Callable[[Bars, Params], Signals]
    lines: Callable[[Bars, Params], dict[str, np.ndarray]] | None = None
    rules: tuple[Ascending, ...] = ()
    params: Mapping[str, object] | None = None
    parse: Callable[[dict, str], dict] | None = None
    source: str | None = None
    sets_levels: bool = False

    @property
    def params_schema(self) -> dict:
        """The JSON schema of `strategy.params`. Rules between settings are in its words only."""
        if self.params is not None:
            return dict(self.params)
        return {
            "type": "object",
            "title": f"Parameters of {self.name}",
            "description": " ".join((self.description, *(rule.words for rule in self.rules))),
            "properties": {parameter.name: parameter.schema for parameter in self.parameters},
            "additionalProperties": False,
            "default": {parameter.name: parameter.default for parameter in self.parameters},
            "examples": [{parameter.name: parameter.default for parameter in self.parameters}],
        }

    def parse_params(self, given: object, field: str = "strategy.params") -> dict:
        """All settings in declared order, defaults applied.

        Raises InvalidRequest naming `field.<name>` for unknown names, wrong types, values
        out of range and broken rules between settings.
        """
        params = conform(given, self.params_schema, field)
        if self.parse is not None:
            return self.parse(params, field)
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
