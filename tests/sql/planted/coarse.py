"""Candles that are not the sum of their finer candles, and discrepancies nobody explained."""

from tests.sql.planted.defect import COARSE, COUNTS, Defect, at, copy_to, update

_OPEN = "assert_no_open_discrepancies"
_COLUMNS = {
    "open": "low",
    "high": "high + 0.00000001",
    "low": "low - 0.00000001",
    "close": "high",
    "volume": "volume + 0.00000001",
    "quote_volume": "quote_volume + 0.00000001",
    "taker_buy_base_volume": "taker_buy_base_volume - 0.00000001",
    "taker_buy_quote_volume": "taker_buy_quote_volume - 0.00000001",
    "trades_count": "trades_count + 1",
}


def day(time: str, changes: str) -> str:
    """Change a daily candle."""
    return f"""
        UPDATE market.candles_1d SET {changes}
        WHERE series_id = %(d1)s AND open_time = '{time}'"""


def held(state: str, off: str = "0", explanation: str = "NULL", other: str = "15m") -> str:
    """Enter that an hour has one unit of volume more than its finer candles."""
    return f"""
        INSERT INTO market.discrepancies
            (series_id, open_time, kind, other, field, stored_value, other_value, state,
             explanation)
        SELECT series_id, open_time, 'rollup', '{other}', 'volume', volume + {off}, volume - 1,
               '{state}', {explanation}
        FROM market.candles_1h
        WHERE series_id = %(h1)s AND open_time = '2024-02-02 10:00Z'"""


def source(kind: str) -> str:
    """Enter that another source knows another close."""
    return f"""
        INSERT INTO market.discrepancies
            (series_id, open_time, kind, other, field, stored_value, other_value, state)
        VALUES (%(h1)s, '2024-02-02 10:00Z', '{kind}', 'elsewhere', 'close', 1, 2, 'open')"""


MORE_VOLUME = update("2024-02-02 10:00Z", "volume = volume + 1")

DEFECTS = (
    *(
        Defect(
            COARSE,
            f"an hour's {name} is not that of its quarters",
            update("2024-02-02 10:00Z", f"{name} = {value}"),
            at("2024-02-02 10:00", finer="15m", field=name),
        )
        for name, value in _COLUMNS.items()
    ),
    *(
        Defect(
            COARSE,
            f"the day of the {story} lacks volume",
            day(time, "volume = volume - 1"),
            at(time, finer="1h", field="volume"),
            series="1d",
        )
        for story, time in {"listing": "2024-01-30 00:00", "outage": "2024-01-31 00:00"}.items()
    ),
    Defect(
        COARSE,
        "a day has the values of another day",
        """UPDATE market.candles_1d a
           SET open = b.open, high = b.high, low = b.low, close = b.close, volume = b.volume,
               quote_volume = b.quote_volume, trades_count = b.trades_count
           FROM market.candles_1d b
           WHERE a.series_id = %(d1)s AND a.open_time = '2024-02-01Z'
             AND b.series_id = %(d1)s AND b.open_time = '2024-02-02Z'""",
        at("2024-02-01 00:00", field="trades_count"),
        series="1d",
    ),
    Defect(
        COARSE,
        "an hour without a trade has a volume",
        update("2024-02-01 03:00Z", "volume = 0.5"),
        at("2024-02-01 03:00", field="volume", stored_value="0.50000000", finer_total="0E-8"),
        ("assert_close_times_inside",),
    ),
    Defect(
        COARSE,
        "an hour is stored whose quarters are all known to be absent",
        f"""UPDATE market.known_absences SET window_end = '2024-01-31 12:00Z'
           WHERE series_id = %(h1)s AND reason = 'not_published' AND withdrawn_revision IS NULL;
           {copy_to("2024-01-31 12:00Z")}""",
        at("2024-01-31 12:00", finer="15m", field="volume", finer_total="0"),
        COUNTS,
    ),
    Defect(
        COARSE,
        "a mismatch was written down with another value",
        f"{MORE_VOLUME}; {held('explained', '0.5', repr('the 15m candles are old'))}",
        at("2024-02-02 10:00", finer="15m", field="volume"),
    ),
    Defect(
        COARSE,
        "a mismatch was written down of another timeframe",
        f"{MORE_VOLUME}; {held('explained', '0', repr('the 5m candles are old'), '5m')}",
        at("2024-02-02 10:00", finer="15m", field="volume"),
    ),
    Defect(
        COARSE,
        "a mismatch is there again that was settled",
        f"{MORE_VOLUME}; {held('settled', '0', repr('they agreed'))}",
        at("2024-02-02 10:00", finer="15m", field="volume"),
    ),
    Defect(
        _OPEN,
        "nobody knows why an hour has more volume than its quarters",
        held("open"),
        at("2024-02-02 10:00", timeframe="1h", kind="rollup", other="15m", field="volume"),
    ),
    Defect(
        _OPEN,
        "the quarters are told of it, too",
        held("open"),
        at("2024-02-02 10:00", timeframe="1h", kind="rollup", other="15m", field="volume"),
        series="15m",
    ),
    *(
        Defect(_OPEN, f"{story} has another close", source(kind), at("2024-02-02 10:00", kind=kind))
        for story, kind in {
            "a second source": "second_source",
            "an archive file": "archive",
        }.items()
    ),
)
