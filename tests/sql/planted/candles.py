"""Candles that are missing, stored twice, too early, or cut off for no reason."""

from tests.sql.planted.defect import COUNTS, RANGE, Defect, at, copy_to, delete, update

_CLOSE = "assert_close_times_inside"
_MISSING = "assert_no_missing_open_times"
_WITHOUT_CLOSE_RULE = "ALTER TABLE market.candles_1h DROP CONSTRAINT close_time_inside"

DEFECTS = (
    Defect(
        _CLOSE,
        "a candle closes early and trading goes on",
        update("2024-02-01 10:00Z", "close_time = open_time + interval '30 minutes'"),
        at("2024-02-01 10:00"),
    ),
    *(
        Defect(
            _CLOSE,
            story,
            f"{_WITHOUT_CLOSE_RULE}; {update('2024-01-31 10:00Z', f'close_time = {close_time}')}",
            at("2024-01-31 10:00"),
        )
        for story, close_time in {
            "a candle closes after its end": "open_time + interval '1 hour'",
            "a candle closes before it opens": "open_time - interval '1 ms'",
        }.items()
    ),
    Defect(
        "assert_no_duplicate_candles",
        "a candle is stored twice",
        f"""ALTER TABLE market.candles_1h DROP CONSTRAINT candles_1h_pkey;
            {copy_to("2024-02-02 10:00Z")}""",
        at("2024-02-02 10:00", copies="2"),
        COUNTS,
    ),
    Defect(
        "assert_no_forming_candle",
        "the candle that is forming was stored",
        copy_to("2024-02-03 00:00Z"),
        at("2024-02-03 00:00", closes_at="2024-02-03 01:00:00+00:00"),
        (*COUNTS, RANGE),
    ),
    Defect(
        "assert_no_future_candle",
        "a candle opens after the venue's present",
        copy_to("2024-02-03 01:00Z"),
        at("2024-02-03 01:00"),
        (*COUNTS, RANGE),
    ),
    Defect(
        _MISSING, "a candle is gone", delete("2024-02-02 10:00Z"), at("2024-02-02 10:00"), COUNTS
    ),
    Defect(
        _MISSING,
        "the newest candle is gone",
        delete("2024-02-02 23:00Z"),
        at("2024-02-02 23:00"),
        (*COUNTS, RANGE),
    ),
    Defect(
        _MISSING,
        "a candle is gone that came after a refused row",
        delete("2024-02-01 00:00Z"),
        at("2024-02-01 00:00"),
        (*COUNTS, "assert_quarantine_is_settled"),
    ),
    Defect(
        _MISSING,
        "an absence was withdrawn and nothing came in its place",
        """UPDATE market.known_absences
           SET withdrawn_revision = 9, withdrawn_reason = 'mistake'
           WHERE series_id = %(h1)s AND reason = 'not_published'
             AND withdrawn_revision IS NULL""",
        at("2024-01-31 11:00"),
    ),
)
