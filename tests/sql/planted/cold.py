"""Months in the cold tier that the books do not agree with."""

from tests.sql.planted.defect import RANGE, Defect

_COLD = "assert_cold_files_match_ledger"
_MONTHS = "assert_months_match_candles"
_STATUS = "assert_status_matches_candles"


def month(tier: str = "cold", stored: int = 744) -> str:
    """Enter December 2023 of the 1h series in the ledger."""
    return f"""
        INSERT INTO market.series_months (series_id, month, expected, stored, known_absent, lost,
                                          verdict, tier, content_hash, revision)
        VALUES (%(h1)s, '2023-12-01', {stored}, {stored}, 0, 0, 'complete', '{tier}', 'x', 1)"""


def file(rows: int = 744) -> str:
    """Enter a file with the whole of that month."""
    return f"""
        INSERT INTO market.cold_files (series_id, month, path, bytes, file_sha256, rows,
                                       rows_sha256, first_open_time, last_open_time,
                                       newest_revision)
        VALUES (%(h1)s, '2023-12-01', 'x.parquet', 1, repeat('0', 64), {rows}, repeat('0', 64),
                '2023-12-01Z', '2023-12-31 23:00Z', 1)"""


def status(rows: int = 744, oldest: str = "2023-12-01Z") -> str:
    """Count that month in the series' status."""
    return f"""
        UPDATE market.series_status
        SET total_candles = total_candles + {rows}, oldest_data_time = '{oldest}'
        WHERE series_id = %(h1)s"""


MOVED = f"{month()}; {file()}; {status()}"
"""December 2023 of the 1h series as a cold month in which everything is right."""

DEFECTS = (
    Defect(
        _COLD,
        "a month is cold and no file holds it",
        month(),
        {"month": "2023-12-01", "problem": "cold without a file"},
    ),
    Defect(
        _COLD,
        "a file holds a month that is hot",
        f"{month('hot')}; {file()}; {status()}",
        {"month": "2023-12-01", "problem": "hot with a file"},
    ),
    Defect(
        _COLD,
        "a file holds a candle less than the ledger counts",
        f"{month()}; {file(743)}; {status(743)}",
        {"problem": "the file holds another number of candles", "stored": "744", "rows": "743"},
        (_MONTHS,),
    ),
    Defect(
        _COLD,
        "a candle of a cold month is in the hot table",
        f"""{MOVED};
            SELECT market.ensure_partitions('1h', '2023-12-01Z', '2024-01-01Z');
            INSERT INTO market.candles_1h
            SELECT series_id, '2023-12-31 23:00Z', open, high, low, close, volume, quote_volume,
                   taker_buy_base_volume, taker_buy_quote_volume, trades_count, NULL, fetch_id,
                   revision
            FROM market.candles_1h
            WHERE series_id = %(h1)s AND open_time = '2024-02-02 10:00Z'""",
        {"month": "2023-12-01", "problem": "candles in the hot table"},
        (_STATUS,),
    ),
    Defect(
        _MONTHS,
        "the ledger counts a candle less than the cold file holds",
        f"{month(stored=743)}; {file()}; {status()}",
        {"month": "2023-12-01", "tier": "cold", "stored": "743", "candles": "744"},
        (_COLD,),
    ),
    Defect(
        _STATUS,
        "the status forgot the cold candles",
        f"{month()}; {file()}; {status(rows=0)}",
        {"total_candles": "88", "candles": "832"},
    ),
    Defect(
        RANGE,
        "the status forgot when the cold candles begin",
        f"{month()}; {file()}; {status(oldest='2024-01-30 06:00Z')}",
        {"oldest_data_time": "2024-01-30 06:00:00+00:00", "oldest": "2023-12-01 00:00:00+00:00"},
    ),
)
