"""The gap log: every gap that was ever seen, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from candlevault.storage import candle_reads
from candlevault.storage.series_registry import StoredSeries
from candlevault.timeframe import to_ms
from candlevault.windows import Account, Window


@dataclass(frozen=True, slots=True)
class Gap:
    """A maximal run of expected open times that are not stored, of one verdict."""

    window: Window
    missing_candles: int
    position: str
    verdict: str

    @property
    def duration_minutes(self) -> int:
        """Length of the window in minutes."""
        return (self.window.end_ms - self.window.start_ms) // 60_000


def find(account: Account) -> list[Gap]:
    """The gaps of an account, ascending: lost and known absent runs apart.

    `position` is start, inside, end or whole, by where the gap lies in the window.
    """
    if len(account.expected) == 0:
        return []
    first = int(account.expected[0])
    end = int(account.expected[-1]) + account.timeframe.step_ms
    gaps = [
        Gap(
            run,
            (run.end_ms - run.start_ms) // account.timeframe.step_ms,
            _position(run, first, end),
            verdict,
        )
        for verdict, runs in (
            ("lost", account.lost_windows),
            ("known_absent", account.absent_windows),
        )
        for run in runs
    ]
    return sorted(gaps, key=lambda gap: gap.window)


def _position(run: Window, first_ms: int, end_ms: int) -> str:
    at_start, at_end = run.start_ms == first_ms, run.end_ms == end_ms
    if at_start and at_end:
        return "whole"
    return "start" if at_start else "end" if at_end else "inside"


def record(connection: psycopg.Connection, stored: StoredSeries, account: Account) -> list[Gap]:
    """Write the gaps of an account to the log and settle those seen before.

    Once nothing of a gap is lost any more it becomes `filled` if any of it was stored and
    `known_absent` if none was; `fill_ratio` is the stored part of it.
    """
    gaps = find(account)
    for gap in gaps:
        connection.execute(
            "INSERT INTO market.gap_log AS g (series_id, gap_start, gap_end, duration_minutes,"
            " missing_candles, position, verdict) VALUES (%s, %s, %s, %s, %s, %s, %s)"
            " ON CONFLICT (series_id, gap_start, gap_end) DO UPDATE"
            " SET seen_at = clock_timestamp(), verdict = excluded.verdict,"
            "     attempts = g.attempts + 1, fill_ratio = 0",
            (
                stored.series_id,
                gap.window.start,
                gap.window.end,
                gap.duration_minutes,
                gap.missing_candles,
                gap.position,
                gap.verdict,
            ),
        )
    _settle(connection, stored, account.window)
    return gaps


def _settle(connection: psycopg.Connection, stored: StoredSeries, window: Window) -> None:
    rows = connection.execute(
        "SELECT gap_id, gap_start, gap_end, missing_candles FROM market.gap_log"
        " WHERE series_id = %s AND verdict <> 'filled' AND gap_start < %s AND gap_end > %s",
        (stored.series_id, window.end, window.start),
    ).fetchall()
    for gap_id, start, end, missing in rows:
        now = candle_reads.account(connection, stored, Window(to_ms(start), to_ms(end)))
        verdict = "lost" if len(now.lost) else "filled" if len(now.stored) else "known_absent"
        connection.execute(
            "UPDATE market.gap_log SET verdict = %s, fill_ratio = %s, seen_at = clock_timestamp()"
            " WHERE gap_id = %s",
            (verdict, len(now.stored) / missing, gap_id),
        )
