"""From the values of a point to the settings of a run, with every rule of a payload checked."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

from candlevault.backtest import payload as payloads
from candlevault.backtest.payload import BacktestRequest
from candlevault.backtest.risk import Settings
from candlevault.backtest.search.axes import RISK, put
from candlevault.backtest.strategies.contract import Strategy
from candlevault.errors import InvalidRequest

Given = Mapping[str, object]
"""Values of the searched settings by name."""


class BrokenRule(Exception):
    """A combination that no single backtest would accept; `reason` says why."""

    def __init__(self, reason: InvalidRequest) -> None:
        super().__init__(str(reason))
        self.reason = reason


class Recipe:
    """Makes the settings of points from `backtest`, the payload that they share.

    `fixed` are the settings of the strategy that are not searched. Broken rules raise
    BrokenRule; what no point can mend raises InvalidRequest.
    """

    def __init__(self, strategy: Strategy, fixed: Given, backtest: Mapping) -> None:
        self.strategy = strategy
        self.fixed = fixed
        self.backtest = backtest
        self._settings: dict[tuple, Settings] = {}

    def params(self, given: Given) -> dict:
        """All settings of the strategy of a point."""
        document = copy.deepcopy(dict(self.fixed))
        searched = {name: value for name, value in given.items() if not name.startswith(RISK)}
        for name, value in searched.items():
            put(document, name, value)
        try:
            return self.strategy.parse_params(document)
        except InvalidRequest as error:
            if not searched:
                raise InvalidRequest(f"backtest.{error.field}", error.rule, error.value) from None
            raise BrokenRule(error) from None

    def settings(self, given: Given, params: Given) -> Settings:
        """Everything else that decides what a run of a point does; `params` are any valid ones.

        Only the numbers of the risk rules among `given` matter.
        """
        key = tuple((name, value) for name, value in given.items() if name.startswith(RISK))
        if key not in self._settings:
            self._settings[key] = self.request(given, params).settings
        return self._settings[key]

    def request(
        self, given: Given, params: Given, *, now: datetime | None = None
    ) -> BacktestRequest:
        """The request of the single backtest that a point is."""
        risky = {name: value for name, value in given.items() if name.startswith(RISK)}
        payload = copy.deepcopy(dict(self.backtest))
        payload["strategy"] = {"name": self.strategy.name, "params": dict(params)}
        for name, value in risky.items():
            _make_way(payload, name)
            put(payload, name, value)
        try:
            with inside("backtest"):
                return payloads.parse(payload, now=now)
        except InvalidRequest as error:
            if risky and error.field.startswith(f"backtest.{RISK}"):
                raise BrokenRule(error) from None
            raise


@contextmanager
def inside(place: str) -> Iterator[None]:
    """Name the fields of refused values as parts of `place`."""
    try:
        yield
    except InvalidRequest as error:
        raise InvalidRequest(f"{place}.{error.field}", error.rule, error.value) from None


def _make_way(payload: dict, path: str) -> None:
    """Make sure that the objects on the way to `path` exist."""
    place = payload
    for part in path.split(".")[:-1]:
        if place.get(part) is None:
            place[part] = {}
        place = place[part]
        if not isinstance(place, dict):
            return
