"""Finds the strategies: modules of this package, and files in the folder of the user."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from functools import cache
from types import ModuleType

from candlevault.backtest import strategies as package
from candlevault.backtest.schema import suggestion
from candlevault.backtest.strategies.contract import Strategy
from candlevault.backtest.user_strategies import catalog
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
            # A strategy that must be told something has no defaults to check.
            if not strategy.params_schema.get("required"):
                strategy.parse_params({})
        except InvalidRequest as error:
            raise ConfigurationError(f"defaults of strategy {short} are wrong: {error}") from error
        found[strategy.name] = strategy
    return dict(sorted(found.items()))


@cache
def builtin() -> dict[str, Strategy]:
    """The strategies of this package by name, ascending. Found once; do not change it."""
    return collect(
        importlib.import_module(f"{package.__name__}.{info.name}")
        for info in pkgutil.iter_modules(package.__path__)
        if info.name not in _NOT_STRATEGIES
    )


def known() -> dict[str, Strategy]:
    """Every strategy by its name, ascending: the built-in ones and those of the user's folder.

    The folder is looked at each time. A file that is no strategy is left out: see `broken`.
    """
    return dict(sorted({**catalog.known(builtin()), **builtin()}.items()))


def described() -> dict[str, Strategy]:
    """Those of `known` whose settings are known without executing a file of the user's.

    A new file is missing until somebody has named its strategy or listed all.
    """
    return dict(sorted({**catalog.described(builtin()), **builtin()}.items()))


def broken() -> dict[str, str]:
    """Why files of the user's folder are no strategies, by the name they would have had."""
    return catalog.broken(builtin())


def get(name: str, field: str = "strategy.name") -> Strategy:
    """The strategy called `name`; no other file of the user's is executed for it.

    Raises InvalidRequest: for the file of the user's that is broken, why; for a name that
    nothing has, the known names and the nearest.
    """
    if isinstance(name, str):
        found = builtin().get(name) or catalog.find(name)
        if isinstance(found, Strategy):
            return found
        if found is not None:
            raise InvalidRequest(field, found, name)
    names = sorted({*builtin(), *catalog.named(builtin())})
    raise InvalidRequest(field, f"must be one of {', '.join(names)}{suggestion(name, names)}", name)
