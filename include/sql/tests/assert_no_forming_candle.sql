-- what: every stored candle had closed by the venue's clock
-- scope: one series, one window and everything after it
-- severity: fail
-- why: a forming candle still changes; stored once it would stay wrong for ever
-- neighbours: assert_months_match_candles, assert_range_matches_candles, assert_status_matches_candles
WITH violations AS (
    SELECT c.series_id, c.open_time, c.open_time + t.step AS closes_at, %(venue_time)s::timestamptz AS venue_time
    FROM candles c
    JOIN market.series s USING (series_id)
    JOIN market.timeframes t ON t.timeframe = s.timeframe
    WHERE c.series_id = %(series_id)s AND c.open_time >= %(window_start)s
      AND c.open_time <= %(venue_time)s AND c.open_time + t.step > %(venue_time)s
)
SELECT * FROM violations ORDER BY open_time
