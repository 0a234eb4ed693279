"""Known absences that overlap, lack evidence, or hold candles."""

from tests.sql.planted.defect import COARSE, COUNTS, RANGE, Defect, at, copy_to

OUTAGE = """
    WHERE series_id = %(h1)s AND reason = 'not_published' AND withdrawn_revision IS NULL"""


def absent(start: str, end: str) -> str:
    """Record an absence of the 1h series, with the evidence of its outage."""
    return f"""
        INSERT INTO market.known_absences
            (series_id, window_start, window_end, reason, evidence, revision)
        SELECT series_id, '{start}', '{end}', reason, evidence, revision
        FROM market.known_absences {OUTAGE}"""


def evidence(value: str, which: str = OUTAGE) -> str:
    """Replace the evidence of an absence."""
    return f"UPDATE market.known_absences SET evidence = {value} {which}"


_OVERLAP = "assert_absences_do_not_overlap"
_EVIDENCE = "assert_absences_have_evidence"
_BOTH = "assert_no_candle_in_known_absence"

DEFECTS = (
    Defect(
        _OVERLAP,
        "half of an outage is explained twice",
        absent("2024-01-31 12:00Z", "2024-01-31 13:00Z"),
        {"window_start": "2024-01-31 11:00:00+00:00"},
    ),
    Defect(
        _EVIDENCE,
        "an outage rests on the archive alone",
        evidence("evidence - 'rest'"),
        {"window_start": "2024-01-31 11:00:00+00:00", "reason": "not_published"},
    ),
    Defect(
        _EVIDENCE,
        "an outage rests on REST alone",
        evidence("""evidence || '{"archive": []}'"""),
        {"reason": "not_published"},
    ),
    Defect(
        _EVIDENCE,
        "nobody saw the candles beside the outage",
        evidence("evidence - 'neighbours_ms'"),
        {"reason": "not_published"},
    ),
    Defect(
        _EVIDENCE,
        "the listing rests on somebody's word",
        evidence(
            """'{"rest": "trust me"}'""",
            "WHERE series_id = %(h1)s AND reason = 'before_listing'",
        ),
        {"window_start": "2024-01-30 00:00:00+00:00", "reason": "before_listing"},
    ),
    Defect(
        _EVIDENCE,
        "nobody saw the candle of the listing",
        evidence(
            "evidence - 'first_open_time_ms'",
            "WHERE series_id = %(h1)s AND reason = 'before_listing'",
        ),
        {"reason": "before_listing"},
    ),
    Defect(
        _EVIDENCE,
        "neither the archive nor REST showed the listing",
        evidence(
            "evidence - 'rest' - 'archive'",
            "WHERE series_id = %(h1)s AND reason = 'before_listing'",
        ),
        {"reason": "before_listing"},
    ),
    Defect(
        _EVIDENCE,
        "a pause rests on REST alone",
        "UPDATE market.known_absences SET reason = 'pause',"
        f" evidence = evidence - 'archive' {OUTAGE}",
        {"reason": "pause"},
    ),
    Defect(
        _BOTH,
        "a stored candle is said to be absent",
        absent("2024-02-01 10:00Z", "2024-02-01 11:00Z"),
        at("2024-02-01 10:00", reason="not_published"),
    ),
    Defect(
        _BOTH,
        "a candle appears in the middle of the outage",
        copy_to("2024-01-31 12:00Z"),
        at("2024-01-31 12:00"),
        (*COUNTS, COARSE),
    ),
    Defect(
        _BOTH,
        "a candle appears right after the one that was cut",
        copy_to("2024-01-31 11:00Z"),
        at("2024-01-31 11:00"),
        (*COUNTS, COARSE, "assert_close_times_inside"),
    ),
    Defect(
        _BOTH,
        "a candle appears before the listing",
        copy_to("2024-01-30 05:00Z"),
        at("2024-01-30 05:00", reason="before_listing"),
        (*COUNTS, COARSE, RANGE),
    ),
)
