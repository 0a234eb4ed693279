"""Which candles answer a klines request: range rules, the forming candle, the known end.

Both bounds compare with the open time and are inclusive. Without a start the newest candles
answer, with one the oldest from there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal

import numpy as np

from candlevault.simulator.block import Row, encode_row, regular_close
from candlevault.simulator.clock import iso
from candlevault.simulator.source import CandleSeries, NoCandleData, find_row

_FAR_MS = 9_000_000_000_000_000
_MOST_OF_IT = Decimal("0.9")


@dataclass(slots=True)
class Answer:
    """Encoded candles, ascending, in pieces.

    `first_ms` to `last_ms` are the open times that were considered: up to the limit, or to
    the bounds where the limit was not reached.
    """

    pieces: list[bytes]
    count: int
    first_ms: int
    last_ms: int

    def body(self) -> bytes:
        """The JSON array."""
        return b"[" + b",".join(self.pieces) + b"]"


def select(
    series: CandleSeries,
    start_ms: int | None,
    end_ms: int | None,
    limit: int,
    now_ms: int,
    absent: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Answer:
    """The candles that Binance would answer at `now_ms`.

    `absent` marks open times to be left out as if the venue had never had them. Raises
    NoCandleData when the answer would need candles after the last one held.
    """
    timeframe = series.timeframe
    forming_ms = timeframe.floor(now_ms)
    high = min(_FAR_MS if end_ms is None else end_ms, now_ms)
    low = 0 if start_ms is None else start_ms
    if low > high:
        return Answer([], 0, low, high)
    newest = start_ms is None
    unknown = _unknown(series, low, high, forming_ms)
    if newest and unknown:
        raise _ends(series)

    forming = None
    if low <= forming_ms <= high:
        forming = forming_row(series, now_ms)
        if forming and absent is not None and absent(np.array([forming_ms])).any():
            forming = None
    closed_high = min(high, forming_ms - 1)
    wanted = limit - 1 if newest and forming else limit
    pieces, count, edge = _closed(series, low, closed_high, wanted, newest, absent)
    if count < limit and unknown:
        raise _ends(series)
    if forming and count < limit:
        pieces.append(encode_row(forming))
        count += 1
    if count < limit:
        edge = None
    first = edge if newest and edge is not None else low
    last = edge if not newest and edge is not None else high
    return Answer(pieces, count, first, last)


def _closed(
    series: CandleSeries,
    low: int,
    high: int,
    limit: int,
    newest: bool,
    absent: Callable[[np.ndarray], np.ndarray] | None,
) -> tuple[list[bytes], int, int | None]:
    """Closed candles, their number, and the open time of the last one taken."""
    pieces: list[bytes] = []
    count = 0
    edge = None
    if limit <= 0 or low > high:
        return pieces, count, edge
    for block in series.blocks(low, high, newest):
        i, j = block.span(low, high)
        left = limit - count
        if absent is None:
            i, j = (max(i, j - left), j) if newest else (i, min(j, i + left))
            spans = [(i, j)] if i < j else []
        else:
            kept = i + np.flatnonzero(~absent(block.open_times[i:j]))
            kept = kept[-left:] if newest else kept[:left]
            spans = _spans(kept)
        found = [block.encoded(i, j) for i, j in spans]
        count += sum(j - i for i, j in spans)
        if spans:
            edge = int(block.open_times[spans[0][0] if newest else spans[-1][1] - 1])
        pieces = found + pieces if newest else pieces + found
        if count >= limit:
            break
    return pieces, count, edge


def _spans(indexes: np.ndarray) -> list[tuple[int, int]]:
    """Runs of adjacent indexes as [i, j)."""
    if not len(indexes):
        return []
    cuts = np.flatnonzero(np.diff(indexes) != 1) + 1
    return [(int(part[0]), int(part[-1]) + 1) for part in np.split(indexes, cuts)]


def _unknown(series: CandleSeries, low: int, high: int, forming_ms: int) -> bool:
    """Whether the range holds open times whose candles the venue ought to have but lacks."""
    if series.last_ms is None:
        return False
    after = series.last_ms + series.timeframe.step_ms
    if forming_ms <= after:
        # The only open time past the last candle held is the forming one, and that one is
        # made up from the last close.
        return False
    last = min(high, forming_ms)
    if series.ended_ms is not None:
        last = min(last, series.ended_ms - 1)
    return series.timeframe.ceil(max(low, after)) <= last


def _ends(series: CandleSeries) -> NoCandleData:
    end_ms = series.last_ms + series.timeframe.step_ms
    return NoCandleData(f"{series.name} ends at {iso(end_ms)}")


def forming_row(series: CandleSeries, now_ms: int) -> Row | None:
    """The running candle as seen at `now_ms`, or None where the venue has none.

    A candle that is held is shown in part, so that a client which stores it is found out;
    one step past the last candle held a flat one stands at the last close.
    """
    open_ms = series.timeframe.floor(now_ms)
    if row := find_row(series, open_ms):
        done = Decimal(now_ms - open_ms) / series.timeframe.step_ms
        return partial_row(row, done, regular_close(open_ms, series.timeframe))
    if series.last_ms is None or open_ms != series.last_ms + series.timeframe.step_ms:
        return None
    if series.ended_ms is not None and series.ended_ms <= open_ms:
        return None
    last = find_row(series, series.last_ms)
    if last is None:
        raise NoCandleData(f"no candle opens at {iso(series.last_ms)}")
    price, volume, quote = last[4], _zero(last[5]), _zero(last[7])
    close_ms = regular_close(open_ms, series.timeframe)
    return [
        open_ms, price, price, price, price, volume, close_ms, quote, 0, volume, quote, "0"
    ]  # fmt: skip


def partial_row(row: Row, done: Decimal, close_ms: int) -> Row:
    """What a candle may have looked like when `done` (0 to 1) of it had passed.

    Open is right; close lies on the way to the final close; high and low span only those
    two; volumes and trades are the elapsed share, at most nine tenths. Decimal places stay.
    """
    done = min(done, _MOST_OF_IT)
    tick = _grid(*row[1:5])
    open_, final = Decimal(row[1]), Decimal(row[4])
    close = _like(_down(open_ + (final - open_) * done, tick), row[4])
    high, low = max(open_, Decimal(close)), min(open_, Decimal(close))
    volume, quote, taker, taker_quote = (
        _like(_down(Decimal(row[i]) * done, _grid(row[i])), row[i]) for i in (5, 7, 9, 10)
    )
    return [
        row[0],
        row[1],
        row[1] if high == open_ else close,
        row[1] if low == open_ else close,
        close,
        volume,
        close_ms,
        quote,
        int(row[8] * done),
        taker,
        taker_quote,
        "0",
    ]


def _grid(*texts: str) -> Decimal:
    """The coarsest power of ten, at most 1, of which all the texts are multiples."""
    exponents = [Decimal(text).normalize().as_tuple().exponent for text in texts]
    return Decimal(1).scaleb(min(0, *exponents))


def _down(value: Decimal, grid: Decimal) -> Decimal:
    return value.quantize(grid, rounding=ROUND_DOWN)


def _like(value: Decimal, text: str) -> str:
    """`value` written with the decimal places of `text`."""
    return f"{_down(value, Decimal(text)):f}"


def _zero(text: str) -> str:
    return _like(Decimal(0), text)
