"""Stored candles for notebooks and for other tools: read exactly, or written as files.

    from candlevault.export import candles
    frame = candles("BTCUSDT", "1h", "2024-01-01", "2024-02-01")

On the command line: `python -m candlevault.export`.
"""

from __future__ import annotations

from candlevault.export.candle_set import CandleSet, KnownAbsence
from candlevault.export.combined import composite, lineage
from candlevault.export.reading import candles, read
from candlevault.export.writing import Written, write

__all__ = [
    "CandleSet",
    "KnownAbsence",
    "Written",
    "candles",
    "composite",
    "lineage",
    "read",
    "write",
]
