"""A set of candles as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from candlevault.candles import PRICES
from candlevault.export import decimals
from candlevault.export.candle_set import CandleSet, span
from candlevault.timeframe import from_ms

_HEADER = ("open_time", *PRICES, "volume", "quote_volume", "trades")
_NAMED = 20


def lines(of: CandleSet, limit: int | None = None) -> Iterator[str]:
    """The candles as a table, then what is missing, then what was read.

    With `limit` at most so many rows, half of them from the end.
    """
    count = len(of)
    shown = np.arange(count)
    cut = None
    if limit is not None and count > limit:
        cut = (limit + 1) // 2
        shown = np.concatenate((shown[:cut], shown[count - (limit - cut) :]))
    table = of.table.take(pa.array(shown))
    cells = [
        [from_ms(ms).strftime("%Y-%m-%dT%H:%M:%SZ") for ms in table["open_time"].to_pylist()],
        *(
            decimals.short_text(table[name]).to_pylist()
            for name in (*PRICES, "volume", "quote_volume")
        ),
        [str(number) for number in table["trades_count"].to_pylist()],
    ]
    widths = [
        max(len(name), *map(len, column), 0) for name, column in zip(_HEADER, cells, strict=True)
    ]
    yield _line(_HEADER, widths)
    for position, row in enumerate(zip(*cells, strict=True)):
        if position == cut:
            yield f"… {count - len(shown):,} more …"
        yield _line(row, widths)
    if cut is not None and cut == len(shown):
        yield f"… {count - len(shown):,} more …"
    yield ""
    yield from _missing(of)
    facts = of.facts()
    yield f"series       {of.series}" + (f" (lifetime {of.lifetime})" if of.lifetime > 1 else "")
    yield f"window       [{facts['window']['start']}, {facts['window']['end']})"
    yield f"candles      {count:,}"
    yield f"as of        {facts['as_of']} (revision {of.revision})"
    yield f"fingerprint  {of.fingerprint}"


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    return "  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))


def _missing(of: CandleSet) -> Iterator[str]:
    gone = [(span(one.window), one.reason) for one in of.absences]
    for title, holes in (
        ("known absent", gone),
        ("LOST", [(span(window), "not stored, not explained") for window in of.lost]),
    ):
        for hole, reason in holes[:_NAMED]:
            yield f"{title:<12} [{hole['start']}, {hole['end']})  {reason}"
        if len(holes) > _NAMED:
            yield f"{title:<12} … and {len(holes) - _NAMED:,} more windows"
