-- what: every candle leads to the fetch it came from and to its revision
-- scope: one series, one window
-- severity: fail
-- why: a row without a source can be neither checked nor corrected
-- neighbours: assert_revisions_in_order
WITH violations AS (
    SELECT c.series_id, c.open_time, c.fetch_id, c.revision
    FROM candles c
    LEFT JOIN market.fetches f USING (fetch_id)
    LEFT JOIN market.series_revisions r ON r.series_id = c.series_id AND r.revision = c.revision
    WHERE c.series_id = %(series_id)s AND c.open_time >= %(window_start)s AND c.open_time < %(window_end)s
      AND (f.fetch_id IS NULL OR r.revision IS NULL)
)
SELECT * FROM violations ORDER BY open_time
