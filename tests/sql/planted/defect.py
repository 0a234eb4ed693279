"""What a planted defect is, and the SQL that most of them are made of.

`%(m15)s`, `%(h1)s` and `%(d1)s` are the ids of the market's series.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Defect:
    """One way to break one rule: SQL statements with `;` between them.

    `shows` is what a violation found in `series` must say. `trips` are the other tests that
    find the defect too; every one of them must be a declared neighbour, and every declared
    neighbour must be tripped by one of the defects.
    """

    check: str
    story: str
    sql: str
    shows: dict[str, str]
    trips: tuple[str, ...] = ()
    series: str = "1h"

    def __str__(self) -> str:
        return f"{self.check}: {self.story}"


COUNTS = ("assert_months_match_candles", "assert_status_matches_candles")
"""What any candle too many or too few trips."""

COARSE = "assert_coarse_equals_children"
"""What a candle too many trips whose finer candles are all known to be absent."""

RANGE = "assert_range_matches_candles"


def copy_to(time: str) -> str:
    """Insert a candle of the 1h series at a time, with the values of another."""
    return f"""
        INSERT INTO market.candles_1h
        SELECT series_id, '{time}', open, high, low, close, volume, quote_volume,
               taker_buy_base_volume, taker_buy_quote_volume, trades_count, NULL, fetch_id, revision
        FROM market.candles_1h
        WHERE series_id = %(h1)s AND open_time = '2024-02-02 10:00Z'"""


def delete(time: str) -> str:
    """Delete a candle of the 1h series."""
    return f"DELETE FROM market.candles_1h WHERE series_id = %(h1)s AND open_time = '{time}'"


def update(time: str, changes: str) -> str:
    """Change a candle of the 1h series."""
    return f"""
        UPDATE market.candles_1h SET {changes}
        WHERE series_id = %(h1)s AND open_time = '{time}'"""


def at(time: str, **more: str) -> dict[str, str]:
    """What a violation at an open_time shows."""
    return {"open_time": f"{time}:00+00:00", **more}
