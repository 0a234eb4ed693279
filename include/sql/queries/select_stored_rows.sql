-- The rows of the hot table in [window_start, window_end), ascending, as cold files hold them.
SELECT (extract(epoch FROM open_time) * 1000)::bigint AS open_time, open, high, low, close,
       volume, quote_volume, taker_buy_base_volume, taker_buy_quote_volume, trades_count,
       (extract(epoch FROM coalesce(close_time, open_time + %(step)s - interval '1 millisecond')) * 1000)::bigint AS close_time,
       fetch_id, revision
FROM {candles}
WHERE series_id = %(series_id)s AND open_time >= %(window_start)s AND open_time < %(window_end)s
ORDER BY open_time
