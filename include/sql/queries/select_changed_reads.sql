-- Candles that completed backtests have read and that changed since: revised or taken out.
-- Bounded by a series (or NULL) and by when the change was recorded.
SELECT b.backtest_id, b.dag_run_id, b.strategy, r.series_id, r.window_start, r.window_end, r.revision AS read_revision,
       v.open_time, CASE WHEN v.removed THEN 'removed' ELSE 'revised' END AS change,
       v.superseded_revision, v.superseded_at, v.reason
FROM market.backtest_reads r
JOIN market.backtests b ON b.backtest_id = r.backtest_id AND b.status = 'completed'
JOIN market.candle_revisions v ON v.series_id = r.series_id
     AND v.open_time >= r.window_start AND v.open_time < r.window_end
     AND v.revision <= r.revision AND v.superseded_revision > r.revision
WHERE (%(series_id)s::smallint IS NULL OR r.series_id = %(series_id)s)
  AND v.superseded_at >= coalesce(%(since)s, '-infinity'::timestamptz)
ORDER BY 1, 8
