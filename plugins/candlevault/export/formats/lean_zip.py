"""Zip files for QuantConnect LEAN: `out` is its data folder.

Hours and days: `crypto/binance/hour/btcusdt_trade.zip`, all candles in one CSV. Minutes:
`crypto/binance/minute/btcusdt/20240101_trade.zip`, a file per UTC day. Perpetual futures lie
below `cryptofuture`. Lines are time, open, high, low, close, volume without a header;
time is `YYYYMMDD HH:MM`, or milliseconds since midnight in files of minutes; both are UTC
and the start of the bar. Decimals are exact.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from candlevault.candles import PRICES
from candlevault.export import decimals
from candlevault.export.candle_set import CandleSet
from candlevault.export.formats.contract import Format
from candlevault.export.stage import Stage
from candlevault.series import Series

_RESOLUTIONS = {"1m": "minute", "1h": "hour", "1d": "daily"}
_DAY_MS = 86_400_000


def _lines(times: pa.Array, table: pa.Table) -> bytes:
    columns = [decimals.short_text(table[name]) for name in (*PRICES, "volume")]
    lines = pc.binary_join_element_wise(times, *columns, ",")
    return ("\n".join(lines.to_pylist()) + "\n").encode("ascii")


def _save(path: Path, entry: str, content: bytes) -> None:
    # With the clock's time in it, the same candles would never give the same file.
    told = zipfile.ZipInfo(entry, date_time=(1980, 1, 1, 0, 0, 0))
    told.compress_type = zipfile.ZIP_DEFLATED
    told.external_attr = 0o644 << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(told, content)


def _folder(series: Series) -> str:
    kind = "cryptofuture" if series.market == "um" else "crypto"
    return f"{kind}/{series.venue}/{_RESOLUTIONS[series.timeframe.code]}"


def _write(candle_set: CandleSet, stage: Stage, options: dict[str, object]) -> None:
    series, table = candle_set.series, candle_set.table
    ticker = series.symbol.lower()
    future = series.market == "um"
    opens = table["open_time"].combine_chunks()
    if series.timeframe.code != "1m":
        times = pc.strftime(opens.cast(pa.timestamp("ms")).cast(pa.timestamp("s")), "%Y%m%d %H:%M")
        entry = f"{ticker}_trade_perp.csv" if future else f"{ticker}.csv"
        target = stage.file(f"{_folder(series)}/{ticker}_trade.zip")
        _save(target, entry, _lines(times, table))
        return
    days, starts = np.unique(opens.to_numpy() // _DAY_MS, return_index=True)
    ends = [*starts[1:], len(opens)]
    for day, first, last in zip(days, starts, ends, strict=True):
        part = table.slice(first, last - first)
        since_midnight = pc.subtract(part["open_time"].combine_chunks(), int(day) * _DAY_MS)
        date = np.datetime64(int(day), "D").astype(str).replace("-", "")
        entry = f"{date}_{ticker}_minute_trade{'_perp' if future else ''}.csv"
        target = stage.file(f"{_folder(series)}/{ticker}/{date}_trade.zip")
        _save(target, entry, _lines(since_midnight.cast(pa.string()), part))


FORMAT = Format(
    "lean",
    "zip files in QuantConnect LEAN's data folder, exact decimals",
    _write,
    timeframes=tuple(_RESOLUTIONS),
    markets=("spot", "um", "crypto"),
)
