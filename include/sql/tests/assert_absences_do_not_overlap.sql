-- what: two valid known absences of a series share no instant
-- scope: one series, one window
-- severity: fail
-- why: an open_time explained twice would be counted twice
WITH violations AS (
    SELECT a.series_id, a.absence_id, b.absence_id AS other_id, a.window_start, a.window_end
    FROM market.known_absences a
    JOIN market.known_absences b ON b.series_id = a.series_id AND b.absence_id > a.absence_id
                                AND b.window_start < a.window_end AND b.window_end > a.window_start
    WHERE a.series_id = %(series_id)s AND a.withdrawn_revision IS NULL AND b.withdrawn_revision IS NULL
      AND a.window_start < %(window_end)s AND a.window_end > %(window_start)s
)
SELECT * FROM violations ORDER BY window_start
