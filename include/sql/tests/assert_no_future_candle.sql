-- what: no candle opens after the venue's present
-- scope: one series, everything
-- severity: fail
-- why: a time in the future shows a wrong unit or a wrong clock
-- neighbours: assert_range_matches_candles, assert_status_matches_candles, assert_months_match_candles
WITH violations AS (
    SELECT series_id, open_time, %(venue_time)s::timestamptz AS venue_time
    FROM candles
    WHERE series_id = %(series_id)s AND open_time > %(venue_time)s
)
SELECT * FROM violations ORDER BY open_time
