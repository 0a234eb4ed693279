-- what: no batch of the series is marked running without having been claimed in the last hour
-- scope: one series, everything
-- severity: warn
-- why: a killed worker leaves its batch running; the next load of the series settles it
WITH violations AS (
    SELECT series_id, batch_id, window_start, window_end, claimed_by, claimed_at
    FROM market.batches
    WHERE series_id = %(series_id)s AND state = 'running' AND claimed_at < clock_timestamp() - interval '1 hour'
)
SELECT * FROM violations ORDER BY window_start
