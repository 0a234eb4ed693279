"""Instruments as rows: what the venue says of them, who followed them, when they were traded."""

from __future__ import annotations

from datetime import datetime

import psycopg

from candlevault import identities
from candlevault.identities import Lifetime
from candlevault.instruments import InstrumentFacts
from candlevault.storage.database import Connect
from candlevault.timeframe import from_ms


def record(
    connection: psycopg.Connection,
    venue: str,
    market: str,
    facts: InstrumentFacts,
    lifetime: Lifetime,
) -> int:
    """The id of an instrument's row, made or brought up to date with the venue's facts."""
    key = (venue, market, facts.symbol, lifetime.number)
    told = (facts.status, facts.base_asset, facts.quote_asset, facts.trading)
    # Looked up before inserting: an upsert would burn a small id at every sync.
    row = connection.execute(
        "UPDATE market.instruments SET status = %s, base_asset = %s, quote_asset = %s,"
        " traded = %s, ended_time = CASE WHEN %s THEN NULL ELSE ended_time END,"
        " name = %s, identity_source = %s, successor_ratio = %s,"
        " probed_at = clock_timestamp() WHERE (venue, market, symbol, lifetime) = (%s, %s, %s, %s)"
        " RETURNING instrument_id",
        (*told, told[3], lifetime.name, lifetime.source, lifetime.successor_ratio, *key),
    ).fetchone()
    if row is None:
        begins = None if lifetime.begins_ms is None else from_ms(lifetime.begins_ms)
        row = connection.execute(
            "INSERT INTO market.instruments AS i (venue, market, symbol, lifetime, venue_symbol,"
            " status, base_asset, quote_asset, traded, begins_time, name, identity_source,"
            " successor_ratio, probed_at)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, clock_timestamp())"
            " ON CONFLICT (venue, market, symbol, lifetime) DO UPDATE"
            " SET status = excluded.status RETURNING instrument_id",
            (
                *key,
                facts.venue_symbol,
                *told,
                begins,
                lifetime.name,
                lifetime.source,
                lifetime.successor_ratio,
            ),
        ).fetchone()
    _link(connection, venue, market, facts.symbol, lifetime)
    return row[0]


def find(
    connection: psycopg.Connection, venue: str, market: str, symbol: str, lifetime: int
) -> int | None:
    """The id of an instrument's row; None while it has none."""
    row = connection.execute(
        "SELECT instrument_id FROM market.instruments"
        " WHERE (venue, market, symbol, lifetime) = (%s, %s, %s, %s)",
        (venue, market, symbol, lifetime),
    ).fetchone()
    return None if row is None else row[0]


def _link(
    connection: psycopg.Connection, venue: str, market: str, symbol: str, lifetime: Lifetime
) -> None:
    """Tie an instrument to the one that replaced it, whichever of the two came here first."""
    pairs = [(symbol, lifetime)] if lifetime.successor is not None else []
    for name, before in (*pairs, *identities.predecessors(venue, market, symbol)):
        connection.execute(
            "UPDATE market.instruments old SET successor_id = new.instrument_id"
            " FROM market.instruments new"
            " WHERE (new.venue, new.market, new.symbol, new.lifetime) = (%(venue)s, %(market)s,"
            "        %(successor)s, 1)"
            " AND (old.venue, old.market, old.symbol, old.lifetime) = (%(venue)s, %(market)s,"
            "        %(symbol)s, %(lifetime)s)"
            " AND old.successor_id IS NULL",
            {
                "venue": venue,
                "market": market,
                "successor": before.successor,
                "symbol": name,
                "lifetime": before.number,
            },
        )


def record_life(
    connect: Connect, series_id: int, listed: datetime | None, ended: datetime | None
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
            (listed, ended, series_id),
        )


def traded(connection: psycopg.Connection, venue: str, market: str) -> dict[str, bool]:
    """By symbol, whether its instrument of today was traded at the venue's last answer."""
    return dict(
        connection.execute(
            "SELECT DISTINCT ON (symbol) symbol, traded FROM market.instruments"
            " WHERE venue = %s AND market = %s ORDER BY symbol, lifetime DESC",
            (venue, market),
        ).fetchall()
    )


def status(connection: psycopg.Connection, venue: str, market: str, symbol: str) -> str | None:
    """The venue's last word on the instrument that the symbol means today; None if unknown."""
    row = connection.execute(
        "SELECT status FROM market.instruments WHERE venue = %s AND market = %s AND symbol = %s"
        " ORDER BY lifetime DESC LIMIT 1",
        (venue, market, symbol),
    ).fetchone()
    return None if row is None else row[0]


def note(
    connection: psycopg.Connection,
    instrument_id: int,
    event: str,
    detail: str,
    dag_run_id: str | None,
) -> None:
    """Write a line of the universe log: listed, relisted or ended."""
    connection.execute(
        "INSERT INTO market.universe_log (instrument_id, event, detail, dag_run_id)"
        " VALUES (%s, %s, %s, %s)",
        (instrument_id, event, detail, dag_run_id),
    )
