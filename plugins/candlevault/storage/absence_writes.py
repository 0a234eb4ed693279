"""Recording and withdrawing known absences inside a publishing transaction."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import psycopg
import pyarrow as pa

from candlevault import candles, windows
from candlevault.storage.candle_reads import Absence, open_times
from candlevault.storage.series_registry import StoredSeries
from candlevault.timeframe import from_ms, to_ms
from candlevault.windows import Window


@dataclass(frozen=True, slots=True)
class NewAbsence:
    """A window the venue never published, with the answers that show it."""

    window: Window
    reason: str
    evidence: dict[str, object]


def withdraw(
    connection: psycopg.Connection,
    stored: StoredSeries,
    known: list[Absence],
    table: pa.Table,
    revision: int,
) -> int:
    """Withdraw known absences that turned out to hold candles; returns how many.

    What remains of one is kept, except what rested on the series not having begun yet or
    having ended: that is lost again until it is shown anew.
    """
    times = candles.open_times(table)
    withdrawn = 0
    step_ms = stored.series.timeframe.step_ms
    for absence in known:
        left, right = np.searchsorted(times, [absence.window.start_ms, absence.window.end_ms])
        if left == right:
            continue
        withdrawn += 1
        found = [Window(int(t), int(t) + step_ms) for t in times[left:right]]
        for rest in windows.subtract(absence.window, found):
            _keep(connection, absence, rest, found, revision)
        connection.execute(
            "UPDATE market.known_absences SET withdrawn_revision = %s,"
            " withdrawn_reason = 'the venue publishes it now' WHERE absence_id = %s",
            (revision, absence.absence_id),
        )
    return withdrawn


def resume(
    connection: psycopg.Connection, stored: StoredSeries, table: pa.Table, revision: int
) -> int:
    """Turn ends that candles follow into pauses; returns how many.

    A halt looks like an end while it lasts, and candles may come again without one lying in
    what was taken for the time after the end.
    """
    times = candles.open_times(table)
    ended = connection.execute(
        "SELECT absence_id, window_start, window_end FROM market.known_absences"
        " WHERE series_id = %s AND reason = 'after_end' AND withdrawn_revision IS NULL"
        " AND window_end <= %s",
        (stored.series_id, from_ms(times[-1])),
    ).fetchall()
    for absence_id, start, end in ended:
        following = int(times[np.searchsorted(times, to_ms(end))])
        connection.execute(
            "INSERT INTO market.known_absences (series_id, window_start, window_end, reason,"
            " evidence, revision) SELECT series_id, %s, %s, 'pause', evidence || %s, %s"
            " FROM market.known_absences WHERE absence_id = %s",
            (start, end, json.dumps({"resumed_open_time_ms": following}), revision, absence_id),
        )
        connection.execute(
            "UPDATE market.known_absences SET withdrawn_revision = %s,"
            " withdrawn_reason = 'it was traded again' WHERE absence_id = %s",
            (revision, absence_id),
        )
    return len(ended)


def _keep(
    connection: psycopg.Connection,
    absence: Absence,
    rest: Window,
    found: list[Window],
    revision: int,
) -> None:
    """Keep the part `rest` of an absence of which the windows `found` hold candles."""
    reason, more = absence.reason, {}
    if reason == "before_listing":
        if rest.start_ms > found[0].start_ms:
            return
        more = {"first_open_time_ms": found[0].start_ms}
    elif reason == "after_end":
        if rest.start_ms > found[0].start_ms:
            return
        # It came back, so it had not ended: it paused.
        reason, more = "pause", {"resumed_open_time_ms": found[0].start_ms}
    connection.execute(
        "INSERT INTO market.known_absences (series_id, window_start, window_end, reason,"
        " evidence, revision) SELECT series_id, %s, %s, %s, evidence || %s, %s"
        " FROM market.known_absences WHERE absence_id = %s",
        (rest.start, rest.end, reason, json.dumps(more), revision, absence.absence_id),
    )


def insert(
    connection: psycopg.Connection,
    stored: StoredSeries,
    found: Iterable[NewAbsence],
    known: list[Absence],
    revision: int,
) -> int:
    """Record what is not recorded yet; returns how many open times that explains.

    What is stored is never explained away; `stale` tells such candles.
    """
    explained = 0
    timeframe = stored.series.timeframe
    for absence in found:
        held = windows.runs(open_times(connection, stored, absence.window), timeframe)
        already = [one.window for one in known] + held
        for part in windows.subtract(absence.window, already):
            connection.execute(
                "INSERT INTO market.known_absences (series_id, window_start, window_end, reason,"
                " evidence, revision) VALUES (%s, %s, %s, %s, %s, %s)",
                (
                    stored.series_id,
                    part.start,
                    part.end,
                    absence.reason,
                    json.dumps(absence.evidence),
                    revision,
                ),
            )
            explained += windows.expected_count(part, timeframe)
        connection.execute(
            "UPDATE market.known_absences SET examined_at = clock_timestamp()"
            " WHERE series_id = %s AND withdrawn_revision IS NULL"
            " AND window_start < %s AND window_end > %s",
            (stored.series_id, absence.window.end, absence.window.start),
        )
    return explained


def stale(
    connection: psycopg.Connection, stored: StoredSeries, found: Iterable[NewAbsence]
) -> list[Window]:
    """Runs of stored candles of which `found` shows that the venue has them no more."""
    return [
        run
        for absence in found
        if absence.reason in ("not_published", "pause")
        for run in windows.runs(
            open_times(connection, stored, absence.window), stored.series.timeframe
        )
    ]
