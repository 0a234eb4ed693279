"""Candles that are not the sum of their finer candles."""

from tests.sql.planted.defect import Defect, at, update

_EQUAL = "assert_coarse_equals_children"
_FLOW = "assert_coarse_flow_equals_children"


def day(time: str, changes: str) -> str:
    """Change a daily candle."""
    return f"""
        UPDATE market.candles_1d SET {changes}
        WHERE series_id = %(d1)s AND open_time = '{time}'"""


DEFECTS = (
    *(
        Defect(
            _EQUAL,
            f"an hour's {name} is not that of its quarters",
            update("2024-02-02 10:00Z", f"{name} = {value}"),
            at("2024-02-02 10:00"),
        )
        for name, value in {
            "open": "low",
            "high": "high + 0.00000001",
            "low": "low - 0.00000001",
            "close": "high",
            "volume": "volume + 0.00000001",
        }.items()
    ),
    *(
        Defect(
            _EQUAL,
            f"the day of the {story} lacks volume",
            day(time, "volume = volume - 1"),
            at(time),
            series="1d",
        )
        for story, time in {"listing": "2024-01-30 00:00", "outage": "2024-01-31 00:00"}.items()
    ),
    Defect(
        _EQUAL,
        "a day has the values of another day",
        """UPDATE market.candles_1d a
           SET open = b.open, high = b.high, low = b.low, close = b.close, volume = b.volume,
               quote_volume = b.quote_volume, trades_count = b.trades_count
           FROM market.candles_1d b
           WHERE a.series_id = %(d1)s AND a.open_time = '2024-02-01Z'
             AND b.series_id = %(d1)s AND b.open_time = '2024-02-02Z'""",
        at("2024-02-01 00:00"),
        (_FLOW,),
        series="1d",
    ),
    *(
        Defect(
            _FLOW,
            f"an hour's {name} is not that of its quarters",
            update("2024-02-02 10:00Z", f"{name} = {name} + 1"),
            at("2024-02-02 10:00"),
        )
        for name in (
            "quote_volume",
            "taker_buy_base_volume",
            "taker_buy_quote_volume",
            "trades_count",
        )
    ),
)
