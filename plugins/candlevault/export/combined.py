"""Readings that lie over several series on purpose; every row says whose it is.

A *composite* fills what the first source lacks from the next. A *lineage* follows a coin back
through its renames and through the tickers it had before. Neither is ever stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import psycopg

from candlevault import candles as columns
from candlevault import identities
from candlevault.errors import InvalidRequest
from candlevault.export import reading, request, resolve
from candlevault.export.candle_set import CandleSet
from candlevault.export.request import Instant
from candlevault.series import Series, parse
from candlevault.storage import series_registry
from candlevault.storage.database import Connect
from candlevault.windows import Window

if TYPE_CHECKING:
    import pandas as pd


def composite(
    sources: Sequence[str],
    timeframe: str,
    start: Instant,
    end: Instant,
    *,
    as_of: Instant | None = None,
    database: str | Connect | None = None,
) -> pd.DataFrame:
    """Candles of several series as one, by priority; the column `series` labels every row.

    `sources` are written venue/market/SYMBOL, the first to be taken where it has a candle:
    `["binance/spot/BTCUSDT", "kraken/spot/BTCUSDT"]`. Otherwise as `candles`; `attrs` holds
    the windows and fingerprints of all of them under `sources`. Raises InvalidRequest for a
    source of which nothing is stored.
    """
    window = request.window(start, end)
    if not sources:
        raise InvalidRequest("sources", "must name one series or more")
    wanted = [_named(source, timeframe, i) for i, source in enumerate(sources)]
    with reading.connector_of(database)() as connection:
        parts = [(resolve.find(connection, series, window), window) for series in wanted]
        sets = _read(connection, parts, as_of)
    frames, taken = [], np.empty(0, dtype=np.int64)
    for one in sets:
        times = columns.open_times(one.table)
        frame = reading.frame(one)
        frame.insert(0, "series", str(one.series))
        frames.append(frame[~np.isin(times, taken)])
        taken = np.union1d(taken, times)
    return _joined(frames, sets)


def lineage(
    symbol: str,
    timeframe: str,
    start: Instant,
    end: Instant,
    *,
    venue: str | None = None,
    market: str | None = None,
    adjusted: bool = False,
    as_of: Instant | None = None,
    database: str | Connect | None = None,
) -> pd.DataFrame:
    """Candles of a coin and of what became it, and of every coin its symbol has named.

    The columns `symbol`, `lifetime` and `units` label every row: how many units of the coin
    asked for one unit of the row's became (24000 for MKR seen from SKY; nothing where the two
    have only the ticker in common). With `adjusted`, prices are divided and base volumes
    multiplied by it, and rows without it are left out. Otherwise as `candles`.
    """
    window = request.window(start, end)
    with reading.connector_of(database)() as connection:
        series = resolve.series_of(connection, symbol, timeframe, venue, market)
        parts, units = [], []
        for stored, factor in _ancestry(connection, series):
            part = stored.life.intersection(window)
            if part is not None:
                parts.append((resolve.found_of(connection, stored), part))
                units.append(factor)
        if not parts:
            raise InvalidRequest("symbol", "nothing is stored of it in this window", symbol)
        sets = _read(connection, parts, as_of)
    frames = []
    for one, factor in zip(sets, units, strict=True):
        frame = reading.frame(one)
        frame.insert(0, "symbol", one.series.symbol)
        frame.insert(1, "lifetime", one.lifetime)
        frame.insert(2, "units", factor)
        if adjusted:
            if np.isnan(factor):
                continue
            frame[list(columns.PRICES)] /= factor
            frame[["volume", "taker_buy_base_volume"]] *= factor
        frames.append(frame)
    if not frames:
        raise InvalidRequest(
            "adjusted", "nothing in this window became the coin asked for; read it unadjusted"
        )
    return _joined(frames, sets)


def _ancestry(
    connection: psycopg.Connection, series: Series
) -> list[tuple[series_registry.StoredSeries, float]]:
    """The stored instruments of a symbol and of its predecessors, the oldest first, with how
    many units of today's instrument one unit of each became (NaN: none)."""
    own = series_registry.lives(connection, series)
    found = [(stored, 1.0 if stored is own[-1] else float("nan")) for stored in own]
    for symbol, lifetime in identities.predecessors(series.venue, series.market, series.symbol):
        before = Series(series.venue, series.market, symbol, series.timeframe)
        ratio = float(lifetime.successor_ratio or 1)
        for stored, units in _ancestry(connection, before):
            if stored.series != before:
                found.append((stored, units * ratio))
            elif stored.lifetime == lifetime.number:
                found.append((stored, ratio))
    return sorted(found, key=lambda one: one[0].life.start_ms)


def _named(source: str, timeframe: str, position: int) -> Series:
    names = source.split("/") if isinstance(source, str) else []
    if len(names) != 3:
        raise InvalidRequest(f"sources[{position}]", "must look like binance/spot/BTCUSDT", source)
    return parse(*names, timeframe)


def _read(
    connection: psycopg.Connection,
    parts: Sequence[tuple[resolve.Found, Window]],
    as_of: Instant | None,
) -> list[CandleSet]:
    """All parts as of one instant, on one snapshot."""
    asked = None if as_of is None else request.instant(as_of, "as_of")
    states = []
    for found, _ in parts:
        moment, revision = reading.state_at(connection, found.stored, asked)
        asked = moment
        states.append(revision)
    reading.snapshot(connection)
    assert asked is not None
    return [
        reading.stored_set(connection, found, window, asked, revision)
        for (found, window), revision in zip(parts, states, strict=True)
    ]


def _joined(frames: list[pd.DataFrame], sets: list[CandleSet]) -> pd.DataFrame:
    import pandas as pd

    for frame in frames:
        frame.attrs = {}
    made = pd.concat(frames).sort_index(kind="stable")
    made.attrs = {"sources": [one.facts() for one in sets]}
    return made
