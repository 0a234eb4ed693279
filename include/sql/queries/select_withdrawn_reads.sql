-- Absences that completed backtests have read and that were withdrawn since, cut to what was read.
-- Bounded by a series (or NULL) and by when they were withdrawn.
SELECT b.backtest_id, b.dag_run_id, b.strategy, r.series_id,
       greatest(a.window_start, r.window_start), least(a.window_end, r.window_end), r.revision,
       s.recorded_at, a.withdrawn_reason
FROM market.backtest_reads r
JOIN market.backtests b ON b.backtest_id = r.backtest_id AND b.status = 'completed'
JOIN market.known_absences a ON a.series_id = r.series_id
     AND a.window_start < r.window_end AND a.window_end > r.window_start
     AND a.revision <= r.revision AND a.withdrawn_revision > r.revision
JOIN market.series_revisions s ON s.series_id = a.series_id AND s.revision = a.withdrawn_revision
WHERE (%(series_id)s::smallint IS NULL OR r.series_id = %(series_id)s)
  AND s.recorded_at >= coalesce(%(since)s, '-infinity'::timestamptz)
ORDER BY 1, 5
