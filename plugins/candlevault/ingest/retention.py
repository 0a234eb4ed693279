"""Retention: what is older than the policy leaves the hot tables for the cold tier.

Nothing is destroyed: a month is written to a file, the file is read back and compared, and
only then do its rows leave the hot table. Every reading finds them where they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta

from psycopg import sql

from candlevault.errors import InvalidRequest
from candlevault.quality import months as month_ledger
from candlevault.storage import candle_reads, cold, freezing, partitions
from candlevault.storage.database import Connect, retrying
from candlevault.storage.locks import series_lock
from candlevault.storage.series_registry import StoredSeries
from candlevault.storage.sql import candle_table


@dataclass(slots=True)
class RetentionReport:
    """What left the hot tables: whole months before `cutoff`. Plain values only."""

    symbol: str
    timeframe: str
    retention_months: int
    cutoff: str
    months_moved: int = 0
    candles_moved: int = 0
    hot_candles: int = 0
    cold_months: int = 0
    cold_bytes: int = 0
    partitions_dropped: list[str] = field(default_factory=list)
    files_removed: int = 0

    def as_dict(self) -> dict[str, object]:
        """The report as JSON-able values."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.symbol} {self.timeframe}: {self.candles_moved:,} candles of"
            f" {self.months_moved} months before {self.cutoff} moved to the cold tier, which now"
            f" holds {self.cold_months} months ({self.cold_bytes / 1e6:,.1f} MB);"
            f" {self.hot_candles:,} candles are hot"
        )


def apply(
    connect: Connect,
    stored: StoredSeries,
    months: int,
    now: datetime,
    say: Callable[[str], None] = print,
    linger: timedelta = partitions.LINGER,
) -> RetentionReport:
    """Move the whole months of a series that are older than `months` months before `now`.

    `now` is aware. Partitions that hold nothing any more are dropped once they have been
    empty for `linger`: by a later run. A month that is written to meanwhile stays hot until
    the next run, and a run that was killed is simply run again.
    """
    if not 1 <= months <= 600:
        raise InvalidRequest("retention_months", "must be from 1 to 600", months)
    cutoff = months_before(now, months)
    report = RetentionReport(
        stored.series.symbol, stored.series.timeframe.code, months, f"{cutoff:%Y-%m-%d}"
    )
    with series_lock(connect, stored.series_id):
        with connect() as connection:
            due = freezing.hot_months(connection, stored, cutoff)
        for number, month in enumerate(due, start=1):
            moved = _freeze(connect, stored, month)
            report.months_moved += moved > 0
            report.candles_moved += moved
            say(f"{stored}: month {month:%Y-%m} ({number} of {len(due)}): {moved:,} candles moved")
        with connect() as connection:
            report.files_removed = len(cold.sweep(connection, stored))
    report.partitions_dropped = retrying(
        lambda: partitions.drop_empty(connect, stored.series.timeframe, cutoff, linger)
    )
    _count(connect, stored, report)
    return report


def refreeze(connect: Connect, stored: StoredSeries) -> int:
    """Put months back that a correction brought to the hot table; returns how many candles."""
    with connect() as connection:
        due = freezing.thawed_months(connection, stored)
    return sum(_freeze(connect, stored, month) for month in due)


def _freeze(connect: Connect, stored: StoredSeries, month: date) -> int:
    """Enter a month in the partition ledger, as far as history reaches, and move it."""

    def enter() -> bool:
        with connect() as connection:
            history = candle_reads.history(connection, stored)
        part = history and cold.month_window(month).intersection(history)
        if part:
            month_ledger.take(connect, stored, part)
        return bool(part)

    return freezing.freeze(connect, stored, month) if retrying(enter) else 0


def _count(connect: Connect, stored: StoredSeries, report: RetentionReport) -> None:
    with connect() as connection:
        report.hot_candles = connection.execute(
            sql.SQL("SELECT count(*) FROM {} WHERE series_id = %s").format(
                candle_table(stored.series.timeframe)
            ),
            (stored.series_id,),
        ).fetchone()[0]
        report.cold_months, report.cold_bytes = connection.execute(
            "SELECT count(*), coalesce(sum(bytes), 0)::bigint FROM market.cold_files"
            " WHERE series_id = %s",
            (stored.series_id,),
        ).fetchone()


def months_before(moment: datetime, months: int) -> datetime:
    """Midnight of the first day of the month `months` months before that of `moment`."""
    ordinal = moment.year * 12 + moment.month - 1 - months
    return moment.replace(
        year=ordinal // 12,
        month=ordinal % 12 + 1,
        day=1,
        hour=0,
        minute=0,
        second=0,
        microsecond=0,
    )
