-- The months before a time of which a series has rows in the hot table, ascending.
SELECT DISTINCT date_trunc('month', open_time AT TIME ZONE 'UTC')::date AS month
FROM {candles}
WHERE series_id = %(series_id)s AND open_time < %(before)s
ORDER BY month
