-- what: the candle at the time of a row in quarantine is stored by now or known absent
-- scope: one series, one window
-- severity: warn
-- why: a refused row whose candle never came otherwise is a candle to look after
-- neighbours: assert_months_match_candles, assert_no_missing_open_times, assert_revisions_in_order, assert_status_matches_candles
-- A row off the grid belongs to the candle that it lies in.
WITH refused AS (
    SELECT q.series_id, date_bin(t.step, q.open_time, '1970-01-05 00:00:00+00') AS open_time,
           q.quarantine_id, q.reasons
    FROM market.quarantine q
    JOIN market.series s USING (series_id)
    JOIN market.timeframes t USING (timeframe)
    WHERE q.series_id = %(series_id)s AND q.open_time >= %(window_start)s AND q.open_time < %(window_end)s
),
violations AS (
    SELECT q.series_id, q.open_time, q.quarantine_id, q.reasons
    FROM refused q
    WHERE NOT EXISTS (
        SELECT FROM candles c WHERE c.series_id = %(series_id)s AND c.open_time = q.open_time)
      AND NOT EXISTS (
        SELECT FROM market.known_absences a WHERE a.series_id = %(series_id)s AND a.withdrawn_revision IS NULL
          AND a.window_start <= q.open_time AND a.window_end > q.open_time)
)
SELECT * FROM violations ORDER BY open_time
