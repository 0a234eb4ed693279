-- what: a known absence inside a series' life rests on both the archive's and REST's answer
-- scope: one series, one window
-- severity: fail
-- why: without evidence a missing candle is lost, not absent
WITH violations AS (
    SELECT series_id, absence_id, window_start, window_end, reason
    FROM market.known_absences
    WHERE series_id = %(series_id)s AND withdrawn_revision IS NULL
      AND window_start < %(window_end)s AND window_end > %(window_start)s
      AND CASE reason
          WHEN 'not_published' THEN
              evidence #> '{rest,0}' IS NULL
              OR evidence #> '{archive,0}' IS NULL
              OR evidence #> '{neighbours_ms,1}' IS NULL
          ELSE evidence #> '{rest,0}' IS NULL
          END
)
SELECT * FROM violations ORDER BY window_start
