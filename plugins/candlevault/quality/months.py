"""The months of a stored series: their account, profile and verdict, and the partition ledger."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import psycopg
import pyarrow as pa

from candlevault import candles, windows
from candlevault.storage import candle_reads, cold
from candlevault.storage.database import Connect
from candlevault.storage.series_registry import StoredSeries
from candlevault.storage.sql import for_timeframe
from candlevault.timeframe import Timeframe
from candlevault.windows import Account, Window

_PROFILED = ("open", "high", "low", "close", *candles.AMOUNTS)


@dataclass(frozen=True, slots=True)
class Month:
    """One month of a series: the part of it that is kept and closed, its account and profile.

    `until_ms` is where the month ends for the series: with its life, if that ends first.
    """

    whole: Window
    part: Window
    account: Account
    off_grid: int
    out_of_range_prices: int
    bad_volumes: int
    zero_volume: int
    counted: int
    until_ms: int

    @property
    def verdict(self) -> str:
        """`complete`, `incomplete`, or `running` while its last candle has not closed."""
        if len(self.account.lost):
            return "incomplete"
        return "complete" if self.part.end_ms >= self.until_ms else "running"

    def as_row(self) -> dict[str, float]:
        """The month as the suite `stored_month` judges it."""
        account = self.account
        parts = len(account.stored) + len(account.absent) + len(account.lost)
        stored = self.counted
        return {
            "expected": len(account.expected),
            "stored": stored,
            "lost": len(account.lost),
            "obtainable_ratio": account.obtainable_ratio,
            "unaccounted": abs(len(account.expected) - parts)
            + abs(stored - self.off_grid - len(account.stored)),
            "off_grid": self.off_grid,
            "out_of_range_prices": self.out_of_range_prices,
            "bad_volumes": self.bad_volumes,
            "zero_volume_ratio": self.zero_volume / stored if stored else 0.0,
        }


def profile(connection: psycopg.Connection, stored: StoredSeries, window: Window) -> list[Month]:
    """The months `window` touches, each from where the series' history begins.

    History reaches from the oldest to the newest stored candle, and over all of `window`;
    a month that it does not fill is cut there.
    """
    timeframe = stored.series.timeframe
    held = candle_reads.history(connection, stored)
    kept = window
    if held is not None:
        kept = Window(min(held.start_ms, window.start_ms), max(held.end_ms, window.end_ms))
    # Never before the symbol meant this instrument, and not when it meant the next one.
    kept = kept.intersection(stored.share) or kept
    whole = [m for m in windows.months(window) if m.intersection(kept) is not None]
    hull = kept.intersection(Window(whole[0].start_ms, whole[-1].end_ms))
    assert hull is not None
    account = candle_reads.account(connection, stored, hull)
    counts = {
        row[0]: row[1:]
        for row in connection.execute(
            for_timeframe("profile_months", timeframe),
            {
                "series_id": stored.series_id,
                "window_start": hull.start,
                "window_end": hull.end,
                "step": timeframe.step,
            },
        ).fetchall()
    }
    for file in cold.files(connection, stored.series_id, hull):
        rows = cold.within(cold.read(file), hull)
        counts[file.window.start_ms] = _profile_rows(rows, timeframe)
    months = []
    for month in whole:
        part = month.intersection(hull)
        assert part is not None
        counted, off_grid, prices, volumes, zero = counts.get(month.start_ms, (0, 0, 0, 0, 0))
        months.append(
            Month(
                month,
                part,
                _clip(account, part),
                off_grid,
                prices,
                volumes,
                zero,
                counted,
                min(month.end_ms, max(stored.life.end_ms, part.start_ms)),
            )
        )
    return months


def _profile_rows(rows: pa.Table, timeframe: Timeframe) -> tuple[int, int, int, int, int]:
    """What include/sql/queries/profile_months.sql counts, of rows of the cold tier."""
    frame = {name: rows[name].cast(pa.float64()).to_numpy() for name in _PROFILED}
    times = candles.open_times(rows)
    low, high = frame["low"], frame["high"]
    body_low = np.minimum(frame["open"], frame["close"])
    body_high = np.maximum(frame["open"], frame["close"])
    prices = (low > 0) & (low <= body_low) & (high >= body_high) & (high < np.inf)
    volumes = (frame["taker_buy_base_volume"] >= 0) & (frame["taker_buy_quote_volume"] >= 0)
    volumes &= frame["volume"] >= frame["taker_buy_base_volume"]
    volumes &= frame["quote_volume"] >= frame["taker_buy_quote_volume"]
    off_grid = (times - timeframe.origin_ms) % timeframe.step_ms != 0
    counted = (off_grid, ~prices, ~volumes, frame["volume"] == 0)
    return (len(times), *(int(flags.sum()) for flags in counted))


def _clip(account: Account, part: Window) -> Account:
    def inside(times: np.ndarray) -> np.ndarray:
        left, right = np.searchsorted(times, [part.start_ms, part.end_ms])
        return times[left:right]

    return Account(
        part,
        account.timeframe,
        inside(account.expected),
        inside(account.stored),
        inside(account.absent),
        inside(account.lost),
    )


def take(connect: Connect, stored: StoredSeries, window: Window) -> list[Month]:
    """Profile the months of `window` and enter them in the ledger, on one snapshot.

    Counts and revision must belong together: a publication in between would file old counts
    under the new revision. Raises a serialization failure, to be retried, when a month was
    entered by somebody else meanwhile.
    """
    with connect() as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        profiled = profile(connection, stored, window)
        record(connection, stored, profiled)
    return profiled


def touched_months(
    connection: psycopg.Connection, stored: StoredSeries, window: Window
) -> dict[date, int]:
    """By month, the newest revision at which a candle or absence of it changed."""
    rows = connection.execute(
        for_timeframe("select_touched_months", stored.series.timeframe),
        {
            "series_id": stored.series_id,
            "window_start": window.start,
            "window_end": window.end,
        },
    ).fetchall()
    return dict(rows)


def record(connection: psycopg.Connection, stored: StoredSeries, months: list[Month]) -> None:
    """Write the verdicts to the partition ledger, with the hash of each month's content.

    A month of the same length that nothing has touched since it was recorded is not hashed
    again.
    """
    if not months:
        return
    revision = candle_reads.current_revision(connection, stored)
    touched = touched_months(
        connection, stored, Window(months[0].whole.start_ms, months[-1].whole.end_ms)
    )
    known = {
        row[0]: row[1:]
        for row in connection.execute(
            "SELECT month, revision, expected FROM market.series_months WHERE series_id = %s",
            (stored.series_id,),
        ).fetchall()
    }
    for month in months:
        first_day = month.whole.start.date()
        account = month.account
        before = known.get(first_day)
        if before is not None and before[1] == len(account.expected):
            if before[0] == revision:
                continue
            if touched.get(first_day, 0) <= before[0]:
                connection.execute(
                    "UPDATE market.series_months SET revision = %s, checked_at = clock_timestamp()"
                    " WHERE series_id = %s AND month = %s",
                    (revision, stored.series_id, first_day),
                )
                continue
        connection.execute(
            "INSERT INTO market.series_months (series_id, month, expected, stored, known_absent,"
            " lost, verdict, content_hash, revision) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)"
            " ON CONFLICT (series_id, month) DO UPDATE SET expected = excluded.expected,"
            " stored = excluded.stored, known_absent = excluded.known_absent,"
            " lost = excluded.lost, verdict = excluded.verdict,"
            " content_hash = excluded.content_hash, revision = excluded.revision,"
            " checked_at = clock_timestamp()",
            (
                stored.series_id,
                first_day,
                len(account.expected),
                len(account.stored),
                len(account.absent),
                len(account.lost),
                month.verdict,
                candle_reads.fingerprint(connection, stored, month.part, revision),
                revision,
            ),
        )
