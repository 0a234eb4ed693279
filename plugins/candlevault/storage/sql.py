"""SQL lives in files under include/sql; this module reads and composes it.

A query file may name a candle table as `{candles}`; the timeframe decides which one it is.
Values are always named parameters.
"""

from __future__ import annotations

from functools import cache

from psycopg import sql

from candlevault import paths
from candlevault.timeframe import Timeframe


@cache
def query(name: str) -> str:
    """The text of include/sql/queries/NAME.sql."""
    return (paths.QUERIES / f"{name}.sql").read_text(encoding="utf-8")


def candle_table(timeframe: Timeframe) -> sql.Identifier:
    """The candle table of a timeframe."""
    return sql.Identifier("market", f"candles_{timeframe.code}")


def for_timeframe(name: str, timeframe: Timeframe) -> sql.Composed:
    """The query NAME with `{candles}` replaced by the timeframe's table."""
    return sql.SQL(query(name)).format(candles=candle_table(timeframe))
