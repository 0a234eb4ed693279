-- By month, the newest revision at which anything of it changed: candles, old versions, absences.
SELECT month::date, max(revision)
FROM (
    SELECT date_trunc('month', open_time AT TIME ZONE 'UTC') AS month, max(revision) AS revision
    FROM {candles}
    WHERE series_id = %(series_id)s AND open_time >= %(window_start)s AND open_time < %(window_end)s
    GROUP BY 1
    UNION ALL
    SELECT date_trunc('month', open_time AT TIME ZONE 'UTC'), max(superseded_revision)
    FROM market.candle_revisions
    WHERE series_id = %(series_id)s AND open_time >= %(window_start)s AND open_time < %(window_end)s
    GROUP BY 1
    UNION ALL
    SELECT month, newest_revision
    FROM market.cold_files
    WHERE series_id = %(series_id)s AND first_open_time < %(window_end)s AND last_open_time >= %(window_start)s
    UNION ALL
    SELECT month, max(greatest(a.revision, a.withdrawn_revision))
    FROM market.known_absences a,
         generate_series(date_trunc('month', greatest(a.window_start, %(window_start)s) AT TIME ZONE 'UTC'),
                         least(a.window_end, %(window_end)s) AT TIME ZONE 'UTC' - interval '1 microsecond',
                         interval '1 month') AS month
    WHERE a.series_id = %(series_id)s AND a.window_start < %(window_end)s AND a.window_end > %(window_start)s
    GROUP BY 1
) AS touched
GROUP BY 1
