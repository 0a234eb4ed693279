-- what: the partition ledger's counts are those of the candles: of hot months not touched since, and of every file
-- scope: one series, the months of one window and all cold ones
-- severity: fail
-- why: coverage and retention go by the ledger without counting again
-- neighbours: assert_cold_files_match_ledger
WITH counted AS (
    SELECT m.series_id, m.month, m.tier, m.stored,
           (SELECT count(*) FROM market.candles c
            WHERE c.series_id = %(series_id)s
              AND c.open_time >= m.month::timestamp AT TIME ZONE 'UTC'
              AND c.open_time < (m.month + interval '1 month') AT TIME ZONE 'UTC') AS candles
    FROM market.series_months m JOIN market.series s USING (series_id)
    WHERE m.series_id = %(series_id)s AND m.tier = 'hot' AND m.revision = s.revision
      AND (m.month + interval '1 month') AT TIME ZONE 'UTC' > %(window_start)s
      AND m.month::timestamp AT TIME ZONE 'UTC' < %(window_end)s
    UNION ALL
    SELECT m.series_id, m.month, m.tier, m.stored, f.rows
    FROM market.series_months m JOIN market.cold_files f USING (series_id, month)
    WHERE m.series_id = %(series_id)s AND m.tier = 'cold'
),
violations AS (
    SELECT series_id, month, tier, stored, candles FROM counted WHERE stored <> candles
)
SELECT * FROM violations ORDER BY month
