-- what: a month is cold exactly where a file holds it, with as many candles as the ledger counts, and none of them is hot as well
-- scope: one series, everything
-- severity: fail
-- why: a candle in both tiers is counted twice, a month in neither is gone
-- neighbours: assert_months_match_candles, assert_status_matches_candles
WITH months AS (
    SELECT m.series_id, m.month, m.tier, m.stored, f.rows, f.path
    FROM market.series_months m
    LEFT JOIN market.cold_files f USING (series_id, month)
    WHERE m.series_id = %(series_id)s AND (m.tier = 'cold' OR f.path IS NOT NULL)
),
violations AS (
    SELECT series_id, month, 'cold without a file' AS problem, stored, rows
    FROM months WHERE tier = 'cold' AND path IS NULL
    UNION ALL
    SELECT series_id, month, 'hot with a file', stored, rows
    FROM months WHERE tier = 'hot'
    UNION ALL
    SELECT series_id, month, 'the file holds another number of candles', stored, rows
    FROM months WHERE rows <> stored
    UNION ALL
    SELECT m.series_id, m.month, 'candles in the hot table', m.stored, m.rows
    FROM months m
    WHERE m.tier = 'cold' AND EXISTS (
        SELECT FROM market.candles c
        WHERE c.series_id = %(series_id)s
          AND c.open_time >= m.month::timestamp AT TIME ZONE 'UTC'
          AND c.open_time < (m.month + interval '1 month') AT TIME ZONE 'UTC')
)
SELECT * FROM violations ORDER BY month, problem
