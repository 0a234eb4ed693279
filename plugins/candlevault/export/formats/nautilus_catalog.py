"""A Parquet catalog of bars for nautilus_trader: `out` is the catalog's folder.

`data/bar/BTCUSDT.BINANCE-1-HOUR-LAST-EXTERNAL/<first>_<last>.parquet`: open, high, low,
close, volume as 128-bit integers scaled by 10^16 (the high-precision mode of its Linux and
macOS releases), ts_event and ts_init in ns at the bar's close, which is the exclusive end.
Precisions are the fewest decimals that hold all values, or as told; where an instrument
has others, nautilus_trader refuses its bars.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from candlevault.candles import PRICES
from candlevault.errors import InvalidRequest
from candlevault.export import decimals
from candlevault.export.candle_set import CandleSet
from candlevault.export.formats.contract import Format, Option
from candlevault.export.stage import Stage
from candlevault.series import Series

_SCALE = 16
_LARGEST = {"price": 17_014_118_346_046, "size": 34_028_236_692_093}
_ROW_GROUP = 5_000
_STEPS = {
    "1m": "1-MINUTE",
    "5m": "5-MINUTE",
    "15m": "15-MINUTE",
    "30m": "30-MINUTE",
    "1h": "1-HOUR",
    "4h": "4-HOUR",
    "1d": "1-DAY",
    "1w": "1-WEEK",
}


def instrument_id(series: Series) -> str:
    """`BTCUSDT.BINANCE`; perpetual futures `BTCUSDT-PERP.BINANCE`."""
    suffix = "-PERP" if series.market == "um" else ""
    return f"{series.symbol}{suffix}.{series.venue.upper()}"


def bar_type(series: Series) -> str:
    """`BTCUSDT.BINANCE-1-HOUR-LAST-EXTERNAL`."""
    return f"{instrument_id(series)}-{_STEPS[series.timeframe.code]}-LAST-EXTERNAL"


def _precision(kind: str, told: int | None, *columns: pa.ChunkedArray) -> int:
    needed = decimals.places(*columns)
    if told is not None and told < needed:
        raise InvalidRequest(
            f"options.{kind}_precision", f"must be {needed} or more to hold every value", told
        )
    largest = max(pc.max(column).as_py() for column in columns)
    if largest > _LARGEST[kind]:
        rule = f"nautilus holds a {kind} of at most {_LARGEST[kind]}"
        raise InvalidRequest("format", rule, largest)
    return needed if told is None else told


def _write(candle_set: CandleSet, stage: Stage, options: dict[str, object]) -> None:
    series, table = candle_set.series, candle_set.table
    prices = [table[name] for name in PRICES]
    metadata = {
        "bar_type": bar_type(series),
        "instrument_id": instrument_id(series),
        "price_precision": str(_precision("price", options["price_precision"], *prices)),
        "size_precision": str(_precision("size", options["size_precision"], table["volume"])),
    }
    closes = table["open_time"].to_numpy() + series.timeframe.step_ms
    nanoseconds = pa.array(closes.astype(np.uint64) * np.uint64(1_000_000))
    values = {name: decimals.fixed_point(table[name], _SCALE) for name in (*PRICES, "volume")}
    values |= {"ts_event": nanoseconds, "ts_init": nanoseconds}
    fields = [pa.field(name, column.type, nullable=False) for name, column in values.items()]
    bars = pa.table(list(values.values()), schema=pa.schema(fields, metadata))

    folder = f"data/bar/{bar_type(series)}"
    name = f"{folder}/{_moment(closes[0])}_{_moment(closes[-1])}.parquet"
    strangers = [path for path in stage.strangers(folder, "*.parquet") if path != stage.root / name]
    if strangers:
        # The catalog reads every file in the folder: bars would come twice.
        raise InvalidRequest("out", "the catalog has other bars of this type", strangers[0])
    pq.write_table(bars, stage.file(name), row_group_size=_ROW_GROUP)


def _moment(ms: int) -> str:
    """As the catalog names files: `2024-01-01T01-00-00-000000000Z`."""
    moment = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=int(ms))
    return moment.strftime("%Y-%m-%dT%H-%M-%S-000000000Z")


FORMAT = Format(
    "nautilus",
    "Parquet catalog of bars for nautilus_trader",
    _write,
    timeframes=tuple(_STEPS),
    options=(
        Option("price_precision", "nautilus: decimals of prices, the instrument's own", 0, 16),
        Option("size_precision", "nautilus: decimals of volumes, the instrument's own", 0, 16),
    ),
)
