"""The simulated venue: a seeded walk whose coarse candles are sums of its minutes, exactly.

Time is cut into weeks (Monday 00:00 UTC). Week-end prices come from one seeded sequence per
symbol, the 10,080 minutes between two of them from a generator seeded by (seed, market,
symbol, week). So a candle depends on nothing but its own key, and every timeframe up to 1w
is an aggregate of whole minutes inside one week. All values are whole numbers of ticks and
lots until they are printed with 8 decimals.

Absences: a few outages of the whole venue (spot only, as in reality) leave no rows; the
candle before one may close early; quiet hours have rows with volume 0 at the last price.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from candlevault import timeframe as timeframes_module
from candlevault.errors import ConfigurationError
from candlevault.simulator.block import Block, BlockCache
from candlevault.simulator.funding import WalkFunding
from candlevault.simulator.source import NoCandleData
from candlevault.simulator.symbols import CORE, Instrument, instrument
from candlevault.timeframe import Timeframe

MINUTE_MS = 60_000
DAY_MS = 86_400_000
WEEK_MINUTES = 10_080
WEEK_MS = WEEK_MINUTES * MINUTE_MS
MONDAY_MS = 4 * DAY_MS
FIRST_WEEK = 2452
"""Monday 2017-01-02, counted in weeks from the first Monday of the epoch."""
WEEKS = 2000
"""Length of the walk: until 2055."""

_UM_LISTED_MS = 1_567_965_600_000
"""Perpetual futures begin on 2019-09-08T18:00Z at the earliest."""
_PLACES = 8
_UNIT = 10**_PLACES
_MINUTE_SIGMA = 0.0006
_WEEK_SIGMA = 0.09
_RECALL = 0.98
"""Week-end log prices keep this share of their distance from the usual price."""
_CHUNK_WEEKS = {"1m": 1, "5m": 2, "15m": 4, "30m": 8, "1h": 16, "4h": 32, "1d": 64, "1w": 64}
"""Weeks in one cached block, chosen so that blocks have about 10,000 rows or less."""


@dataclass(frozen=True, slots=True)
class Outage:
    """No minute opens in [start_ms, end_ms); the minute before closed at `last_event_ms`.

    The `halted_minutes` before it had rows but no trades.
    """

    start_ms: int
    end_ms: int
    last_event_ms: int
    halted_minutes: int


@lru_cache(maxsize=8)
def outages(seed: int) -> tuple[Outage, ...]:
    """The venue's outages, ascending: three a year, none touching the end of a week.

    One of three begins and ends on the full hour; the others cut candles short.
    """
    rng = np.random.default_rng([seed, 1])
    found = []
    for year in range(2017, 2055):
        origin = int(np.datetime64(f"{year}-01-01", "ms").astype(np.int64))
        for third in range(3):
            day = origin + (third * 120 + int(rng.integers(10, 110))) * DAY_MS
            if (day - MONDAY_MS) // DAY_MS % 7 in (0, 6):
                day += 2 * DAY_MS
            hour = int(rng.integers(2, 15))
            late = int(rng.integers(1, 59))
            length = int(rng.integers(90, 330))
            halted = int(rng.integers(61, 130))
            cut_ms = int(rng.integers(1_000, 59_000))
            start = day + hour * 3_600_000
            if third == 0:
                hours = 1 + length // 60
                found.append(Outage(start, start + hours * 3_600_000, start - 1, 0))
            else:
                start += late * MINUTE_MS
                found.append(
                    Outage(
                        start,
                        start + length * MINUTE_MS,
                        start - cut_ms,
                        halted if third == 2 else 0,
                    )
                )
    return tuple(found)


class Walk:
    """The simulated venue as a Source. `symbols` defaults to the thirty core ones."""

    def __init__(
        self,
        seed: int = 7,
        symbols: tuple[str, ...] | None = None,
        cache_bytes: int = 256 * 2**20,
    ) -> None:
        if seed < 0:
            raise ConfigurationError(f"seed must not be negative (given: {seed})")
        self.seed = seed
        self.label = f"simulated seed {seed}"
        self._symbols = sorted(CORE if symbols is None else symbols)
        self._cache = BlockCache(cache_bytes)
        self._series: dict[tuple[str, str, str], WalkSeries] = {}

    def symbols(self, market: str) -> list[str]:
        return self._symbols

    def timeframes(self, market: str, symbol: str) -> list[str]:
        return list(timeframes_module.ALL)

    def series(self, market: str, symbol: str, timeframe: str) -> WalkSeries:
        key = (market, symbol, timeframe)
        if key not in self._series:
            if timeframe not in timeframes_module.ALL:
                raise NoCandleData(f"the simulated venue has no timeframe {timeframe}")
            self._series[key] = WalkSeries(
                self.seed,
                market,
                instrument(symbol),
                timeframes_module.parse(timeframe),
                self._cache,
            )
        return self._series[key]

    def funding(self, market: str, symbol: str) -> WalkFunding:
        return WalkFunding(self.seed, symbol, self.series(market, symbol, "1h"))

    def ended_ms(self, market: str, symbol: str) -> int | None:
        return None

    def is_forgotten(self, market: str, symbol: str) -> bool:
        return False

    def describe(self, market: str, symbol: str, timeframe: str) -> dict:
        series = self.series(market, symbol, timeframe)
        return {"first_open_time": series.first_ms, "ended": None, "rows_lacking": {}}


class WalkSeries:
    """The candles of one symbol and timeframe of the walk."""

    last_ms = None
    ended_ms = None

    def __init__(
        self,
        seed: int,
        market: str,
        what: Instrument,
        timeframe: Timeframe,
        cache: BlockCache,
    ) -> None:
        self.timeframe = timeframe
        self.name = f"walk of {what.symbol} {timeframe.code}"
        self._key = (seed, market, what.symbol)
        self._what = what
        self._cache = cache
        listed_ms = what.listed_ms if market == "spot" else max(what.listed_ms, _UM_LISTED_MS)
        self._listed_ms = listed_ms
        self.first_ms = timeframe.floor(listed_ms)
        self._weeks = _CHUNK_WEEKS[timeframe.code]

    def blocks(self, first_ms: int, last_ms: int, newest_first: bool) -> Iterator[Block]:
        final = (FIRST_WEEK + WEEKS) * WEEK_MS + MONDAY_MS - 1
        low, high = max(first_ms, self.first_ms), min(last_ms, final)
        if low > high:
            return
        chunks = range(_week(low) // self._weeks, _week(high) // self._weeks + 1)
        for chunk in reversed(chunks) if newest_first else chunks:
            yield self._cache.get(
                (*self._key, self.timeframe.code, chunk), lambda c=chunk: self._chunk(c)
            )

    def has_candle(self, first_ms: int, last_ms: int) -> bool:
        # No outage is as long as a day, so a grid point inside the life is proof enough.
        return self.timeframe.ceil(max(first_ms, self.first_ms)) <= last_ms

    def _chunk(self, chunk: int) -> Block:
        first = max(chunk * self._weeks, _week(self._listed_ms), FIRST_WEEK)
        last = min((chunk + 1) * self._weeks, FIRST_WEEK + WEEKS) - 1
        columns = [
            _aggregate(_minutes(self._key, self._what, self._listed_ms, week), self.timeframe)
            for week in range(first, last + 1)
        ]
        return _format(
            {name: np.concatenate([c[name] for c in columns]) for name in columns[0]}, self._what
        )


def _week(ms: int) -> int:
    return (ms - MONDAY_MS) // WEEK_MS


@lru_cache(maxsize=256)
def _anchors(key: tuple[int, str, str], usual_price: float) -> np.ndarray:
    """Log price at the start of each week of the walk."""
    draws = np.random.default_rng(_entropy(key)).standard_normal(WEEKS + 1) * _WEEK_SIGMA
    away = np.empty(WEEKS + 1)
    level = 0.0
    for index, draw in enumerate(draws):
        level = _RECALL * level + draw
        away[index] = level
    return np.log(usual_price) + away


def _entropy(key: tuple[int, str, str]) -> list[int]:
    # crc32, since hash() of a text differs from process to process.
    seed, market, symbol = key
    return [seed, zlib.crc32(f"{market}/{symbol}".encode())]


def _minutes(
    key: tuple[int, str, str], what: Instrument, listed_ms: int, week: int
) -> dict[str, np.ndarray]:
    """All minutes of a week as columns; `present` says which exist."""
    rng = np.random.default_rng([*_entropy(key), week])
    start_ms = week * WEEK_MS + MONDAY_MS
    open_time = start_ms + np.arange(WEEK_MINUTES, dtype=np.int64) * MINUTE_MS
    close_time = open_time + MINUTE_MS - 1
    present = open_time >= listed_ms
    trading = np.ones(WEEK_MINUTES, dtype=bool)

    steps, reach_up, reach_down, size = rng.standard_normal((4, WEEK_MINUTES))
    taker_share = rng.random(WEEK_MINUTES)
    quiet_hour = int(rng.integers(0, 167)) if rng.random() < 0.04 else None
    if quiet_hour is not None:
        trading[quiet_hour * 60 : quiet_hour * 60 + 60] = False
    if key[1] == "spot":
        for outage in outages(key[0]):
            first = (outage.start_ms - start_ms) // MINUTE_MS
            if 0 <= first < WEEK_MINUTES:
                last = min((outage.end_ms - start_ms) // MINUTE_MS, WEEK_MINUTES - 1)
                present[first:last] = False
                trading[max(0, first - outage.halted_minutes) : first] = False
                if first:
                    close_time[first - 1] = outage.last_event_ms

    anchors = _anchors(key, what.price)
    begin, end = anchors[week - FIRST_WEEK], anchors[week - FIRST_WEEK + 1]
    share = np.cumsum(trading) / trading.sum()
    path = np.cumsum(np.where(trading, steps, 0.0)) * _MINUTE_SIGMA
    tick = 10.0**what.price_decimals
    close = np.rint(np.exp(begin + (end - begin) * share + path - path[-1] * share) * tick)
    close = np.maximum(close.astype(np.int64), 1)
    close[-1] = max(1, round(float(np.exp(end)) * tick))
    open_ = np.empty_like(close)
    open_[1:] = close[:-1]
    open_[0] = max(1, round(float(np.exp(begin)) * tick))
    # A minute without trades repeats the last price, whatever rounding says.
    close = np.where(trading, close, open_)

    reach = open_ * (_MINUTE_SIGMA / 2)
    high = np.maximum(open_, close) + np.rint(np.abs(reach_up) * reach).astype(np.int64)
    low = np.minimum(open_, close) - np.rint(np.abs(reach_down) * reach).astype(np.int64)
    low = np.maximum(low, 1)

    hour = np.arange(WEEK_MINUTES) / 60 % 24
    daily = 1 + 0.5 * np.sin((hour - 8) / 24 * 2 * np.pi)
    usual_lots = what.minute_turnover / what.price * 10.0**what.lot_decimals
    lots = np.rint(usual_lots * daily * np.exp(size * 0.6)).astype(np.int64)
    lots = np.where(trading, np.maximum(lots, 1), 0)
    taker_lots = np.rint(lots * taker_share).astype(np.int64)
    trades = np.where(trading, 1 + np.rint(daily * 40 * np.exp(size * 0.4)).astype(np.int64), 0)
    trades = np.minimum(trades, lots)

    average = (open_ + high + low + close) // 4
    scale = 10 ** (_PLACES - what.price_decimals - what.lot_decimals)
    flat = ~trading
    return {
        "open_time": open_time,
        "present": present,
        "open": open_,
        "high": np.where(flat, open_, high),
        "low": np.where(flat, open_, low),
        "close": close,
        "lots": lots,
        "close_time": close_time,
        "quote": average * lots * scale,
        "trades": trades,
        "taker_lots": taker_lots,
        "taker_quote": average * taker_lots * scale,
    }


def _aggregate(minutes: dict[str, np.ndarray], timeframe: Timeframe) -> dict[str, np.ndarray]:
    """The candles of one week in `timeframe`; those without a present minute are absent."""
    shape = (-1, timeframe.step_ms // MINUTE_MS)
    present = minutes["present"].reshape(shape)
    column = {name: values.reshape(shape) for name, values in minutes.items()}
    kept = present.any(axis=1)
    rows = np.arange(len(present))
    first = present.argmax(axis=1)
    last = present.shape[1] - 1 - present[:, ::-1].argmax(axis=1)
    huge = np.iinfo(np.int64).max
    result = {
        "open_time": column["open_time"][:, 0],
        "open": column["open"][rows, first],
        "high": np.where(present, column["high"], 0).max(axis=1),
        "low": np.where(present, column["low"], huge).min(axis=1),
        "close": column["close"][rows, last],
        "close_time": column["close_time"][rows, last],
    }
    # A candle whose last minute exists is whole, even where an outage lies inside it; else
    # it closes with the last event that happened.
    for name in ("lots", "quote", "trades", "taker_lots", "taker_quote"):
        result[name] = np.where(present, column[name], 0).sum(axis=1)
    return {name: values[kept] for name, values in result.items()}


_ROW = (
    '[%d,"%d.%08d","%d.%08d","%d.%08d","%d.%08d","%d.%08d",%d,"%d.%08d",%d,"%d.%08d","%d.%08d","0"]'
)


def _format(columns: dict[str, np.ndarray], what: Instrument) -> Block:
    price = 10 ** (_PLACES - what.price_decimals)
    lot = 10 ** (_PLACES - what.lot_decimals)
    cells: list[list[int]] = []

    def put(name: str, scale: int | None = None) -> None:
        values = columns[name]
        if scale is None:
            cells.append(values.tolist())
        else:
            whole, rest = np.divmod(values * scale, _UNIT)
            cells.extend((whole.tolist(), rest.tolist()))

    put("open_time")
    for name in ("open", "high", "low", "close"):
        put(name, price)
    put("lots", lot)
    put("close_time")
    put("quote", 1)
    put("trades")
    put("taker_lots", lot)
    put("taker_quote", 1)
    return Block.of(
        columns["open_time"], [(_ROW % row).encode() for row in zip(*cells, strict=True)]
    )
