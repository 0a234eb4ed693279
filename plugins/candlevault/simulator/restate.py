"""Restated history: candles that the venue later changed, added or took back.

A fault disturbs answers while it is switched on; a restatement is what history is from then
on, on the surfaces named, until the exchange is reset. Each timeframe is restated for itself.
"""

from __future__ import annotations

import itertools
import re
import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from candlevault.errors import InvalidRequest
from candlevault.simulator.block import Block, Row, encode_row, regular_close
from candlevault.simulator.clock import instant_ms
from candlevault.simulator.faults import COLUMN, WHOLE, restated
from candlevault.simulator.source import CandleSeries, NoCandleData, Source, find_row

SURFACES = ("rest", "monthly", "daily")
"""REST, and the two kinds of archive files."""

Key = tuple[str, str, str]
"""Market, symbol, timeframe."""

_ADDRESS = {"market", "symbol", "timeframe", "open_time"}
_NEEDED = ("open", "high", "low", "close", "volume")
_DECIMAL = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,18})?", re.ASCII)
_INTEGER = re.compile(r"-?[0-9]{1,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Restated:
    """What stands at an open_time now: an encoded row, or None for no candle; set as number
    `number`, when the venue's clock showed `at_ms`."""

    row: bytes | None
    number: int
    at_ms: int


class Restatements:
    """All restatements of an exchange. Safe to use from several threads."""

    def __init__(self) -> None:
        self._layers: dict[tuple[str, Key], dict[int, Restated]] = {}
        # Never begins anew: what was packed before a reset must not be taken for later news.
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def add(self, sent: object, source: Source, now_ms: int) -> dict:
        """Restate `{"rows": [{market, symbol, timeframe, open_time, values}], "surfaces"}`.

        `values` maps columns to new values (the others stay), or is null: there is no such
        candle. Where none was, open, high, low, close and volume make a new one. Surfaces
        that are not named keep what they have; left out, all are meant. All rows are
        restated or none; raises InvalidRequest naming the wrong part.
        """
        if not isinstance(sent, dict) or set(sent) - {"rows", "surfaces"}:
            raise InvalidRequest("restate", "must be an object with rows and surfaces", sent)
        surfaces = sent.get("surfaces", list(SURFACES))
        if not isinstance(surfaces, list) or not surfaces or not set(surfaces) <= set(SURFACES):
            raise InvalidRequest("restate.surfaces", f"may name {', '.join(SURFACES)}", surfaces)
        rows = sent.get("rows")
        if not isinstance(rows, list) or not rows:
            raise InvalidRequest("restate.rows", "must be a list of rows", rows)
        with self._lock:
            number = next(self._numbers)
            layers = {place: dict(layer) for place, layer in self._layers.items()}
            for index, row in enumerate(rows):
                self._apply(layers, row, f"restate.rows[{index}]", surfaces, source, number, now_ms)
            self._layers = layers
        return {"restated": len(rows), "surfaces": surfaces}

    def clear(self) -> None:
        """History is again what it was at the start."""
        with self._lock:
            self._layers = {}

    def count(self) -> int:
        """How many candles differ from what they were, each surface counted by itself."""
        return sum(len(layer) for layer in self._layers.values())

    def over(self, series: CandleSeries, surface: str, key: Key) -> CandleSeries:
        """The series as the surface tells it now."""
        layer = self._layers.get((surface, key))
        return RestatedSeries(series, layer) if layer else series

    def latest(self, surface: str, key: Key, start_ms: int, end_ms: int) -> Restated | None:
        """The newest restatement of a candle that opens in [start_ms, end_ms), or None."""
        layer = self._layers.get((surface, key), {})
        inside = [found for open_ms, found in layer.items() if start_ms <= open_ms < end_ms]
        return max(inside, key=lambda found: found.number, default=None)

    def _apply(
        self,
        layers: dict[tuple[str, Key], dict[int, Restated]],
        sent: object,
        where: str,
        surfaces: list[str],
        source: Source,
        number: int,
        now_ms: int,
    ) -> None:
        if not isinstance(sent, dict) or set(sent) != _ADDRESS | {"values"}:
            raise InvalidRequest(where, f"must have {', '.join(sorted(_ADDRESS))}, values", sent)
        key = (sent["market"], sent["symbol"], sent["timeframe"])
        open_ms = instant_ms(sent["open_time"], f"{where}.open_time")
        series = _series(source, key, where)
        _require_open_time(series, open_ms, f"{where}.open_time")
        values = _values(sent["values"], f"{where}.values")
        if values is None and open_ms == series.last_ms:
            raise InvalidRequest(f"{where}.values", "cannot be null for the last candle held")
        held = False
        for surface in surfaces:
            layer = layers.setdefault((surface, key), {})
            told = RestatedSeries(series, layer) if layer else series
            row = find_row(told, open_ms)
            held |= row is not None
            new = None if values is None else _row(series, open_ms, row, values, where)
            layer[open_ms] = Restated(new, number, now_ms)
        if values is None and not held:
            raise InvalidRequest(f"{where}.open_time", "no candle opens then", sent["open_time"])


class RestatedSeries:
    """A series with some candles replaced, added or taken out."""

    def __init__(self, base: CandleSeries, layer: dict[int, Restated]) -> None:
        self._base = base
        self._layer = layer
        self._times = sorted(layer)
        self.timeframe = base.timeframe
        self.first_ms = base.first_ms
        self.last_ms = base.last_ms
        self.ended_ms = base.ended_ms
        self.name = base.name

    def blocks(self, first_ms: int, last_ms: int, newest_first: bool) -> Iterator[Block]:
        i, j = bisect_left(self._times, first_ms), bisect_left(self._times, last_ms + 1)
        waiting = deque(reversed(self._times[i:j]) if newest_first else self._times[i:j])
        for block in self._base.blocks(first_ms, last_ms, newest_first):
            yield from (
                self._backward(block, waiting) if newest_first else self._forward(block, waiting)
            )
        for open_ms in waiting:
            yield from self._new(open_ms)

    def has_candle(self, first_ms: int, last_ms: int) -> bool:
        i, j = bisect_left(self._times, first_ms), bisect_left(self._times, last_ms + 1)
        if i == j:
            return self._base.has_candle(first_ms, last_ms)
        spans = (block.span(first_ms, last_ms) for block in self.blocks(first_ms, last_ms, False))
        return any(i < j for i, j in spans)

    def _forward(self, block: Block, waiting: deque[int]) -> Iterator[Block]:
        """The block, cut at every restated open_time up to its end."""
        times, at = block.open_times, 0
        while len(block) and waiting and waiting[0] <= times[-1]:
            open_ms = waiting.popleft()
            cut = int(np.searchsorted(times, open_ms))
            if at < cut:
                yield block.part(at, cut)
            yield from self._new(open_ms)
            at = cut + int(times[cut] == open_ms)
        if at < len(block):
            yield block.part(at, len(block))

    def _backward(self, block: Block, waiting: deque[int]) -> Iterator[Block]:
        times, at = block.open_times, len(block)
        while len(block) and waiting and waiting[0] >= times[0]:
            open_ms = waiting.popleft()
            cut = int(np.searchsorted(times, open_ms, side="right"))
            if cut < at:
                yield block.part(cut, at)
            yield from self._new(open_ms)
            at = cut - int(times[cut - 1] == open_ms)
        if at:
            yield block.part(0, at)

    def _new(self, open_ms: int) -> Iterator[Block]:
        row = self._layer[open_ms].row
        if row is not None:
            yield Block.of(np.array([open_ms]), [row])


def _series(source: Source, key: Key, where: str) -> CandleSeries:
    market, symbol, timeframe = key
    if market not in ("spot", "um"):
        raise InvalidRequest(f"{where}.market", "must be spot or um", market)
    if symbol not in source.symbols(market):
        raise InvalidRequest(f"{where}.symbol", "is not known", symbol)
    if timeframe not in source.timeframes(market, symbol):
        raise InvalidRequest(f"{where}.timeframe", "has no candles", timeframe)
    try:
        return source.series(market, symbol, timeframe)
    except NoCandleData as missing:
        raise InvalidRequest(where, str(missing)) from missing


def _require_open_time(series: CandleSeries, open_ms: int, where: str) -> None:
    held = series.first_ms <= open_ms and (series.last_ms is None or open_ms <= series.last_ms)
    if not held or not series.timeframe.is_aligned(open_ms):
        rule = "must be an open_time from the first to the last candle held"
        raise InvalidRequest(where, rule, open_ms)


def _values(sent: object, where: str) -> dict[str, str] | None:
    if sent is None:
        return None
    if not isinstance(sent, dict) or not sent or set(sent) - set(COLUMN):
        raise InvalidRequest(where, f"must be null or may have {', '.join(COLUMN)}", sent)
    values = {name: str(value) for name, value in sent.items()}
    for name, value in values.items():
        pattern = _INTEGER if name in WHOLE else _DECIMAL
        if not pattern.fullmatch(value):
            raise InvalidRequest(f"{where}.{name}", "must be a plain number", value)
    return values


def _row(
    series: CandleSeries, open_ms: int, row: Row | None, values: dict[str, str], where: str
) -> bytes:
    if row is None:
        if missing := [name for name in _NEEDED if name not in values]:
            raise InvalidRequest(
                f"{where}.values", f"of a new candle need {', '.join(_NEEDED)}", missing
            )
        zero = "0.00000000"
        close_ms = regular_close(open_ms, series.timeframe)
        row = [open_ms, zero, zero, zero, zero, zero, close_ms, zero, 0, zero, zero, "0"]
    return encode_row(restated(row, values))
