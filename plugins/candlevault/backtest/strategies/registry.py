"""Finds the strategies: every module of this package that binds STRATEGY."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from functools import cache
from types import ModuleType

from candlevault.backtest import strategies as package
from candlevault.backtest.schema import nearest
from candlevault.backtest.strategies.contract import Strategy
from candlevault.errors import ConfigurationError, InvalidRequest

_NOT_STRATEGIES = ("contract", "registry")


def collect(modules: Iterable[ModuleType]) -> dict[str, Strategy]:
    """The strategies of `modules` by name, ascending.

    Raises ConfigurationError for a module without STRATEGY, a strategy that is not named
    like its module, and defaults that break the strategy's own rules.
    """
    found: dict[str, Strategy] = {}
    for module in modules:
        short = module.__name__.rpartition(".")[2]
        strategy = getattr(module, "STRATEGY", None)
        if not isinstance(strategy, Strategy):
            raise ConfigurationError(f"strategy module {short} does not bind STRATEGY")
        if strategy.name != short:
            raise ConfigurationError(f"strategy {strategy.name} lives in a module named {short}")
        try:
            strategy.parse_params({})
        except InvalidRequest as error:
            raise ConfigurationError(f"defaults of strategy {short} are wrong: {error}") from error
        found[strategy.name] = strategy
    return dict(sorted(found.items()))


@cache
def known() -> dict[str, Strategy]:
    """Every strategy by its name, ascending. Found once per process; do not change it."""
    return collect(
        importlib.import_module(f"{package.__name__}.{info.name}")
        for info in pkgutil.iter_modules(package.__path__)
        if info.name not in _NOT_STRATEGIES
    )


def get(name: str, field: str = "strategy.name") -> Strategy:
    """The strategy called `name`; InvalidRequest lists the known names and the nearest."""
    strategies = known()
    if isinstance(name, str) and name in strategies:
        return strategies[name]
    near = nearest(name, strategies)
    hint = f"; did you mean {near}?" if near else ""
    raise InvalidRequest(field, f"must be one of {', '.join(strategies)}{hint}", name)
