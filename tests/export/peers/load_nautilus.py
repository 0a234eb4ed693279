"""What nautilus_trader's catalog reads from a folder, as JSON. Runs in nautilus_trader's Python.

Arguments: folder, bar type. Standard input: JSON rows of the bars that are expected, as open,
high, low, close, volume (text), ts_event; each is made a Bar and compared with the one read.
"""

from __future__ import annotations

import json
import sys
from decimal import Decimal

import nautilus_trader
from nautilus_trader.model.data import Bar, BarType
from nautilus_trader.model.objects import Price, Quantity
from nautilus_trader.persistence.catalog import ParquetDataCatalog


def made(bar_type: BarType, row: list, like: Bar) -> Bar:
    places, digits = like.open.precision, like.volume.precision
    prices = [Price.from_str(f"{Decimal(text):.{places}f}") for text in row[:4]]
    volume = Quantity.from_str(f"{Decimal(row[4]):.{digits}f}")
    return Bar(bar_type, *prices, volume, row[5], row[5])


def main(folder: str, name: str) -> None:
    expected, bar_type = json.load(sys.stdin), BarType.from_str(name)
    catalog = ParquetDataCatalog(folder)
    bars = catalog.bars(bar_types=[name])
    middle = expected[len(expected) // 2][5]
    told = {
        "version": nautilus_trader.__version__,
        "types": catalog.list_data_types(),
        "rows": [
            [str(v.as_decimal()) for v in (bar.open, bar.high, bar.low, bar.close, bar.volume)]
            + [bar.ts_event, bar.ts_init]
            for bar in bars
        ],
        "precisions": sorted({(bar.open.precision, bar.volume.precision) for bar in bars}),
        "equal": len(bars) == len(expected)
        and all(
            bar == made(bar_type, row, bar) and bar.bar_type == bar_type
            for bar, row in zip(bars, expected, strict=True)
        ),
        "from_the_middle": len(catalog.bars(bar_types=[name], start=middle)),
        "intervals": catalog.get_intervals(Bar, name),
    }
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
