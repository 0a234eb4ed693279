"""What freqtrade's data handler reads from a data folder, as JSON. Runs in freqtrade's Python.

Arguments: folder, pair, timeframe, candle type (`spot` or `futures`).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import freqtrade
from freqtrade.data.history import get_datahandler
from freqtrade.data.history.history_utils import load_pair_history
from freqtrade.enums import CandleType, TradingMode

NAMES = ["open", "high", "low", "close", "volume"]


def main(folder: str, pair: str, timeframe: str, kind: str) -> None:
    data, candle_type = Path(folder), CandleType.from_string(kind)
    handler = get_datahandler(data, "feather")
    df = handler.ohlcv_load(pair, timeframe, candle_type, fill_missing=False)
    bridged = load_pair_history(pair, timeframe, data, candle_type=candle_type)
    mode = TradingMode.FUTURES if kind == "futures" else TradingMode.SPOT
    available = handler.ohlcv_get_available_data(data, mode)
    first, last, count = handler.ohlcv_data_min_max(pair, timeframe, candle_type)
    told = {
        "version": freqtrade.__version__,
        "rows": [
            [date.value // 10**6 if date.unit == "ns" else int(date.timestamp() * 1000), *values]
            for date, *values in df[["date", *NAMES]].itertuples(index=False)
        ],
        "rows_with_holes_filled": len(bridged),
        "available": [[pair, timeframe, str(kind)] for pair, timeframe, kind in available],
        "bounds": [int(first.timestamp() * 1000), int(last.timestamp() * 1000), count],
    }
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
