-- what: the series' status exists and counts its candles rightly
-- scope: one series, everything
-- severity: fail
-- why: sync_status is what people and alerts go by
-- neighbours: assert_range_matches_candles
WITH actual AS (
    SELECT count(*) AS candles FROM market.candles WHERE series_id = %(series_id)s
),
violations AS (
    SELECT n.series_id, s.total_candles, a.candles
    FROM actual a, market.series n
    LEFT JOIN market.series_status s USING (series_id)
    WHERE n.series_id = %(series_id)s AND s.total_candles IS DISTINCT FROM a.candles
)
SELECT * FROM violations
