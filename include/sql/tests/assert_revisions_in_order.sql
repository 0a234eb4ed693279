-- what: no candle is newer than its series' revision, and its versions follow each other without overlap or hole
-- scope: one series, one window
-- severity: fail
-- why: a past state can only be read if revision numbers are in commit order
-- neighbours: assert_candles_have_provenance, assert_months_match_candles, assert_no_missing_open_times, assert_quarantine_is_settled, assert_status_matches_candles
-- A hole is right only after a version that was taken out.
WITH versions AS (
    SELECT o.series_id, o.open_time, o.revision, o.superseded_revision, o.removed,
           lead(o.revision, 1, c.revision) OVER (PARTITION BY o.open_time ORDER BY o.revision) AS next_revision
    FROM market.candle_revisions o
    LEFT JOIN candles c ON c.series_id = %(series_id)s AND c.open_time = o.open_time
          AND c.open_time >= %(window_start)s AND c.open_time < %(window_end)s
    WHERE o.series_id = %(series_id)s AND o.open_time >= %(window_start)s AND o.open_time < %(window_end)s
),
violations AS (
    SELECT c.series_id, c.open_time, c.revision, 'newer than the series' AS problem
    FROM candles c JOIN market.series s USING (series_id)
    WHERE c.series_id = %(series_id)s AND c.open_time >= %(window_start)s AND c.open_time < %(window_end)s
      AND c.revision > s.revision
    UNION ALL
    SELECT v.series_id, v.open_time, v.revision, 'superseded at an unknown revision'
    FROM versions v
    WHERE NOT EXISTS (SELECT FROM market.series_revisions r
                      WHERE r.series_id = v.series_id AND r.revision = v.superseded_revision)
    UNION ALL
    SELECT v.series_id, v.open_time, v.revision, 'not superseded by the next version'
    FROM versions v WHERE NOT v.removed AND v.next_revision <> v.superseded_revision
    UNION ALL
    SELECT v.series_id, v.open_time, v.revision, 'superseded by nothing'
    FROM versions v WHERE NOT v.removed AND v.next_revision IS NULL
    UNION ALL
    SELECT v.series_id, v.open_time, v.revision, 'taken out after the next version came'
    FROM versions v WHERE v.removed AND v.next_revision <= v.superseded_revision
)
SELECT * FROM violations ORDER BY open_time
