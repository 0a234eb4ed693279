-- what: an open_time of a series is stored once
-- scope: one series, one window
-- severity: fail
-- why: the key forbids it; a partition attached or restored without its key would not
-- neighbours: assert_months_match_candles, assert_status_matches_candles
WITH violations AS (
    SELECT series_id, open_time, count(*) AS copies
    FROM candles
    WHERE series_id = %(series_id)s AND open_time >= %(window_start)s AND open_time < %(window_end)s
    GROUP BY series_id, open_time
    HAVING count(*) > 1
)
SELECT * FROM violations ORDER BY open_time
