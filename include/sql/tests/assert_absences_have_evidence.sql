-- what: a known absence inside a series' life rests on the answer of everybody who was to be asked
-- scope: one series, one window
-- severity: fail
-- why: without evidence a missing candle is lost, not absent
-- REST, or its refusal of a symbol it has forgotten; and the archive where the venue has one.
-- The ends of a life may be shown by either.
WITH asked AS (
    SELECT EXISTS (SELECT FROM market.providers p JOIN market.series_names n
                   ON (n.venue, n.market) = (p.venue, p.market)
                   WHERE n.series_id = %(series_id)s AND p.name LIKE '%%\_archive') AS has_archive
),
violations AS (
    SELECT series_id, absence_id, window_start, window_end, reason
    FROM market.known_absences, asked
    WHERE series_id = %(series_id)s AND withdrawn_revision IS NULL
      AND window_start < %(window_end)s AND window_end > %(window_start)s
      AND CASE reason
          WHEN 'before_listing' THEN
              evidence #> '{rest,0}' IS NULL AND evidence #> '{archive,0}' IS NULL
              OR evidence -> 'first_open_time_ms' IS NULL
          WHEN 'after_end' THEN
              evidence #> '{rest,0}' IS NULL AND evidence #> '{archive,0}' IS NULL
              OR evidence -> 'last_open_time_ms' IS NULL
          ELSE
              evidence #> '{rest,0}' IS NULL
              OR has_archive AND evidence #> '{archive,0}' IS NULL
              OR evidence #> '{neighbours_ms,1}' IS NULL AND evidence -> 'resumed_open_time_ms' IS NULL
          END
)
SELECT * FROM violations ORDER BY window_start
