"""Retention, so far: what lies beyond the policy, reported. Nothing is deleted."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime

from psycopg import sql

from candlevault import windows
from candlevault.errors import InvalidRequest
from candlevault.series import Series
from candlevault.storage import series_registry
from candlevault.storage.database import Connect
from candlevault.storage.sql import candle_table
from candlevault.timeframe import to_ms
from candlevault.windows import Window


@dataclass(frozen=True, slots=True)
class RetentionReport:
    """What the policy would move out of the hot tables: whole months before `cutoff`."""

    symbol: str
    timeframe: str
    retention_months: int
    cutoff: str
    months: int
    candles: int
    deleted: int = 0

    def as_dict(self) -> dict[str, object]:
        """The report as JSON-able values."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.symbol} {self.timeframe}: {self.candles:,} candles of {self.months} months"
            f" before {self.cutoff} are older than {self.retention_months} months; they stay in"
            " the hot tables, nothing was deleted"
        )


def report(connect: Connect, series: Series, months: int, now: datetime) -> RetentionReport:
    """Count the whole months of `series` older than `months` months before `now` (aware)."""
    if not 1 <= months <= 600:
        raise InvalidRequest("retention_months", "must be from 1 to 600", months)
    cutoff = months_before(now, months)
    stored = series_registry.get(connect, series)
    with connect() as connection:
        count, oldest = connection.execute(
            sql.SQL(
                "SELECT count(*), min(open_time) FROM {} WHERE series_id = %s AND open_time < %s"
            ).format(candle_table(series.timeframe)),
            (stored.series_id, cutoff),
        ).fetchone()
    touched = (
        0
        if oldest is None
        else sum(1 for _ in windows.months(Window(to_ms(oldest), to_ms(cutoff))))
    )
    return RetentionReport(
        series.symbol,
        series.timeframe.code,
        months,
        cutoff.strftime("%Y-%m-%d"),
        touched,
        count,
    )


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
