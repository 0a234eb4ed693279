"""Which stored series a request is about: the one place that asks the registry."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from candlevault import config
from candlevault.errors import InvalidRequest
from candlevault.series import Series, canonical_symbol, parse
from candlevault.storage import series_registry
from candlevault.storage.series_registry import StoredSeries
from candlevault.windows import Window

_ASSETS = """
SELECT i.base_asset, i.quote_asset
FROM market.series s JOIN market.instruments i USING (instrument_id)
WHERE s.series_id = %s
"""


@dataclass(frozen=True, slots=True)
class Found:
    """A stored series and the assets its instrument trades; empty where the venue told none."""

    stored: StoredSeries
    base_asset: str
    quote_asset: str


def series_of(
    connection: psycopg.Connection,
    symbol: str,
    timeframe: str,
    venue: str | None,
    market: str | None,
) -> Series:
    """The series of a request; venue and market are the database's own unless given.

    A short name of a coin (`BTC`) is completed with USDT. Raises InvalidRequest.
    """
    settings = dict(connection.execute("SELECT name, value FROM market.settings").fetchall())
    venue = venue or settings.get("default_venue") or config.setting("CANDLEVAULT_VENUE")
    market = market or settings.get("default_market") or config.setting("CANDLEVAULT_MARKET")
    # Stocks and currencies have no quote asset in their name.
    if market not in ("stocks", "forex"):
        symbol = canonical_symbol(symbol)
    return parse(venue, market, symbol, timeframe)


def find(connection: psycopg.Connection, series: Series, window: Window) -> Found:
    """The stored series that `window` is about; raises InvalidRequest where there is none, or
    more than one."""
    if not series_registry.lives(connection, series):
        raise InvalidRequest(
            "symbol",
            f"no candles of {series} were ever loaded: run the DAG backfill__{series.slug},"
            " or initial_load after adding it to include/universe.yaml",
            series.symbol,
        )
    touched = series_registry.touched(connection, series, window)
    try:
        series_registry.refuse_crossing(series, touched)
    except InvalidRequest as error:
        raise InvalidRequest(
            error.field, f"{error.rule}; `lineage` reads all of them, every row labelled"
        ) from error
    return found_of(connection, series_registry.resolve(connection, series, window))


def found_of(connection: psycopg.Connection, stored: StoredSeries) -> Found:
    """A stored series with the assets of its instrument."""
    series = stored.series
    base, quote = connection.execute(_ASSETS, (stored.series_id,)).fetchone()
    if quote and not base:
        base = series.symbol.removesuffix(quote) if series.symbol != quote else ""
    return Found(stored, base, quote)
