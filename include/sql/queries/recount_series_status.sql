-- Range and total of a series after candles were taken out; hot table and cold files.
WITH parts AS (
    SELECT min(open_time) AS first, max(open_time) AS last FROM {candles} WHERE series_id = %(series_id)s
    UNION ALL
    SELECT min(first_open_time), max(last_open_time) FROM market.cold_files WHERE series_id = %(series_id)s
)
UPDATE market.series_status
SET total_candles = total_candles - %(removed)s,
    oldest_data_time = (SELECT min(first) FROM parts),
    newest_data_time = (SELECT max(last) FROM parts)
WHERE series_id = %(series_id)s
