"""Feather files for freqtrade: `out` is its data folder, such as `user_data/data/binance`.

`BTC_USDT-1h.feather`, futures `futures/BTC_USDT_USDT-1h-futures.feather`: date (open time,
timestamp[ms, UTC]), open, high, low, close, volume as float64, lz4. The format has no place
for absences, and freqtrade fills holes with flat candles as it loads; the sidecar knows them.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.feather as feather

from candlevault.candles import PRICES
from candlevault.errors import InvalidRequest
from candlevault.export import decimals
from candlevault.export.candle_set import CandleSet
from candlevault.export.formats.contract import Format
from candlevault.export.stage import Stage


def file_name(candle_set: CandleSet) -> str:
    """Where freqtrade looks for the pair, relative to its data folder."""
    base, quote = candle_set.base_asset, candle_set.quote_asset
    if not base or not quote:
        raise InvalidRequest(
            "symbol",
            "its base and quote asset are not known to the store",
            candle_set.series.symbol,
        )
    code = candle_set.series.timeframe.code
    if candle_set.series.market == "um":
        # A linear contract settles in its quote asset.
        return f"futures/{base}_{quote}_{quote}-{code}-futures.feather"
    return f"{base}_{quote}-{code}.feather"


def _write(candle_set: CandleSet, stage: Stage, options: dict[str, object]) -> None:
    table = candle_set.table
    values = {"date": table["open_time"].cast(pa.timestamp("ms", tz="UTC"))}
    for name in (*PRICES, "volume"):
        values[name] = pa.array(decimals.floats(table[name]))
    target = stage.file(file_name(candle_set))
    feather.write_feather(pa.table(values), str(target), compression="lz4")


FORMAT = Format(
    "freqtrade",
    "Feather files in freqtrade's data folder, float64",
    _write,
    markets=("spot", "um", "crypto"),
)
