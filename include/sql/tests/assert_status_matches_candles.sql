-- what: the series' status exists and counts its candles rightly, hot and cold
-- scope: one series, everything
-- severity: fail
-- why: sync_status is what people and alerts go by
-- neighbours: assert_range_matches_candles
WITH actual AS (
    SELECT (SELECT count(*) FROM market.candles WHERE series_id = %(series_id)s)
         + (SELECT coalesce(sum(rows), 0) FROM market.cold_files WHERE series_id = %(series_id)s) AS candles
),
violations AS (
    SELECT n.series_id, s.total_candles, a.candles
    FROM actual a, market.series n
    LEFT JOIN market.series_status s USING (series_id)
    WHERE n.series_id = %(series_id)s AND s.total_candles IS DISTINCT FROM a.candles
)
SELECT * FROM violations
