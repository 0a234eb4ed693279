-- what: an irregular close_time lies inside its candle and comes before a gap or a candle without trades
-- scope: one series, one window
-- severity: warn
-- why: the venue cuts the last candle before an outage; anywhere else an early close is strange
WITH irregular AS (
    SELECT c.series_id, c.open_time, c.close_time, t.step
    FROM candles c
    JOIN market.series s USING (series_id)
    JOIN market.timeframes t ON t.timeframe = s.timeframe
    WHERE c.series_id = %(series_id)s AND c.open_time >= %(window_start)s AND c.open_time < %(window_end)s
      AND c.close_time IS NOT NULL
),
violations AS (
    SELECT i.series_id, i.open_time, i.close_time
    FROM irregular i
    WHERE i.close_time < i.open_time OR i.close_time >= i.open_time + i.step
       OR i.step < interval '4 hours' AND EXISTS (
           SELECT FROM candles n WHERE n.series_id = %(series_id)s
             AND n.open_time = i.open_time + i.step AND n.volume > 0)
)
SELECT * FROM violations ORDER BY open_time
