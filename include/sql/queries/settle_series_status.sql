-- The outcome of a sync. Complete means: no error, and every open time from the oldest to the
-- newest stored candle is stored or known absent. Counted, not rescanned.
WITH steps AS (
    SELECT t.step, s.oldest_data_time AS first, s.newest_data_time + t.step AS past,
           s.total_candles AS stored
    FROM market.series_status s
    JOIN market.series n USING (series_id)
    JOIN market.timeframes t USING (timeframe)
    WHERE s.series_id = %(series_id)s
),
absent AS (
    SELECT coalesce(sum(extract(epoch FROM least(a.window_end, past) - greatest(a.window_start, first))
                        / extract(epoch FROM step)), 0) AS candles
    FROM steps
    JOIN market.known_absences a ON a.series_id = %(series_id)s AND a.withdrawn_revision IS NULL
                                AND a.window_start < past AND a.window_end > first
)
UPDATE market.series_status
SET sync_status = %(sync_status)s, last_sync_time = clock_timestamp(),
    error_message = %(error_message)s,
    is_complete = %(error_message)s::text IS NULL AND coalesce((
        SELECT steps.stored + absent.candles = extract(epoch FROM past - first) / extract(epoch FROM step)
        FROM steps, absent), false)
WHERE series_id = %(series_id)s
