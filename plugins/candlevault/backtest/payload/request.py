"""The request that a checked payload becomes: plain, hashable values."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

from candlevault.backtest.data.frame import ABSENT_MODES
from candlevault.backtest.risk import EntryOrders, RiskRules, Settings
from candlevault.funding import is_paid
from candlevault.series import Series
from candlevault.windows import Window


class SavedStrategy(NamedTuple):
    """One version of a strategy that was saved: what it is called, and what it runs."""

    strategy_id: int
    version: int
    name: str
    params: dict


@dataclass(frozen=True, slots=True)
class StrategyChoice:
    """A strategy by name; `settings` are all its params as canonical JSON.

    `strategy_id` and `version` name the saved strategy they came from, if any.
    """

    name: str
    settings: str
    strategy_id: int | None = None
    version: int | None = None

    @classmethod
    def of(cls, name: str, params: dict, **more: int | None) -> StrategyChoice:
        """The choice of `name` with checked params."""
        return cls(name, json.dumps(params, separators=(",", ":"), allow_nan=False), **more)

    @property
    def params(self) -> dict[str, object]:
        """The settings by name, in declared order."""
        return json.loads(self.settings)


@dataclass(frozen=True, slots=True)
class DataChoice:
    """`as_of` (aware UTC, None for now), the absent mode, whether the window may lie over two
    instruments of the same symbol, and how many candles before it the strategy sees."""

    as_of: datetime | None = None
    absent: str = ABSENT_MODES[0]
    across_identities: bool = False
    warmup_bars: int = 0


@dataclass(frozen=True, slots=True)
class Intrabar:
    """A mode of codes.INTRABAR_MODES and the code of the finer timeframe for `resolved`."""

    mode: str = "pessimistic"
    timeframe: str | None = None


@dataclass(frozen=True, slots=True)
class BacktestRequest:
    """A checked payload, defaults applied. Hashable; equal requests are equal values.

    `series` is the first symbol's, `also` the further symbols; `funding` counts in market um.
    `start_time` inclusive and `end_time` exclusive are aware UTC in whole milliseconds and need
    not be aligned; at least one open time lies between them.
    """

    series: Series
    start_time: datetime
    end_time: datetime
    strategy: StrategyChoice
    also: tuple[str, ...] = ()
    funding: bool = True
    intrabar: Intrabar = Intrabar()
    data: DataChoice = field(default_factory=DataChoice)
    settings: Settings = field(default_factory=lambda: Settings(fee_rate=0.001))

    @property
    def window(self) -> Window:
        """The half-open window of the run."""
        return Window.of(self.start_time, self.end_time)

    @property
    def is_funded(self) -> bool:
        """Whether positions pay and receive funding."""
        return self.funding and is_paid(self.series.market)

    @property
    def all_series(self) -> tuple[Series, ...]:
        """The series of every symbol, in the order of the request."""
        return (self.series, *(replace(self.series, symbol=symbol) for symbol in self.also))

    @property
    def risk(self) -> RiskRules:
        """The rules of the risk manager."""
        return self.settings.risk

    @property
    def entry(self) -> EntryOrders:
        """How entry signals become orders."""
        return self.settings.entry
