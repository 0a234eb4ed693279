"""Discrepancies: two sources that should agree about a candle and do not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

import psycopg

from candlevault.storage.series_registry import StoredSeries
from candlevault.timeframe import from_ms
from candlevault.windows import Window


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One field of one candle: what is stored, what the other source says.

    `other` names the source; `ours` is None where nothing is stored; `explanation` is None
    while nobody knows why they differ.
    """

    open_time_ms: int
    other: str
    field: str
    ours: Decimal | int | None
    theirs: Decimal | int
    explanation: str | None = None

    @property
    def difference_pct(self) -> float | None:
        """(theirs - ours) / ours in percent; None where ours is 0."""
        return None if not self.ours else float((self.theirs - self.ours) / self.ours * 100)


def hold(
    connection: psycopg.Connection,
    stored: StoredSeries,
    kind: str,
    found: Iterable[Disagreement],
    dag_run_id: str | None = None,
) -> int:
    """Record disagreements of a kind (`archive`, `second_source`); one seen before is brought
    up to date, and one that had been settled is detected again. Returns how many are new or
    were settled before."""
    new = 0
    for one in found:
        row = connection.execute(
            "INSERT INTO market.discrepancies AS d (series_id, open_time, kind, other, field,"
            " stored_value, other_value, difference_pct, state, explanation, dag_run_id)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
            " ON CONFLICT (series_id, open_time, kind, other, field) DO UPDATE"
            " SET stored_value = excluded.stored_value, other_value = excluded.other_value,"
            "     difference_pct = excluded.difference_pct, state = excluded.state,"
            "     explanation = excluded.explanation, seen_at = clock_timestamp(),"
            "     detected_at = CASE d.state WHEN 'settled' THEN clock_timestamp()"
            "                                ELSE d.detected_at END,"
            "     dag_run_id = CASE d.state WHEN 'settled' THEN excluded.dag_run_id"
            "                               ELSE d.dag_run_id END"
            # What the statement found, not what it leaves.
            " RETURNING NOT EXISTS (SELECT FROM market.discrepancies before"
            "   WHERE before.discrepancy_id = d.discrepancy_id AND before.state <> 'settled')",
            (
                stored.series_id,
                from_ms(one.open_time_ms),
                kind,
                one.other,
                one.field,
                one.ours,
                one.theirs,
                one.difference_pct,
                "open" if one.explanation is None else "explained",
                one.explanation,
                dag_run_id,
            ),
        ).fetchone()
        new += row[0]
    return new


def settle(
    connection: psycopg.Connection,
    stored: StoredSeries,
    kind: str,
    other: str,
    window: Window,
    still: Iterable[tuple[int, str]],
    compared: Iterable[int],
    explanation: str,
) -> int:
    """Settle what was open or explained against `other` in `window`, was compared again
    (open times in ms), and is not in `still` (pairs of open_time in ms and field). Returns
    how many."""
    seen = {from_ms(time_ms) for time_ms in compared}
    keep = {(from_ms(time_ms), field) for time_ms, field in still}
    rows = connection.execute(
        "SELECT discrepancy_id, open_time, field FROM market.discrepancies"
        " WHERE series_id = %s AND kind = %s AND other = %s AND state <> 'settled'"
        " AND open_time >= %s AND open_time < %s",
        (stored.series_id, kind, other, window.start, window.end),
    ).fetchall()
    over = [row[0] for row in rows if row[1] in seen and (row[1], row[2]) not in keep]
    connection.execute(
        "UPDATE market.discrepancies SET state = 'settled', explanation = %s,"
        " seen_at = clock_timestamp() WHERE discrepancy_id = ANY(%s)",
        (explanation, over),
    )
    return len(over)
