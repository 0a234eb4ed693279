"""Instruments, series and providers as rows with small ids."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import psycopg

from candlevault.errors import InvalidRequest
from candlevault.instruments import InstrumentFacts
from candlevault.series import Series
from candlevault.series import parse as parse_series
from candlevault.storage.database import Connect


@dataclass(frozen=True, slots=True)
class StoredSeries:
    """A series with its row: small id and the number of its last committed revision."""

    series: Series
    series_id: int
    revision: int


_FIND = """
SELECT series_id, revision FROM market.series_names
WHERE venue = %s AND market = %s AND symbol = %s AND timeframe = %s
"""


def find(connection: psycopg.Connection, series: Series) -> StoredSeries | None:
    """The stored series, or None when nothing was ever kept of it."""
    row = connection.execute(
        _FIND, (series.venue, series.market, series.symbol, series.timeframe.code)
    ).fetchone()
    return None if row is None else StoredSeries(series, row[0], row[1])


def get(connect: Connect, series: Series) -> StoredSeries:
    """The stored series; raises InvalidRequest when nothing was ever kept of it."""
    with connect() as connection:
        stored = find(connection, series)
    if stored is None:
        raise InvalidRequest("symbol", "no candles of this series were ever loaded", str(series))
    return stored


def register(connect: Connect, series: Series, facts: InstrumentFacts) -> StoredSeries:
    """Make sure that instrument and series have rows, with the venue's latest facts."""
    known = (series.venue, series.market, series.symbol)
    told = (facts.status, facts.base_asset, facts.quote_asset)
    with connect() as connection, connection.transaction():
        # Looked up before inserting: an upsert would burn a small id at every sync.
        row = connection.execute(
            "UPDATE market.instruments SET status = %s, base_asset = %s, quote_asset = %s,"
            " ended_time = CASE WHEN %s THEN NULL ELSE ended_time END,"
            " probed_at = clock_timestamp() WHERE (venue, market, symbol) = (%s, %s, %s)"
            " RETURNING instrument_id",
            (*told, facts.trading, *known),
        ).fetchone()
        if row is None:
            row = connection.execute(
                "INSERT INTO market.instruments AS i (venue, market, symbol, venue_symbol, status,"
                " base_asset, quote_asset, probed_at)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, clock_timestamp())"
                " ON CONFLICT (venue, market, symbol, lifetime) DO UPDATE"
                " SET status = excluded.status RETURNING instrument_id",
                (*known, facts.venue_symbol, *told),
            ).fetchone()
        stored = find(connection, series)
        if stored is None:
            connection.execute(
                "INSERT INTO market.series (instrument_id, timeframe) VALUES (%s, %s)"
                " ON CONFLICT DO NOTHING",
                (row[0], series.timeframe.code),
            )
            stored = find(connection, series)
            connection.execute(
                "INSERT INTO market.series_status (series_id, sync_status)"
                " VALUES (%s, 'pending') ON CONFLICT DO NOTHING",
                (stored.series_id,),
            )
    return stored


def record_life(
    connect: Connect, stored: StoredSeries, listed: datetime | None, ended: datetime | None
) -> None:
    """Note when the instrument began and ended, as far as a series of it shows.

    A coarse candle begins before the listing it contains, so the latest first open_time
    and the earliest end of all series are kept.
    """
    with connect() as connection:
        connection.execute(
            "UPDATE market.instruments SET listed_time = greatest(listed_time, %s),"
            " ended_time = least(ended_time, %s) WHERE instrument_id ="
            " (SELECT instrument_id FROM market.series WHERE series_id = %s)",
            (listed, ended, stored.series_id),
        )


def everything(connect: Connect) -> list[StoredSeries]:
    """All stored series, by symbol and timeframe."""
    with connect() as connection:
        rows = connection.execute(
            "SELECT venue, market, symbol, timeframe, series_id, revision"
            " FROM market.series_names ORDER BY symbol, timeframe"
        ).fetchall()
    return [StoredSeries(parse_series(*row[:4]), row[4], row[5]) for row in rows]


def provider_ids(
    connection: psycopg.Connection, names: list[str], venue: str, market: str
) -> dict[str, int]:
    """The ids of these providers of a venue and market, made where missing."""
    wanted = sorted(set(names))
    # Looked up first: an upsert would burn a number of a small sequence at every call.
    find_all = "SELECT name, provider_id FROM market.providers WHERE name = ANY(%s)"
    found = dict(connection.execute(find_all, (wanted,)).fetchall())
    for name in wanted:
        if name not in found:
            connection.execute(
                "INSERT INTO market.providers (name, venue, market) VALUES (%s, %s, %s)"
                " ON CONFLICT DO NOTHING",
                (name, venue, market),
            )
    return dict(connection.execute(find_all, (wanted,)).fetchall())
