"""Which recorded restatement explains that a candle and its finer candles disagree."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import psycopg

from candlevault.quality.totals import COARSE, Totals, holder_of_old
from candlevault.storage.sql import query
from candlevault.timeframe import Timeframe, from_ms, to_ms

_NAMED = 4
"""How many restated candles a sentence names."""


@dataclass(frozen=True, slots=True)
class _Restatement:
    """What the restated candles of a bucket added up to before, and what they do now."""

    timeframe: Timeframe
    before: Totals
    now: Totals
    open_times: list[datetime]
    superseded_at: datetime
    revision: int


def explain(
    connection: psycopg.Connection,
    coarse: Timeframe,
    finer: Timeframe,
    members: list[tuple[int, Timeframe]],
    broken: dict[datetime, tuple[Totals, Totals]],
) -> dict[datetime, str]:
    """A sentence for every open_time of `broken` that a restatement explains exactly.

    `broken` holds the totals of the coarse candle and of its finer ones; `members` are the
    instrument's series (id, timeframe) from `finer` to `coarse`, both included. A restatement
    of any of them explains a difference if it leads from the one side's values to the other's.
    """
    explanations: dict[datetime, str] = {}
    # The two sides themselves before what lies between them.
    order = {coarse.code: 0, finer.code: 1}
    for series_id, timeframe in sorted(members, key=lambda m: order.get(m[1].code, 2)):
        left = sorted(broken.keys() - explanations.keys())
        if not left:
            break
        for bucket, restated in _restated(connection, series_id, timeframe, coarse, left):
            if bucket in explanations:
                continue
            holder = holder_of_old(restated.now, restated.before, *broken[bucket])
            if holder is not None:
                explanations[bucket] = _sentence(restated, coarse, finer, holder == COARSE)
    return explanations


def _restated(
    connection: psycopg.Connection,
    series_id: int,
    timeframe: Timeframe,
    coarse: Timeframe,
    buckets: list[datetime],
) -> list[tuple[datetime, _Restatement]]:
    """The restatements of a series inside the coarse candles `buckets`, newest first."""
    with psycopg.ClientCursor(connection) as cursor:
        # Bound as literals, so that the planner sees the window and reads few partitions.
        rows = cursor.execute(
            query("select_restated_totals"),
            {
                "series_id": series_id,
                "timeframe": timeframe.code,
                "bucket_step": coarse.step,
                "buckets": buckets,
                "window_start": buckets[0],
                "window_end": from_ms(to_ms(buckets[-1]) + coarse.step_ms),
            },
        ).fetchall()
    found: list[tuple[datetime, _Restatement]] = []
    now: dict[datetime, Totals] = {}
    for bucket, state, *columns, open_times, superseded_at, revision in rows:
        totals = Totals.of(columns)
        if state is None:
            now[bucket] = totals
        elif bucket in now:
            restatement = _Restatement(
                timeframe, totals, now[bucket], open_times, superseded_at, revision
            )
            found.append((bucket, restatement))
    return found


def _sentence(
    restated: _Restatement, coarse: Timeframe, finer: Timeframe, coarse_is_old: bool
) -> str:
    times = [f"{time:%FT%H:%MZ}" for time in restated.open_times]
    named = ", ".join(times[:_NAMED])
    if len(times) > _NAMED:
        named += f" and {len(times) - _NAMED} more"
    candles = "candle" if len(times) == 1 else "candles"
    event = (
        f"{restated.timeframe} {candles} {named} restated at {restated.superseded_at:%FT%TZ}"
        f" (revision {restated.revision} of that series)"
    )
    old, new = (coarse, finer) if coarse_is_old else (finer, coarse)
    told = f"the {old} candles still hold the old values"
    if restated.timeframe not in (coarse, finer):
        told += f", the {new} candles the new ones"
    return f"{event}: {told}"
