"""What a format is: a name, what it can hold, and a function that writes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from candlevault.errors import InvalidRequest
from candlevault.export.candle_set import CandleSet
from candlevault.export.stage import Stage
from candlevault.series import MARKETS, Series
from candlevault.timeframe import ALL

Write = Callable[[CandleSet, Stage, dict[str, object]], None]
"""Writes the files of a set of candles (never empty) into the stage."""


@dataclass(frozen=True, slots=True)
class Option:
    """A choice a format offers: a switch, or a whole number in `[low, high]` or None."""

    name: str
    help: str
    low: int | None = None
    high: int | None = None

    @property
    def is_switch(self) -> bool:
        """Whether it is on or off, by default off."""
        return self.low is None

    def settle(self, value: object) -> object:
        """The value if it fits; raises InvalidRequest naming the option."""
        field = f"options.{self.name}"
        if self.is_switch:
            if not isinstance(value, bool):
                raise InvalidRequest(field, "must be true or false", value)
        elif value is not None and (
            not isinstance(value, int)
            or isinstance(value, bool)
            or not self.low <= value <= self.high
        ):
            raise InvalidRequest(
                field, f"must be a whole number from {self.low} to {self.high}", value
            )
        return value


@dataclass(frozen=True, slots=True)
class Format:
    """One format. `help` is a line for people; `timeframes` and `markets` are what it holds."""

    name: str
    help: str
    write: Write
    timeframes: tuple[str, ...] = tuple(ALL)
    markets: tuple[str, ...] = MARKETS
    options: tuple[Option, ...] = ()

    def settle(self, given: Mapping[str, object]) -> dict[str, object]:
        """All options with their values; raises InvalidRequest for an unknown or wrong one."""
        known = {option.name: option for option in self.options}
        for name in given:
            if name not in known:
                told = f"has {', '.join(known)}" if known else "has none"
                raise InvalidRequest(f"options.{name}", f"{self.name} {told}")
        return {
            name: option.settle(given.get(name, False if option.is_switch else None))
            for name, option in known.items()
        }

    def refuse_unfit(self, series: Series) -> None:
        """Raise InvalidRequest for a series the format cannot hold."""
        if series.timeframe.code not in self.timeframes:
            rule = f"{self.name} holds {', '.join(self.timeframes)}"
            raise InvalidRequest("timeframe", rule, series.timeframe.code)
        if series.market not in self.markets:
            raise InvalidRequest(
                "market", f"{self.name} holds {', '.join(self.markets)}", series.market
            )
