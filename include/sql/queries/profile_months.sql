-- What one month of a series holds: counts of candles and of what should not be among them.
SELECT (extract(epoch FROM date_trunc('month', open_time AT TIME ZONE 'UTC')) * 1000)::bigint AS month_ms,
       count(*) AS stored,
       count(*) FILTER (WHERE date_bin(%(step)s, open_time, '1970-01-05 00:00:00+00') <> open_time) AS off_grid,
       count(*) FILTER (WHERE NOT (low > 0 AND low <= open AND low <= close AND high >= open AND high >= close AND high < 'Infinity')) AS out_of_range_prices,
       count(*) FILTER (WHERE NOT (volume >= taker_buy_base_volume AND taker_buy_base_volume >= 0 AND volume < 'Infinity'
                                   AND quote_volume >= taker_buy_quote_volume AND taker_buy_quote_volume >= 0 AND quote_volume < 'Infinity')) AS bad_volumes,
       count(*) FILTER (WHERE volume = 0) AS zero_volume
FROM {candles}
WHERE series_id = %(series_id)s AND open_time >= %(window_start)s AND open_time < %(window_end)s
GROUP BY 1
ORDER BY 1
