"""Books that do not agree with the candles: ledger, months, quarantine, range, status."""

from tests.sql.planted.defect import COUNTS, RANGE, Defect, at, delete

_STATUS = "assert_status_matches_candles"
_QUARANTINE = "assert_quarantine_is_settled"
_NOTHING_STORED = """
    UPDATE market.series_status
    SET total_candles = 0, oldest_data_time = NULL, newest_data_time = NULL
    WHERE series_id = %(h1)s"""


def status(change: str) -> str:
    """Change the status of the 1h series."""
    return f"UPDATE market.series_status SET {change} WHERE series_id = %(h1)s"


DEFECTS = (
    Defect(
        "assert_ledger_is_settled",
        "a worker was killed two hours ago",
        """UPDATE market.batches SET state = 'running', claimed_by = 'killed',
               claimed_at = clock_timestamp() - interval '2 hours'
           WHERE batch_id =
               (SELECT max(batch_id) FROM market.batches WHERE series_id = %(h1)s)""",
        {"claimed_by": "killed", "window_start": "2024-02-01 00:00:00+00:00"},
    ),
    Defect(
        "assert_months_match_candles",
        "the ledger counted a candle too few",
        """UPDATE market.series_months SET stored = stored - 1, expected = expected - 1
           WHERE series_id = %(h1)s AND month = '2024-02-01'""",
        {"month": "2024-02-01", "stored": "47", "candles": "48"},
    ),
    Defect(
        _QUARANTINE,
        "a row was refused and its candle never came",
        f"""INSERT INTO market.quarantine (series_id, open_time, reasons, row, url)
            VALUES (%(h1)s, '2024-02-02 10:00Z', '{{low_positive}}', '{{}}', 'https://venue.test');
            {delete("2024-02-02 10:00Z")}""",
        at("2024-02-02 10:00", reasons="['low_positive']"),
        (*COUNTS, "assert_no_missing_open_times"),
    ),
    Defect(
        _QUARANTINE,
        "a row off the grid was refused and the candle it lies in never came",
        delete("2024-02-01 08:00Z"),
        at("2024-02-01 08:00", reasons="['open_time_on_grid']"),
        (*COUNTS, "assert_no_missing_open_times", "assert_revisions_in_order"),
    ),
    Defect(
        RANGE,
        "the status reaches further back than the candles",
        status("oldest_data_time = '2024-01-30Z'"),
        {"oldest_data_time": "2024-01-30 00:00:00+00:00", "oldest": "2024-01-30 06:00:00+00:00"},
    ),
    Defect(
        RANGE,
        "the status ends before the candles",
        status("newest_data_time = '2024-02-02Z'"),
        {"newest_data_time": "2024-02-02 00:00:00+00:00", "newest": "2024-02-02 23:00:00+00:00"},
    ),
    Defect(
        RANGE,
        "the status says that nothing is stored",
        _NOTHING_STORED,
        {"oldest_data_time": "None", "oldest": "2024-01-30 06:00:00+00:00"},
        (_STATUS,),
    ),
    Defect(
        _STATUS,
        "the status counts a candle too many",
        status("total_candles = total_candles + 1"),
        {"total_candles": "89", "candles": "88"},
    ),
    Defect(
        _STATUS,
        "the status is gone",
        "DELETE FROM market.series_status WHERE series_id = %(h1)s",
        {"total_candles": "None", "candles": "88"},
    ),
    Defect(
        _STATUS,
        "the status says that nothing is stored",
        _NOTHING_STORED,
        {"total_candles": "0", "candles": "88"},
        (RANGE,),
    ),
)
