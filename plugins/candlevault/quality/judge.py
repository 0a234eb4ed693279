"""The judgement of a batch before it is published."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from candlevault import candles
from candlevault.errors import ConfigurationError
from candlevault.provenance import Fetch, Rejected
from candlevault.quality import suites
from candlevault.series import Series
from candlevault.windows import Window

MAX_ROWS = 50_000
"""How many candles are judged at once: a call costs the same however few they are."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Accepted candles, ascending and unique, and the rejected rows with their reasons.

    `repeated` are the open times (ms UTC, ascending) of rows that came more than once with the
    same values, one for each row that was left out for it.
    """

    accepted: pa.Table
    rejected: list[Rejected]
    repeated: tuple[int, ...] = ()


def judge(
    table: pa.Table,
    fetches: list[Fetch],
    series: Series,
    window: Window,
    closed_before_ms: int,
) -> Judged:
    """Judge the candles of a batch by the suite `incoming_batch`.

    `table.source` counts in `fetches`. Identical duplicates are collapsed first. Prices
    are compared as float64, which keeps the order of decimals; the exact decimals are
    checked once more by the constraints of the tables. Raises ConfigurationError when an
    expectation of the suite fails without naming rows: nothing could be refused by it.
    """
    sent = candles.open_times(table)
    table = candles.collapse(table)
    repeated = _left_out(sent, candles.open_times(table))
    accepted, rejected = [], []
    for part in _parts(table):
        broken = suites.validate(
            _frame(part, fetches, series),
            suites.suite("incoming_batch"),
            {
                "window_start_ms": window.start_ms,
                "window_last_ms": window.end_ms - 1,
                "closed_before_ms": closed_before_ms,
                "last_offset_ms": series.timeframe.step_ms - 1,
                "symbols": [series.symbol],
                "timeframes": [series.timeframe.code],
            },
        )
        reasons: dict[int, list[str]] = {}
        for rule in broken:
            if not rule.rows:
                raise ConfigurationError(
                    f"expectation {rule.name} does not name the rows it refuses"
                )
            for row in rule.rows:
                reasons.setdefault(row, []).append(rule.name)
        keep = np.ones(part.num_rows, dtype=bool)
        keep[list(reasons)] = False
        accepted.append(candles.take(part, keep) if reasons else part)
        rejected += [_rejected(part, row, names, fetches) for row, names in reasons.items()]
    return Judged(candles.concat(accepted), rejected, repeated)


def _left_out(sent: np.ndarray, kept: np.ndarray) -> tuple[int, ...]:
    """The open times that were sent more often than they were kept, as often as that."""
    if len(sent) == len(kept):
        return ()
    times, before = np.unique(sent, return_counts=True)
    _, after = np.unique(kept, return_counts=True)
    return tuple(np.repeat(times, before - after).tolist())


def _parts(table: pa.Table) -> Iterator[pa.Table]:
    """Pieces of about MAX_ROWS; candles of the same open_time stay together."""
    times = candles.open_times(table)
    start = 0
    while start < len(times):
        end = min(start + MAX_ROWS, len(times))
        while end < len(times) and times[end] == times[end - 1]:
            end += 1
        yield table.slice(start, end - start)
        start = end


def _frame(table: pa.Table, fetches: list[Fetch], series: Series):
    import pandas as pd

    step, origin = series.timeframe.step_ms, series.timeframe.origin_ms
    open_ms = table["open_time"].to_numpy()
    columns = {"open_time_ms": open_ms}
    for name in (*candles.PRICES, *candles.AMOUNTS):
        columns[name] = table[name].cast(pa.float64()).to_numpy()
    columns["trades_count"] = table["trades_count"].to_numpy()
    columns["off_grid_ms"] = (open_ms - origin) % step
    columns["closes_at_ms"] = open_ms + step
    columns["close_offset_ms"] = table["close_time"].to_numpy() - open_ms
    source = table["source"].to_numpy()
    for name in ("symbol", "timeframe"):
        said = [getattr(fetch, name) for fetch in fetches]
        labels = sorted(set(said))
        codes = np.array([labels.index(label) for label in said], dtype=np.int32)
        columns[name] = pd.Categorical.from_codes(codes[source], labels)
    return pd.DataFrame(columns)


def _rejected(table: pa.Table, row: int, reasons: list[str], fetches: list[Fetch]) -> Rejected:
    record = table.slice(row, 1).to_pylist()[0]
    source = record.pop("source")
    return Rejected(
        open_time_ms=record["open_time"],
        reasons=tuple(reasons),
        row={name: str(value) for name, value in record.items()},
        url=fetches[source].url,
    )
