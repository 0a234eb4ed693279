"""Saving strategies with checked settings, and finding them again for a payload."""

from __future__ import annotations

from collections.abc import Mapping

from candlevault.backtest.payload import FindSaved, SavedStrategy
from candlevault.backtest.strategies import registry
from candlevault.errors import InvalidRequest
from candlevault.storage import strategies
from candlevault.storage.database import Connect
from candlevault.storage.strategies import StrategyVersion


def save(
    connect: Connect,
    name: str,
    strategy: Mapping[str, object],
    *,
    note: str = "",
    saved_by: str = "",
) -> StrategyVersion:
    """Save `strategy` (its `name` and `params`, as in a payload) under `name`.

    The settings are checked and stored with all defaults, so that a later change of a default
    does not change what is saved. Raises InvalidRequest naming the field.
    """
    for key in strategy:
        if key not in ("name", "params"):
            raise InvalidRequest(f"strategy.{key}", "is not a known key; known keys: name, params")
    if "name" not in strategy:
        raise InvalidRequest("strategy.name", "is required")
    found = registry.get(strategy["name"])
    params = found.parse_params(strategy.get("params") or {})
    return strategies.save(
        connect, name, found.name, params, found.version, note=note, saved_by=saved_by
    )


def finder(connect: Connect) -> FindSaved:
    """What `payload.parse` asks for the strategy of an id."""

    def find(strategy_id: int, version: int | None) -> SavedStrategy:
        found = strategies.get(connect, strategy_id, version)
        return SavedStrategy(found.strategy_id, found.version, found.runs, found.params)

    return find
