"""Saved strategies: configurations with versions that backtests run by id."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import psycopg

from candlevault.errors import InvalidRequest
from candlevault.storage.database import Connect

_SELECT = (
    "SELECT s.strategy_id, s.name, v.version, v.runs, v.params, v.code_version, v.note,"
    " v.saved_by, v.saved_at, s.retired_at"
    " FROM market.strategies s JOIN market.strategy_versions v USING (strategy_id)"
)


@dataclass(frozen=True, slots=True)
class StrategyVersion:
    """One version of a saved strategy. `runs` names the strategy that reads `params`,
    `code_version` is that strategy's version when this was saved."""

    strategy_id: int
    name: str
    version: int
    runs: str
    params: dict
    code_version: str
    note: str
    saved_by: str
    saved_at: datetime
    retired_at: datetime | None


def save(
    connect: Connect,
    name: str,
    runs: str,
    params: Mapping[str, object],
    code_version: str,
    *,
    note: str = "",
    saved_by: str = "",
) -> StrategyVersion:
    """Save what `name` runs: a new strategy, or a new version of the one that has the name.

    What is saved already as the newest version is not saved again. Raises InvalidRequest for
    a name that is empty, longer than 100 characters or holds control characters, and for a
    retired one.
    """
    if not 1 <= len(name) <= 100 or not name.isprintable() or name != name.strip():
        raise InvalidRequest("name", "must be 1 to 100 printable characters", name)
    with connect() as connection, connection.transaction():
        strategy_id, retired_at = connection.execute(
            "INSERT INTO market.strategies AS s (name) VALUES (%s)"
            " ON CONFLICT (name) DO UPDATE SET name = s.name"
            " RETURNING strategy_id, retired_at",
            (name,),
        ).fetchone()
        if retired_at is not None:
            raise InvalidRequest("name", "is that of a retired strategy", name)
        newest = _newest(connection, strategy_id)
        if newest is not None and (newest.runs, newest.params, newest.code_version) == (
            runs,
            params,
            code_version,
        ):
            return newest
        connection.execute(
            "INSERT INTO market.strategy_versions"
            " (strategy_id, version, runs, params, code_version, note, saved_by)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s)",
            (
                strategy_id,
                1 if newest is None else newest.version + 1,
                runs,
                json.dumps(params, allow_nan=False),
                code_version,
                note,
                saved_by,
            ),
        )
        saved = _newest(connection, strategy_id)
    assert saved is not None
    return saved


def get(connect: Connect, strategy_id: int, version: int | None = None) -> StrategyVersion:
    """One version, the newest by default; raises InvalidRequest when there is none of it or
    the strategy is retired."""
    with connect() as connection:
        newest = _newest(connection, strategy_id)
        if newest is None:
            raise InvalidRequest("strategy.id", "there is no such saved strategy", strategy_id)
        if newest.retired_at is not None:
            raise InvalidRequest(
                "strategy.id", f"{newest.name} was retired at {newest.retired_at}", strategy_id
            )
        if version is None:
            return newest
        row = connection.execute(
            f"{_SELECT} WHERE s.strategy_id = %s AND v.version = %s", (strategy_id, version)
        ).fetchone()
    if row is None:
        raise InvalidRequest(
            "strategy.version", f"must be 1 to {newest.version} of {newest.name}", version
        )
    return StrategyVersion(*row)


def everything(connect: Connect, *, retired: bool = False) -> list[StrategyVersion]:
    """The newest version of every saved strategy by name; retired ones only if asked for."""
    with connect() as connection:
        rows = connection.execute(
            f"SELECT DISTINCT ON (name) * FROM ({_SELECT}) AS all_versions"
            " WHERE %s OR retired_at IS NULL ORDER BY name, version DESC",
            (retired,),
        ).fetchall()
    return [StrategyVersion(*row) for row in rows]


def versions(connect: Connect, strategy_id: int) -> list[StrategyVersion]:
    """All versions of a saved strategy, oldest first; empty when there is none of that id."""
    with connect() as connection:
        rows = connection.execute(
            f"{_SELECT} WHERE s.strategy_id = %s ORDER BY v.version", (strategy_id,)
        ).fetchall()
    return [StrategyVersion(*row) for row in rows]


def retire(connect: Connect, strategy_id: int) -> None:
    """Take a strategy out of the list; its versions stay for the results that name them.

    Raises InvalidRequest when there is none of that id.
    """
    with connect() as connection:
        done = connection.execute(
            "UPDATE market.strategies SET retired_at = coalesce(retired_at, clock_timestamp())"
            " WHERE strategy_id = %s",
            (strategy_id,),
        )
    if done.rowcount == 0:
        raise InvalidRequest("id", "there is no such saved strategy", strategy_id)


def _newest(connection: psycopg.Connection, strategy_id: int) -> StrategyVersion | None:
    row = connection.execute(
        f"{_SELECT} WHERE s.strategy_id = %s ORDER BY v.version DESC LIMIT 1", (strategy_id,)
    ).fetchone()
    return None if row is None else StrategyVersion(*row)
