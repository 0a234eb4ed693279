-- what: every open_time with a row in quarantine is stored by now or known absent
-- scope: one series, one window
-- severity: warn
-- why: a refused row whose candle never came otherwise is a candle to look after
-- neighbours: assert_no_missing_open_times
WITH violations AS (
    SELECT q.series_id, q.open_time, q.quarantine_id, q.reasons
    FROM market.quarantine q
    WHERE q.series_id = %(series_id)s AND q.open_time >= %(window_start)s AND q.open_time < %(window_end)s
      AND NOT EXISTS (
        SELECT FROM market.candles c WHERE c.series_id = q.series_id AND c.open_time = q.open_time
          AND c.series_id = %(series_id)s)
      AND NOT EXISTS (
        SELECT FROM market.known_absences a WHERE a.series_id = q.series_id AND a.withdrawn_revision IS NULL
          AND a.window_start <= q.open_time AND a.window_end > q.open_time)
)
SELECT * FROM violations ORDER BY open_time
