"""CSV for people and spreadsheets: candles in one file, known absences in another.

`BTCUSDT__1h.csv` has a header, ISO times in UTC (close_time inclusive) and decimals with
eight places; `BTCUSDT__1h.absences.csv` has start, end (exclusive) and reason. With
`mark_absent` every expected open time that is not stored gets a row of its own, empty but
for open_time, `state` (absent or lost; stored on the others) and `reason`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from candlevault.candles import AMOUNTS, PRICES
from candlevault.export import decimals
from candlevault.export.candle_set import CandleSet
from candlevault.export.formats.contract import Format, Option
from candlevault.export.stage import Stage
from candlevault.windows import open_times_of

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def cell(text: str) -> str:
    """The text as a CSV cell that no spreadsheet takes for a formula."""
    safe = f"'{text}" if text.startswith(_FORMULA) else text
    quoted = safe.replace('"', '""')
    return f'"{quoted}"' if any(mark in safe for mark in ',"\r\n') else safe


def _seconds(times: pa.Array) -> pa.Array:
    whole = times.cast(pa.timestamp("ms")).cast(pa.timestamp("s"))
    return pc.strftime(whole, format="%Y-%m-%dT%H:%M:%SZ")


def _milliseconds(times: pa.Array) -> pa.Array:
    return pc.strftime(times.cast(pa.timestamp("ms")), format="%Y-%m-%dT%H:%M:%SZ")


def _rows(candle_set: CandleSet) -> pa.Table:
    table = candle_set.table
    made = {"open_time": _seconds(table["open_time"])}
    for name in (*PRICES, *AMOUNTS):
        made[name] = decimals.plain_text(table[name])
    made["trades_count"] = table["trades_count"].cast(pa.string())
    made["close_time"] = _milliseconds(table["close_time"])
    return pa.table(made)


def _marked(candle_set: CandleSet) -> pa.Table:
    """The rows with those that are missing between them, ascending."""
    timeframe = candle_set.series.timeframe
    missing = [(gone.window, "absent", cell(gone.reason)) for gone in candle_set.absences]
    missing += [(window, "lost", "") for window in candle_set.lost]
    stored = candle_set.table["open_time"].to_numpy()
    rows = _rows(candle_set)
    rows = rows.append_column("state", pa.repeat("stored", rows.num_rows))
    parts = [rows.append_column("reason", pa.repeat("", rows.num_rows))]
    times = [stored]
    for window, state, reason in missing:
        # What is stored counts as stored even where an absence was recorded.
        gone = np.setdiff1d(open_times_of([window], timeframe), stored, assume_unique=True)
        values = {name: pa.nulls(len(gone), pa.string()) for name in rows.column_names}
        values["open_time"] = _seconds(pa.array(gone))
        values["state"] = pa.repeat(state, len(gone))
        parts.append(pa.table(values | {"reason": pa.repeat(reason, len(gone))}))
        times.append(gone)
    order = np.argsort(np.concatenate(times), kind="stable")
    return pa.concat_tables(parts).take(pa.array(order))


def _save(columns: pa.Table, path: Path) -> None:
    """Cells are joined as they are; empty where null."""
    with path.open("wb") as file:
        file.write((",".join(columns.column_names) + "\n").encode("ascii"))
        for part in columns.to_batches(max_chunksize=100_000):
            lines = pc.binary_join_element_wise(
                *part.columns, ",", null_handling="replace", null_replacement=""
            )
            file.write("".join(f"{line}\n" for line in lines.to_pylist()).encode("utf-8"))


def _write(candle_set: CandleSet, stage: Stage, options: dict[str, object]) -> None:
    slug = candle_set.series.slug
    rows = _marked(candle_set) if options["mark_absent"] else _rows(candle_set)
    _save(rows, stage.file(f"{slug}.csv"))
    gone = candle_set.facts()["known_absences"]
    absences = {
        "start": pa.array([one["start"] for one in gone], pa.string()),
        "end": pa.array([one["end"] for one in gone], pa.string()),
        "reason": pa.array([cell(one["reason"]) for one in gone], pa.string()),
    }
    _save(pa.table(absences), stage.file(f"{slug}.absences.csv"))


FORMAT = Format(
    "csv",
    "CSV, decimals as text, known absences in a second file",
    _write,
    options=(Option("mark_absent", "csv: a marked empty row for every candle that is missing"),),
)
