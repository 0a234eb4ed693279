"""The impact of changed candles: which stored backtests read them, and which trades lie on them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import NamedTuple

import psycopg

from candlevault.storage import series_registry
from candlevault.storage.candle_reads import open_times
from candlevault.storage.database import Connect
from candlevault.storage.sql import query
from candlevault.timeframe import from_ms
from candlevault.windows import Window


@dataclass(frozen=True, slots=True)
class TouchedTrade:
    """A trade on a changed candle. `relation`: signal, entry, exit, or held over it."""

    trade_no: int
    open_time: str
    relation: str


@dataclass(slots=True)
class AffectedBacktest:
    """A completed backtest that has read candles which changed since. Times are ISO, UTC.

    It still reads the same as of its own time: `as_of` before `first_changed_at`.
    """

    backtest_id: int
    dag_run_id: str
    strategy: str
    read_revision: int
    changed_candles: int = 0
    first_changed_at: str = ""
    reasons: list[str] = field(default_factory=list)
    changes: list[dict[str, str]] = field(default_factory=list)
    trades: list[TouchedTrade] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        """The finding as JSON-able values."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"backtest {self.backtest_id} ({self.strategy}, run {self.dag_run_id}): read"
            f" {self.changed_candles} candles that changed since, {len(self.trades)} times a"
            f" trade lies on one ({', '.join(self.reasons)})"
        )


def affected(
    connect: Connect, series_id: int | None = None, since: datetime | None = None
) -> list[AffectedBacktest]:
    """The completed backtests that read a candle which has changed since, by id.

    A candle counts as changed when the version that was read has been superseded or taken
    out, and when it was known absent then and is not now; whether it went back to what it
    was makes no difference. `since` (aware) limits it to changes recorded from then on.
    """
    bounds = {"series_id": series_id, "since": since}
    found: dict[int, AffectedBacktest] = {}
    times: dict[int, set[datetime]] = {}

    def add(run: tuple, revision: int, change: Change) -> None:
        one = found.setdefault(run[0], AffectedBacktest(*run, revision))
        times.setdefault(run[0], set()).add(change.open_time)
        _add(one, change)

    with connect() as connection:
        for row in connection.execute(query("select_changed_reads"), bounds).fetchall():
            add(row[:3], row[6], Change(row[7], row[8], row[10], row[11]))
        for row in connection.execute(query("select_withdrawn_reads"), bounds).fetchall():
            stored = series_registry.by_id(connection, row[3])
            # What was absent when it was read and is stored now.
            for time in open_times(connection, stored, Window.of(row[4], row[5])):
                add(row[:3], row[6], Change(from_ms(int(time)), "published", row[7], row[8]))
        for backtest_id, one in found.items():
            one.changed_candles = len(times[backtest_id])
            one.trades = _trades(connection, backtest_id, sorted(times[backtest_id]))
    return [found[backtest_id] for backtest_id in sorted(found)]


class Change(NamedTuple):
    """What became of a candle since it was read: revised, removed or published after all."""

    open_time: datetime
    change: str
    at: datetime
    reason: str


def _add(one: AffectedBacktest, change: Change) -> None:
    changed_at = change.at.isoformat()
    one.first_changed_at = min(one.first_changed_at or changed_at, changed_at)
    if change.reason not in one.reasons:
        one.reasons.append(change.reason)
    one.changes.append(
        {
            "open_time": change.open_time.isoformat(),
            "change": change.change,
            "at": changed_at,
            "reason": change.reason,
        }
    )


def _trades(
    connection: psycopg.Connection, backtest_id: int, times: Iterable[datetime]
) -> list[TouchedTrade]:
    rows = connection.execute(
        "SELECT t.trade_no, c.open_time, CASE c.open_time WHEN t.entry_time THEN 'entry'"
        " WHEN t.exit_time THEN 'exit' WHEN t.signal_time THEN 'signal' ELSE 'held' END"
        " FROM market.trades t JOIN unnest(%s::timestamptz[]) AS c (open_time)"
        " ON c.open_time BETWEEN least(t.signal_time, t.entry_time) AND t.exit_time"
        " WHERE t.backtest_id = %s ORDER BY t.trade_no, c.open_time",
        (list(times), backtest_id),
    ).fetchall()
    return [TouchedTrade(row[0], row[1].isoformat(), row[2]) for row in rows]
