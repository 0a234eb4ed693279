-- what: no candle or old version is newer than its series' revision, and versions do not overlap
-- scope: one series, one window
-- severity: fail
-- why: a past state can only be read if revision numbers are in commit order
-- neighbours: assert_candles_have_provenance
WITH violations AS (
    SELECT c.series_id, c.open_time, c.revision, 'newer than the series' AS problem
    FROM market.candles c JOIN market.series s USING (series_id)
    WHERE c.series_id = %(series_id)s AND c.open_time >= %(window_start)s AND c.open_time < %(window_end)s
      AND c.revision > s.revision
    UNION ALL
    SELECT o.series_id, o.open_time, o.revision, 'superseded by nothing current'
    FROM market.candle_revisions o
    WHERE o.series_id = %(series_id)s AND o.open_time >= %(window_start)s AND o.open_time < %(window_end)s
      AND NOT EXISTS (SELECT FROM market.series_revisions r
                      WHERE r.series_id = o.series_id AND r.revision = o.superseded_revision)
    UNION ALL
    SELECT a.series_id, a.open_time, a.revision, 'two versions at one revision'
    FROM market.candle_revisions a
    JOIN market.candle_revisions b ON b.series_id = a.series_id AND b.open_time = a.open_time
                                  AND b.revision > a.revision AND b.revision < a.superseded_revision
    WHERE a.series_id = %(series_id)s AND a.open_time >= %(window_start)s AND a.open_time < %(window_end)s
)
SELECT * FROM violations ORDER BY open_time
