"""Candles ready to be served: sorted open times beside their preformatted JSON rows.

A row is never a Python object here: a block of n candles is one int64 array of open times,
one bytes object and one int64 array of offsets, so that an answer is a slice of bytes.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

import numpy as np

from candlevault.timeframe import Timeframe

Row = list
"""One kline as Binance answers it: [open_time, "o", "h", "l", "c", "v", close_time, "q",
trades, "taker base", "taker quote", "0"]."""


@dataclass(frozen=True, slots=True)
class Block:
    """`open_times` ascending; `data` holds the rows joined by commas, row i at
    `offsets[i]` up to the comma before `offsets[i + 1]`."""

    open_times: np.ndarray
    data: bytes
    offsets: np.ndarray

    @classmethod
    def of(cls, open_times: np.ndarray, rows: list[bytes]) -> Block:
        """A block of open times and their encoded rows."""
        lengths = np.fromiter((len(row) + 1 for row in rows), dtype=np.int64, count=len(rows))
        offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
        return cls(np.asarray(open_times, dtype=np.int64), b",".join(rows), offsets)

    def __len__(self) -> int:
        return len(self.open_times)

    @property
    def nbytes(self) -> int:
        """Memory held."""
        return len(self.data) + self.open_times.nbytes + self.offsets.nbytes

    def span(self, first_ms: int, last_ms: int) -> tuple[int, int]:
        """Indexes [i, j) of the rows with first_ms <= open_time <= last_ms."""
        i = int(np.searchsorted(self.open_times, first_ms, side="left"))
        j = int(np.searchsorted(self.open_times, last_ms, side="right"))
        return i, max(i, j)

    def part(self, i: int, j: int) -> Block:
        """Rows i..j-1 as a block of their own; nothing is copied."""
        return Block(self.open_times[i:j], self.data, self.offsets[i : j + 1])

    def encoded(self, i: int, j: int) -> bytes:
        """Rows i..j-1 as JSON, comma-joined, without the outer brackets; i < j."""
        return self.data[self.offsets[i] : self.offsets[j] - 1]

    def rows(self, i: int, j: int) -> list[Row]:
        """Rows i..j-1 as parsed lists; decimals stay strings."""
        return json.loads(b"[" + self.encoded(i, j) + b"]") if i < j else []


def encode_row(row: Row) -> bytes:
    """One row as Binance writes it: no blanks."""
    return json.dumps(row, separators=(",", ":")).encode()


def pack(rows: Iterable[Row]) -> Block:
    """A block of parsed rows, which must ascend."""
    rows = list(rows)
    open_times = np.fromiter((row[0] for row in rows), dtype=np.int64, count=len(rows))
    return Block.of(open_times, [encode_row(row) for row in rows])


class BlockCache:
    """Blocks by key, the least recently used leaving first once `max_bytes` are exceeded.

    Safe to use from several threads; a block may be built twice, never half.
    """

    def __init__(self, max_bytes: int = 256 * 2**20) -> None:
        self._max_bytes = max_bytes
        self._held: OrderedDict[Hashable, Block] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable, build: Callable[[], Block]) -> Block:
        """The block of `key`, built on first use."""
        with self._lock:
            block = self._held.get(key)
            if block is not None:
                self._held.move_to_end(key)
                return block
        block = build()
        with self._lock:
            if key not in self._held:
                self._held[key] = block
                self._bytes += block.nbytes
                while self._bytes > self._max_bytes and len(self._held) > 1:
                    _, dropped = self._held.popitem(last=False)
                    self._bytes -= dropped.nbytes
        return block


def regular_close(open_ms: int, timeframe: Timeframe) -> int:
    """The last millisecond of the candle."""
    return open_ms + timeframe.step_ms - 1
