"""Anomaly flags of a stored series: found in a window with its surroundings, and kept."""

from __future__ import annotations

import json
from collections.abc import Iterator

import psycopg

from candlevault import windows
from candlevault.quality.flags import (
    CONTEXT,
    KINDS,
    Flag,
    frozen_prices,
    spikes,
    zero_volume_runs,
)
from candlevault.storage import candle_reads
from candlevault.storage.database import Connect, retrying
from candlevault.storage.series_registry import StoredSeries
from candlevault.timeframe import from_ms
from candlevault.windows import Window

_CANDLES_AT_ONCE = 200_000


def examine(connect: Connect, stored: StoredSeries, window: Window) -> dict[str, int]:
    """Flag the series over `window` on one snapshot; returns the number of flags by kind.

    The flags that touch the window are brought to what is found now; the same window twice
    changes nothing. A run of candles is flagged as a whole, also where it reaches beyond the
    window, and what is found does not depend on where the window is cut.
    """

    def work() -> dict[str, int]:
        with connect() as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            found = _keep(connection, stored, window)
        return {kind: sum(flag.kind == kind for flag in found) for kind in KINDS}

    return retrying(work)


def find(connection: psycopg.Connection, stored: StoredSeries, window: Window) -> list[Flag]:
    """Every flag that touches `window`, ascending; nothing is written."""
    timeframe = stored.series.timeframe
    history = candle_reads.history(connection, stored)
    looked_at = history and window.intersection(history)
    if history is None or looked_at is None:
        return []
    found: dict[tuple[str, int], Flag] = {}
    for part in windows.chunks(looked_at, timeframe, _CANDLES_AT_ONCE):
        for flag in _find(connection, stored, part, history):
            found[flag.kind, flag.window.start_ms] = flag
    return sorted(found.values(), key=lambda flag: (flag.window, flag.kind))


def _find(
    connection: psycopg.Connection, stored: StoredSeries, part: Window, history: Window
) -> Iterator[Flag]:
    """The flags that touch `part`, read with as much around it as they need."""
    timeframe = stored.series.timeframe
    revision = candle_reads.current_revision(connection, stored)
    # One more than the context: the first candle of it begins at the close before.
    margin = (CONTEXT + 1) * timeframe.step_ms
    while True:
        wide = history.intersection(Window(part.start_ms - margin, part.end_ms + margin))
        assert wide is not None
        table = candle_reads.read(connection, stored, wide, revision)
        known = candle_reads.absences(
            connection,
            stored,
            Window(wide.start_ms - timeframe.step_ms, wide.end_ms + timeframe.step_ms),
        )
        runs = frozen_prices(table, timeframe)
        runs += zero_volume_runs(table, timeframe, history, [absence.window for absence in known])
        runs = [flag for flag in runs if flag.window.intersection(part) is not None]
        if not any(_cut(flag.window, wide, history) for flag in runs):
            break
        margin *= 4
    for flag in (*spikes(table, timeframe), *runs):
        if flag.window.intersection(part) is not None:
            yield flag


def _cut(run: Window, read: Window, history: Window) -> bool:
    """Whether a run reaches the end of what was read, and may go on beyond it."""
    left = run.start_ms <= read.start_ms and read.start_ms > history.start_ms
    return left or (run.end_ms >= read.end_ms and read.end_ms < history.end_ms)


def _keep(connection: psycopg.Connection, stored: StoredSeries, window: Window) -> list[Flag]:
    """Bring the stored flags up to date; returns those that touch `window`."""
    whole = _with_kept(connection, stored, window)
    found = find(connection, stored, whole)
    # A run that grew swallows flags of its kind beyond the window.
    reach = [flag.window for flag in found] + [whole]
    kept = connection.execute(
        "SELECT kind, window_start, window_end FROM market.anomalies"
        " WHERE series_id = %s AND window_start < %s AND window_end > %s",
        (
            stored.series_id,
            from_ms(max(span.end_ms for span in reach)),
            from_ms(min(span.start_ms for span in reach)),
        ),
    ).fetchall()
    names = {(flag.kind, flag.window.start) for flag in found}
    gone = []
    for kind, start, end in kept:
        span = Window.of(start, end)
        here = span.intersection(whole) is not None or any(
            flag.kind == kind and flag.window.intersection(span) is not None for flag in found
        )
        if here and (kind, start) not in names:
            gone.append((stored.series_id, kind, start))
    with connection.cursor() as cursor:
        cursor.executemany(
            "DELETE FROM market.anomalies WHERE series_id = %s AND kind = %s AND window_start = %s",
            gone,
        )
        cursor.executemany(
            "INSERT INTO market.anomalies AS a"
            " (series_id, kind, window_start, window_end, candles, detail)"
            " VALUES (%s, %s, %s, %s, %s, %s)"
            " ON CONFLICT (series_id, kind, window_start) DO UPDATE"
            " SET window_end = excluded.window_end, candles = excluded.candles,"
            " detail = excluded.detail"
            " WHERE (a.window_end, a.candles, a.detail)"
            " IS DISTINCT FROM (excluded.window_end, excluded.candles, excluded.detail)",
            [
                (
                    stored.series_id,
                    flag.kind,
                    flag.window.start,
                    flag.window.end,
                    flag.candles,
                    json.dumps(flag.detail),
                )
                for flag in found
            ],
        )
    return [flag for flag in found if flag.window.intersection(window) is not None]


def _with_kept(connection: psycopg.Connection, stored: StoredSeries, window: Window) -> Window:
    """The window with every kept flag that touches it: a run that shrank is found again."""
    while True:
        row = connection.execute(
            "SELECT least(min(window_start), %(start)s), greatest(max(window_end), %(end)s)"
            " FROM market.anomalies WHERE series_id = %(series_id)s"
            " AND window_start < %(end)s AND window_end > %(start)s",
            {"series_id": stored.series_id, "start": window.start, "end": window.end},
        ).fetchone()
        whole = Window.of(*row)
        if whole == window:
            return whole
        window = whole
