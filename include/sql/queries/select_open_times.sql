-- The open times stored of a series in [window_start, window_end), ascending, epoch ms.
SELECT (extract(epoch FROM open_time) * 1000)::bigint
FROM {candles}
WHERE series_id = %(series_id)s AND open_time >= %(window_start)s AND open_time < %(window_end)s
ORDER BY open_time
