-- Range and totals of a series after a publication; counted for the window, not rescanned.
INSERT INTO market.series_status AS s
    (series_id, sync_status, last_sync_time, total_candles, oldest_data_time, newest_data_time)
VALUES (%(series_id)s, 'syncing', clock_timestamp(), %(inserted)s, %(first)s, %(last)s)
ON CONFLICT (series_id) DO UPDATE
SET last_sync_time = clock_timestamp(),
    total_candles = s.total_candles + excluded.total_candles,
    oldest_data_time = least(s.oldest_data_time, excluded.oldest_data_time),
    newest_data_time = greatest(s.newest_data_time, excluded.newest_data_time)
