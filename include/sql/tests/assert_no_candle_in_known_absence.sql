-- what: no candle is stored where the venue is said to have published none
-- scope: one series, one window
-- severity: fail
-- why: an open_time is stored or known absent, never both; one of the two is wrong
-- neighbours: assert_close_times_inside, assert_coarse_equals_children, assert_months_match_candles, assert_range_matches_candles, assert_status_matches_candles
WITH violations AS (
    SELECT c.series_id, c.open_time, a.absence_id, a.reason
    FROM candles c
    JOIN market.known_absences a ON a.series_id = c.series_id AND a.withdrawn_revision IS NULL
                                AND c.open_time >= a.window_start AND c.open_time < a.window_end
    WHERE c.series_id = %(series_id)s AND c.open_time >= %(window_start)s AND c.open_time < %(window_end)s
)
SELECT * FROM violations ORDER BY open_time
