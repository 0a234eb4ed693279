-- what: every expected open_time of the window is stored or known absent
-- scope: one series, one window
-- severity: fail
-- why: a lost candle is obtainable; a backtest over it would be wrong without saying so
-- neighbours: assert_months_match_candles, assert_quarantine_is_settled, assert_range_matches_candles, assert_status_matches_candles
WITH expected AS (
    SELECT g AS open_time
    FROM market.series s
    JOIN market.timeframes t USING (timeframe),
         generate_series(
             date_bin(t.step, %(window_start)s::timestamptz + t.step - interval '1 microsecond', '1970-01-05 00:00:00+00'),
             least(%(window_end)s::timestamptz - interval '1 microsecond', %(venue_time)s::timestamptz - t.step),
             t.step) AS g
    WHERE s.series_id = %(series_id)s
),
violations AS (
    SELECT %(series_id)s::int AS series_id, e.open_time
    FROM expected e
    WHERE NOT EXISTS (
        SELECT FROM candles c WHERE c.series_id = %(series_id)s AND c.open_time = e.open_time
          AND c.open_time >= %(window_start)s AND c.open_time < %(window_end)s)
      AND NOT EXISTS (
        SELECT FROM market.known_absences a WHERE a.series_id = %(series_id)s AND a.withdrawn_revision IS NULL
          AND a.window_start <= e.open_time AND a.window_end > e.open_time)
)
SELECT * FROM violations ORDER BY open_time
