"""CSV files for qlib's `dump_bin`: one per instrument, in a folder per frequency.

`60min/BTCUSDT.csv`: symbol, date, open, high, low, close, volume, factor. date is the open
time, UTC: `YYYY-MM-DD HH:MM:SS`, for days and weeks `YYYY-MM-DD`; factor is 1, for nothing is
adjusted. Dump with `--freq 60min --date_field_name date --symbol_field_name symbol
--exclude_fields symbol,date`. qlib itself keeps values as float32.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from candlevault.candles import PRICES
from candlevault.export import decimals
from candlevault.export.candle_set import CandleSet
from candlevault.export.formats.contract import Format
from candlevault.export.stage import Stage

_FREQUENCIES = {
    "1m": "1min",
    "5m": "5min",
    "15m": "15min",
    "30m": "30min",
    "1h": "60min",
    "4h": "240min",
    "1d": "day",
    "1w": "week",
}


def _write(candle_set: CandleSet, stage: Stage, options: dict[str, object]) -> None:
    series, table = candle_set.series, candle_set.table
    frequency = _FREQUENCIES[series.timeframe.code]
    form = "%Y-%m-%d" if frequency in ("day", "week") else "%Y-%m-%d %H:%M:%S"
    opens = table["open_time"].cast(pa.timestamp("ms")).cast(pa.timestamp("s"))
    values = {
        "symbol": pa.repeat(series.symbol, len(candle_set)),
        "date": pc.strftime(opens, format=form),
    }
    values |= {name: decimals.short_text(table[name]) for name in (*PRICES, "volume")}
    values["factor"] = pa.repeat("1", len(candle_set))
    pacsv.write_csv(
        pa.table(values),
        stage.file(f"{frequency}/{series.symbol}.csv"),
        pacsv.WriteOptions(quoting_style="none", quoting_header="none"),
    )


FORMAT = Format("qlib", "CSV files for qlib's dump_bin", _write, timeframes=tuple(_FREQUENCIES))
