"""The shared real candles as series in a store: every file of every symbol, and what was missing.

A hole inside a file is one of the venue and becomes a known absence; what lies between two
files of a series is not stored and not explained, so nothing is compared there.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from candlevault import candles, windows
from candlevault.series import Series, parse
from candlevault.storage import ledger, publish
from candlevault.storage.database import Connect
from candlevault.storage.publish import NewAbsence
from candlevault.storage.series_registry import StoredSeries
from candlevault.timeframe import Timeframe
from candlevault.windows import Window
from tests.support import candles as make
from tests.support.candles import ms

DAY = 86_400_000
MARKETS = {"spot": "spot", "um_futures": "um"}
TOLD = (*candles.PRICES, "volume")
_NAMES = {
    "count": "trades_count",
    "taker_buy_volume": "taker_buy_base_volume",
    "taker_buy_quote_volume": "taker_buy_quote_volume",
}


@dataclass(frozen=True)
class RealSeries:
    """A series of the shared data and its files, ascending."""

    series: Series
    files: tuple[Path, ...]


def real_series(shared_data: Path) -> list[RealSeries]:
    """Every series of the shared data, by market, symbol and file name."""
    found: dict[Series, list[Path]] = {}
    for path in sorted((shared_data / "klines").glob("*/*/*.csv.gz")):
        market, symbol, name = path.parts[-3:]
        code = name.removesuffix(".csv.gz").split("_")[0]
        found.setdefault(parse("binance", MARKETS[market], symbol, code), []).append(path)
    return [RealSeries(series, tuple(files)) for series, files in found.items()]


def read(path: Path, timeframe: Timeframe) -> pa.Table:
    """The candles of a shared file; amounts that it lacks are 0, close times regular."""
    table = pacsv.read_csv(
        io.BytesIO(gzip.decompress(path.read_bytes())),
        convert_options=pacsv.ConvertOptions(
            column_types={
                "open_time": pa.int64(),
                "close_time": pa.int64(),
                "count": pa.int64(),
                **dict.fromkeys(candles.PRICES, candles.PRICE),
                **dict.fromkeys(
                    ("volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume"),
                    candles.AMOUNT,
                ),
            }
        ),
    )
    table = table.rename_columns([_NAMES.get(name, name) for name in table.column_names])
    regular = pc.add(table["open_time"], timeframe.step_ms - 1)
    columns = {
        field.name: pc.fill_null(table[field.name], pa.scalar(0, field.type))
        for field in candles.SCHEMA
        if field.name not in ("close_time", "source")
    }
    columns["close_time"] = pc.coalesce(table["close_time"], regular)
    columns["source"] = pa.array(np.zeros(table.num_rows, dtype=np.int32))
    return pa.table([columns[name] for name in candles.SCHEMA.names], candles.SCHEMA)


def absences(table: pa.Table, timeframe: Timeframe) -> list[NewAbsence]:
    """What the venue never published between the first and the last candle of a file."""
    times = candles.open_times(table)
    whole = Window(int(times[0]), int(times[-1]) + timeframe.step_ms)
    return [
        NewAbsence(hole, "not_published", {"rest": ["shared data"], "archive": ["shared data"]})
        for hole in windows.subtract(whole, windows.runs(times, timeframe))
    ]


def listing(of: RealSeries, table: pa.Table) -> list[NewAbsence]:
    """The part of its first day in which the instrument was not listed yet, as an absence.

    Only the main file of a series begins with the listing; a piece begins anywhere.
    """
    first = int(candles.open_times(table)[0])
    day = first - first % DAY
    if "_" in of.files[0].name or first == day or first < ms("2020-01-02"):
        return []
    evidence = {"rest": ["shared data"], "first_open_time_ms": first}
    return [NewAbsence(Window(day, first), "before_listing", evidence)]


def irregular(shared_data: Path, name: str) -> list[dict[str, str]]:
    """The lines of a file of irregular candles."""
    with (shared_data / "irregular" / name).open(encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text))


def of_prices(line: dict[str, str], timeframe: Timeframe) -> make.Row:
    """The row of a line that has prices and volume only."""
    given = {name: Decimal(line[name]) for name in TOLD}
    bare = dict.fromkeys((*candles.AMOUNTS, "trades_count"), 0)
    return make.row(timeframe, int(line["open_time"]), **(bare | given))


def restated(shared_data: Path) -> dict[Series, pa.Table]:
    """Hourly candles as they were before Binance restated them.

    Of several earlier versions the oldest is kept. A candle that differs nowhere from today's,
    or was removed since, is left out.
    """
    told: dict[Series, list[make.Row]] = {}
    lines = [line for line in irregular(shared_data, "restated_candles_1h.csv") if line["open"]]
    for line in sorted(lines, key=lambda line: line["snapshot"]):
        series = parse("binance", "spot", line["symbol"], line["interval"])
        told.setdefault(series, []).append(of_prices(line, series.timeframe))
    return {
        of.series: _differing(of, told[of.series])
        for of in real_series(shared_data)
        if of.series in told
    }


def _differing(of: RealSeries, told: list[make.Row]) -> pa.Table:
    """The first of the rows of each open time that is not what the files say."""
    table = candles.concat([read(path, of.series.timeframe) for path in of.files])
    restated_times = np.unique([row["open_time"] for row in told])
    table = candles.take(table, np.isin(candles.open_times(table), restated_times))
    final = {row["open_time"]: row for row in table.to_pylist()}
    kept: dict[int, make.Row] = {}
    for row in told:
        today = final.get(row["open_time"], row)
        if any(row[name] != today[name] for name in TOLD):
            kept.setdefault(row["open_time"], row)
    return make.table([row for _, row in sorted(kept.items())])


def store(connect: Connect, of: RealSeries, before: pa.Table | None = None) -> StoredSeries:
    """Publish a series' files; candles of `before` stand in them first and are restated then.

    The series is returned as registered, with revision 0.
    """
    stored = make.register(connect, of.series)
    old = candles.open_times(before if before is not None else candles.empty())
    restatements = []
    for position, path in enumerate(of.files):
        table = read(path, of.series.timeframe)
        missing = absences(table, of.series.timeframe)
        missing += listing(of, table) if position == 0 else []
        times = candles.open_times(table)
        if (changed := np.isin(times, old)).any():
            restatements.append(candles.take(table, changed))
            then = candles.take(before, np.isin(old, times))
            table = candles.collapse(candles.concat([candles.take(table, ~changed), then]))
        put(connect, stored, table, missing)
    for table in restatements:
        put(connect, stored, table)
    return stored


def put(
    connect: Connect, stored: StoredSeries, table: pa.Table, missing: Sequence[NewAbsence] = ()
) -> None:
    """Publish candles and absences of a series."""
    times = candles.open_times(table)
    start = min([int(times[0]), *(absence.window.start_ms for absence in missing)])
    span = Window(start, int(times[-1]) + stored.series.timeframe.step_ms)
    claim = ledger.claim(connect, stored.series_id, span, "load", "test")
    provider = "binance_archive" if stored.series.market == "spot" else "binance_um_archive"
    fetches = [make.fetch(stored.series, provider, rows=table.num_rows)]
    publish.publish(connect, stored, claim, publish.Batch(table, fetches, list(missing)))
