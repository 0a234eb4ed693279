-- what: oldest and newest time of the series are those of its candles, hot and cold
-- scope: one series, everything
-- severity: fail
-- why: historical_data_range is what people and syncs go by
-- neighbours: assert_status_matches_candles
WITH actual AS (
    SELECT min(oldest) AS oldest, max(newest) AS newest
    FROM (
        SELECT min(open_time) AS oldest, max(open_time) AS newest
        FROM market.candles WHERE series_id = %(series_id)s
        UNION ALL
        SELECT min(first_open_time), max(last_open_time)
        FROM market.cold_files WHERE series_id = %(series_id)s
    ) AS tiers
),
violations AS (
    SELECT s.series_id, s.oldest_data_time, a.oldest, s.newest_data_time, a.newest
    FROM market.series_status s, actual a
    WHERE s.series_id = %(series_id)s
      AND (s.oldest_data_time, s.newest_data_time) IS DISTINCT FROM (a.oldest, a.newest)
)
SELECT * FROM violations
