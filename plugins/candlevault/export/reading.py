"""Stored candles for notebooks: a DataFrame that knows what is missing from it, and why."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

import psycopg
import pyarrow as pa

from candlevault import candles as columns
from candlevault import windows
from candlevault.errors import InvalidRequest
from candlevault.export import decimals, request, resolve
from candlevault.export.candle_set import CandleSet, KnownAbsence, clipped, lost_windows, span
from candlevault.export.request import Instant
from candlevault.storage import candle_reads
from candlevault.storage.database import Connect, connector, connector_from_environment
from candlevault.storage.series_registry import StoredSeries
from candlevault.windows import Window

if TYPE_CHECKING:
    import pandas as pd

_CHUNK = 100_000
"""Candles read at once."""
_MOST_CHUNKS = 100

Say = Callable[[str], None]


def quiet(line: str) -> None:
    """Says nothing."""


def candles(
    symbol: str,
    timeframe: str,
    start: Instant,
    end: Instant,
    *,
    as_of: Instant | None = None,
    venue: str | None = None,
    market: str | None = None,
    database: str | Connect | None = None,
    exact: bool = False,
) -> pd.DataFrame:
    """The stored candles that open in `[start, end)`, as they stood at `as_of` (default: now).

    Index `open_time` (UTC, ascending; only stored candles, holes stay holes). Columns open,
    high, low, close (quote per base), volume and taker_buy_base_volume (base), quote_volume
    and taker_buy_quote_volume (quote): the nearest float64, or with `exact` Decimal;
    trades_count int64; close_time UTC, inclusive. Nothing stored gives no rows.

    `start`, `end` and `as_of` are aware datetimes, dates, or ISO text; a date and text
    without an offset are UTC. `database` is a libpq URL (default: CANDLEVAULT_DB_URL).

    `attrs` holds plain values: `series`, `window`, `as_of` (give it back to read the same
    again), `revision`, `fingerprint`, `absences` (dicts start, end, reason) and `lost` (dicts
    start, end: neither stored nor explained). Ends are exclusive.

    Raises InvalidRequest naming the field and the rule, also for a series never loaded.
    """
    found = read(
        symbol,
        timeframe,
        start,
        end,
        as_of=as_of,
        venue=venue,
        market=market,
        database=database,
    )
    return frame(found, exact=exact)


def read(
    symbol: str,
    timeframe: str,
    start: Instant,
    end: Instant,
    *,
    as_of: Instant | None = None,
    venue: str | None = None,
    market: str | None = None,
    database: str | Connect | None = None,
    say: Say = quiet,
) -> CandleSet:
    """As `candles`, but exact and as one object: what exports are made of.

    Rows, absences and fingerprint are read on one snapshot of the database. `say` is told
    about progress in a long read.
    """
    window = request.window(start, end)
    asked = None if as_of is None else request.instant(as_of, "as_of")
    with connector_of(database)() as connection:
        series = resolve.series_of(connection, symbol, timeframe, venue, market)
        found = resolve.find(connection, series, window)
        moment, revision = state_at(connection, found.stored, asked)
        snapshot(connection)
        return stored_set(connection, found, window, moment, revision, say)


def snapshot(connection: psycopg.Connection) -> None:
    """Read on one state from here on; begun after the waits for publications before `as_of`."""
    connection.commit()
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    connection.read_only = True


def stored_set(
    connection: psycopg.Connection,
    found: resolve.Found,
    window: Window,
    moment: datetime,
    revision: int,
    say: Say = quiet,
) -> CandleSet:
    """The candles of one stored series at a revision, with what is missing.

    Missing can only be what lies in the instrument's share of the window: outside of it the
    symbol meant another one.
    """
    stored = found.stored
    table = _rows(connection, stored, window, revision, say)
    known = candle_reads.absences(connection, stored, window, revision)
    absences = clipped((KnownAbsence(one.window, one.reason) for one in known), window)
    times = columns.open_times(table)
    share = window.intersection(stored.share)
    lost = share and lost_windows(share, stored.series.timeframe, times, absences, moment)
    return CandleSet(
        series=stored.series,
        lifetime=stored.lifetime,
        base_asset=found.base_asset,
        quote_asset=found.quote_asset,
        window=window,
        as_of=moment,
        revision=revision,
        fingerprint=candle_reads.fingerprint_of(table, window, known),
        table=table.drop_columns(["source"]),
        absences=absences,
        lost=lost or (),
    )


def frame(of: CandleSet, *, exact: bool = False) -> pd.DataFrame:
    """The DataFrame that `candles` describes."""
    import pandas as pd

    def moments(name: str) -> pd.DatetimeIndex:
        return pd.DatetimeIndex(of.table[name].to_numpy().astype("datetime64[ms]"), tz="UTC")

    values: dict[str, object] = {}
    for name in (*columns.PRICES, *columns.AMOUNTS):
        column = of.table[name]
        values[name] = (
            pd.array(column.to_pylist(), dtype=object) if exact else decimals.floats(column)
        )
    values["trades_count"] = of.table["trades_count"].to_numpy()
    values["close_time"] = moments("close_time")
    made = pd.DataFrame(values, index=moments("open_time").rename("open_time"))
    facts = of.facts()
    # Plain values only: pandas itself writes attrs as JSON into Parquet files.
    made.attrs = {
        "series": str(of.series),
        "window": span(of.window),
        "as_of": facts["as_of"],
        "revision": of.revision,
        "fingerprint": of.fingerprint,
        "absences": facts["known_absences"],
        "lost": facts["lost"],
    }
    return made


def connector_of(database: str | Connect | None) -> Connect:
    if database is None:
        return connector_from_environment()
    return connector(database) if isinstance(database, str) else database


def state_at(
    connection: psycopg.Connection, stored: StoredSeries, asked: datetime | None
) -> tuple[datetime, int]:
    """The instant read and its revision; the same instant gives the same one for ever."""
    now = connection.execute("SELECT clock_timestamp()").fetchone()[0]
    moment = now if asked is None else asked
    if moment > now:
        raise InvalidRequest("as_of", "must not lie in the future", moment.isoformat())
    return moment, candle_reads.revision_at(connection, stored, moment)


def _rows(
    connection: psycopg.Connection,
    stored: StoredSeries,
    window: Window,
    revision: int,
    say: Say,
) -> pa.Table:
    timeframe = stored.series.timeframe
    # Of a window that reaches far beyond what is stored, most parts are empty and cheap.
    size = max(_CHUNK, windows.expected_count(window, timeframe) // _MOST_CHUNKS)
    parts, spoken = [], time.monotonic()
    for part in windows.chunks(window, timeframe, size):
        parts.append(candle_reads.read(connection, stored, part, revision))
        if time.monotonic() - spoken > 2:
            spoken = time.monotonic()
            done = (part.end_ms - window.start_ms) / (window.end_ms - window.start_ms)
            say(f"read {100 * done:.0f} % of {stored.series} in {window}")
    return columns.concat(parts)
