"""The conservation law: a candle is exactly what the finer candles of its instrument add up to.

Both are made of the same trades, so every difference is a discrepancy, however small. It is
explained only by a recorded restatement that leads from the one value to the other; until
then it is open, and once the two agree it is settled. Discrepancies are filed under the
coarser series; none is ever deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

import psycopg

from candlevault import timeframe, windows
from candlevault.quality import overlay, restatements
from candlevault.quality.totals import FIELDS, Totals, comparable, differing
from candlevault.storage.database import Connect, retrying
from candlevault.storage.series_registry import StoredSeries
from candlevault.storage.sql import query
from candlevault.timeframe import Timeframe
from candlevault.windows import Window

SAMPLES = 20
"""How many open discrepancies a report names."""

_FINER_AT_ONCE = 200_000
"""Candles added up by one statement: years of minutes are compared piece by piece."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two series of one instrument, each with its id and timeframe."""

    coarse_id: int
    coarse: Timeframe
    finer_id: int
    finer: Timeframe

    def __str__(self) -> str:
        return f"{self.coarse} = {self.finer}"


@dataclass(slots=True)
class RollupReport:
    """What the comparison of a series with its coarser and finer ones found.

    `compared` counts candles by pair (`1d = 1h`); `open`, `explained` and `settled` count
    rows of market.discrepancies, one per candle, finer timeframe and column. `samples` are
    the first open ones.
    """

    compared: dict[str, int] = field(default_factory=dict)
    open: int = 0
    explained: int = 0
    settled: int = 0
    samples: list[dict[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Mismatch:
    open_time: datetime
    field: str
    stored_value: Decimal | None
    other_value: Decimal | None


def examine(
    connect: Connect, stored: StoredSeries, window: Window, dag_run_id: str | None = None
) -> RollupReport:
    """Compare a series over `window` with every finer and every coarser one, on one snapshot.

    Candles of the series itself are compared if they lie wholly inside the window; candles of
    coarser series if they touch it. Only candles count of which every finer open_time is
    stored or known absent. Mismatches are entered in market.discrepancies, those that are
    gone are settled there; run again, it changes nothing but `seen_at`.
    """

    def work() -> RollupReport:
        with connect() as connection:
            family = _family(connection, stored.series_id)
            spans = list(_pairs(stored, window, family))
            if not spans:
                return RollupReport()
            connection.commit()
            hull = Window(
                min(span.start_ms for _, span in spans), max(span.end_ms for _, span in spans)
            )
            with overlay.cold_and_hot(connection, stored.series_id, hull, read_only=False):
                return _examine(connection, family, spans, dag_run_id)

    return retrying(work)


def _examine(
    connection: psycopg.Connection,
    family: list[tuple[int, Timeframe]],
    spans: list[tuple[Pair, Window]],
    dag_run_id: str | None,
) -> RollupReport:
    report = RollupReport()
    for pair, span in spans:
        compared = 0
        ratio = pair.coarse.step_ms // pair.finer.step_ms
        for part in windows.chunks(span, pair.coarse, max(1, _FINER_AT_ONCE // ratio)):
            compared += _examine_pair(connection, pair, family, part, dag_run_id, report)
        report.compared[str(pair)] = compared
    return report


def _family(connection: psycopg.Connection, series_id: int) -> list[tuple[int, Timeframe]]:
    """The series of the same instrument, this one included."""
    rows = connection.execute(
        "SELECT other.series_id, other.timeframe FROM market.series s"
        " JOIN market.series other USING (instrument_id) WHERE s.series_id = %s",
        (series_id,),
    ).fetchall()
    return [(row[0], timeframe.parse(row[1])) for row in rows]


def _pairs(
    stored: StoredSeries, window: Window, family: list[tuple[int, Timeframe]]
) -> Iterator[tuple[Pair, Window]]:
    """The pairs that the series belongs to, coarse ones last, each with the coarse candles'
    window."""
    own = stored.series.timeframe
    for series_id, other in sorted(family, key=lambda member: member[1].step_ms):
        if other.step_ms < own.step_ms:
            start, end = own.ceil(window.start_ms), own.floor(window.end_ms)
            if start < end:
                yield Pair(stored.series_id, own, series_id, other), Window(start, end)
        elif other.step_ms > own.step_ms:
            span = Window(other.floor(window.start_ms), other.ceil(window.end_ms))
            yield Pair(series_id, other, stored.series_id, own), span


def _examine_pair(
    connection: psycopg.Connection,
    pair: Pair,
    family: list[tuple[int, Timeframe]],
    span: Window,
    dag_run_id: str | None,
    report: RollupReport,
) -> int:
    """Enter and settle the discrepancies of a pair; returns how many candles were compared."""
    held = _held(connection, pair, span)
    compared, found = _compare(connection, pair, span, sorted({time for time, _ in held}))
    broken = {time: both for time, both in found.items() if differing(*both)}
    between = [
        member
        for member in family
        if pair.finer.step_ms <= member[1].step_ms <= pair.coarse.step_ms
    ]
    explanations = restatements.explain(connection, pair.coarse, pair.finer, between, broken)
    rows = [
        _Mismatch(time, name, coarse[name], finer[name])
        for time, (coarse, finer) in broken.items()
        for name in differing(coarse, finer)
    ]
    _enter(connection, pair, rows, explanations, dag_run_id)
    gone = _gone(connection, pair, span, held, found)
    _settle(connection, pair, gone)
    explained = sum(row.open_time in explanations for row in rows)
    report.explained += explained
    report.open += len(rows) - explained
    report.settled += len(gone)
    for row in rows:
        if row.open_time not in explanations and len(report.samples) < SAMPLES:
            report.samples.append(_sample(pair, row))
    return compared


def _gone(
    connection: psycopg.Connection,
    pair: Pair,
    span: Window,
    held: list[tuple[datetime, str]],
    found: dict[datetime, tuple[Totals, Totals]],
) -> list[tuple[datetime, str, str]]:
    """What was held and is over: open_time, column, and how it ended.

    What cannot be compared just now is not over.
    """
    left = sorted({time for time, _ in held} - found.keys())
    stored = _stored(connection, pair, left, span)
    gone = []
    for time, name in held:
        if time in found:
            both = found[time]
            if name in comparable(*both) and name not in differing(*both):
                gone.append((time, name, f"both sides say {both[0][name]}"))
        elif time not in stored:
            gone.append((time, name, f"the {pair.coarse} candle is not stored any more"))
    return gone


def _held(connection: psycopg.Connection, pair: Pair, span: Window) -> list[tuple[datetime, str]]:
    """What was seen to differ and is not settled."""
    return connection.execute(
        "SELECT open_time, field FROM market.discrepancies WHERE series_id = %s"
        " AND kind = 'rollup' AND other = %s AND state <> 'settled'"
        " AND open_time >= %s AND open_time < %s ORDER BY open_time, field",
        (pair.coarse_id, pair.finer.code, span.start, span.end),
    ).fetchall()


def _compare(
    connection: psycopg.Connection, pair: Pair, span: Window, held: list[datetime]
) -> tuple[int, dict[datetime, tuple[Totals, Totals]]]:
    """How many candles were compared, and both sides of those that differ or were held."""
    with psycopg.ClientCursor(connection) as cursor:
        # Bound as literals, so that the planner sees the window and reads few partitions.
        rows = cursor.execute(
            query("compare_rollup"),
            {
                "coarse": pair.coarse.code,
                "coarse_id": pair.coarse_id,
                "coarse_step": pair.coarse.step,
                "finer": pair.finer.code,
                "finer_id": pair.finer_id,
                "finer_step": pair.finer.step,
                "parts": pair.coarse.step_ms // pair.finer.step_ms,
                "window_start": span.start,
                "window_end": span.end,
                "held": held,
            },
        ).fetchall()
    width = len(FIELDS) + 1
    found = {
        row[1]: (Totals.of(row[2 : 2 + width]), Totals.of(row[2 + width : 2 + 2 * width]))
        for row in rows
        if row[1] is not None
    }
    return rows[0][0], found


def _stored(
    connection: psycopg.Connection, pair: Pair, open_times: list[datetime], span: Window
) -> set[datetime]:
    """Which of these candles of the coarse series are stored."""
    if not open_times:
        return set()
    with psycopg.ClientCursor(connection) as cursor:
        rows = cursor.execute(
            "SELECT open_time FROM candles WHERE timeframe = %s AND series_id = %s"
            " AND open_time >= %s AND open_time < %s AND open_time = ANY (%s)",
            (pair.coarse.code, pair.coarse_id, span.start, span.end, open_times),
        ).fetchall()
    return {row[0] for row in rows}


def _enter(
    connection: psycopg.Connection,
    pair: Pair,
    rows: list[_Mismatch],
    explanations: dict[datetime, str],
    dag_run_id: str | None,
) -> None:
    if not rows:
        return
    connection.execute(
        query("upsert_rollup_discrepancies"),
        {
            "series_id": pair.coarse_id,
            "other": pair.finer.code,
            "dag_run_id": dag_run_id,
            "open_times": [row.open_time for row in rows],
            "fields": [row.field for row in rows],
            "stored_values": [row.stored_value for row in rows],
            "other_values": [row.other_value for row in rows],
            "explanations": [explanations.get(row.open_time) for row in rows],
        },
    )


def _settle(
    connection: psycopg.Connection, pair: Pair, gone: Iterable[tuple[datetime, str, str]]
) -> None:
    now = datetime.now(UTC)
    with connection.cursor() as cursor:
        cursor.executemany(
            "UPDATE market.discrepancies SET state = 'settled', explanation = %s,"
            " seen_at = clock_timestamp()"
            " WHERE series_id = %s AND kind = 'rollup' AND other = %s"
            " AND open_time = %s AND field = %s",
            [
                (f"{why}, found at {now:%FT%TZ}", pair.coarse_id, pair.finer.code, time, name)
                for time, name, why in gone
            ],
        )


def _sample(pair: Pair, row: _Mismatch) -> dict[str, str]:
    return {
        "timeframe": pair.coarse.code,
        "open_time": f"{row.open_time:%FT%TZ}",
        "finer": pair.finer.code,
        "field": row.field,
        "stored": str(row.stored_value),
        "finer_total": str(row.other_value),
    }
