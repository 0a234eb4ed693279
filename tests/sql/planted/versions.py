"""Candles whose origin or history cannot be told: fetch, venue, revisions."""

from tests.sql.planted.defect import COUNTS, Defect, at, delete, update

_PROVENANCE = "assert_candles_have_provenance"
_ORDER = "assert_revisions_in_order"


def from_elsewhere(provider: str, venue: str, market: str) -> str:
    """Let a candle come from another provider."""
    return f"""
        INSERT INTO market.providers (name, venue, market)
        VALUES ('{provider}', '{venue}', '{market}');
        INSERT INTO market.fetches (provider_id, url, sha256, bytes, rows, parser_version,
                                    fetched_at, duration_ms)
        SELECT provider_id, 'https://venue.test', repeat('0', 64), 1, 1, 1, clock_timestamp(), 1
        FROM market.providers WHERE name = '{provider}';
        {update("2024-02-01 10:00Z", "fetch_id = (SELECT max(fetch_id) FROM market.fetches)")}"""


DEFECTS = (
    Defect(
        _PROVENANCE,
        "the fetch of a candle is unknown",
        update("2024-02-01 10:00Z", "fetch_id = 999999"),
        at("2024-02-01 10:00", fetch_id="999999"),
    ),
    Defect(
        _PROVENANCE,
        "the revision of a candle is unknown",
        update("2024-02-01 10:00Z", "revision = 99"),
        at("2024-02-01 10:00", revision="99"),
        (_ORDER,),
    ),
    Defect(
        "assert_single_venue",
        "a candle came from another venue",
        from_elsewhere("kraken_rest", "kraken", "spot"),
        at("2024-02-01 10:00", provider_venue="kraken", venue="binance"),
    ),
    Defect(
        "assert_single_venue",
        "a candle came from another market of the venue",
        from_elsewhere("binance_um_rest", "binance", "um"),
        at("2024-02-01 10:00", provider="binance_um_rest"),
    ),
    Defect(
        _ORDER,
        "a candle is newer than its series",
        "UPDATE market.series SET revision = revision - 1 WHERE series_id = %(h1)s",
        at("2024-02-01 08:00", problem="newer than the series"),
    ),
    Defect(
        _ORDER,
        "a candle is newer than anything that was recorded",
        update("2024-02-01 10:00Z", "revision = 99"),
        at("2024-02-01 10:00", problem="newer than the series"),
        (_PROVENANCE,),
    ),
    Defect(
        _ORDER,
        "an old version was superseded at a revision that never was",
        "UPDATE market.candle_revisions SET superseded_revision = 99 WHERE series_id = %(h1)s",
        at("2024-02-01 08:00", problem="superseded at an unknown revision"),
    ),
    Defect(
        _ORDER,
        "an old version is still valid when the current one begins",
        update("2024-02-01 08:00Z", "revision = 1"),
        at("2024-02-01 08:00", problem="not superseded by the next version"),
    ),
    Defect(
        _ORDER,
        "an old version ends before the next one begins",
        """INSERT INTO market.candle_revisions
           SELECT series_id, open_time, open, high, low, close, volume, quote_volume,
                  taker_buy_base_volume, taker_buy_quote_volume, trades_count, close_time,
                  fetch_id, 1, 2, superseded_at, reason
           FROM market.candle_revisions WHERE series_id = %(h1)s""",
        at("2024-02-01 08:00", problem="not superseded by the next version"),
    ),
    Defect(
        _ORDER,
        "a candle that was restated once is gone without a trace",
        delete("2024-02-01 08:00Z"),
        at("2024-02-01 08:00", problem="superseded by nothing"),
        (*COUNTS, "assert_no_missing_open_times", "assert_quarantine_is_settled"),
    ),
    Defect(
        _ORDER,
        "a candle was taken out after its next version had come",
        """UPDATE market.candle_revisions SET removed = true, superseded_revision = 4
           WHERE series_id = %(h1)s""",
        at("2024-02-01 08:00", problem="taken out after the next version came"),
    ),
)
