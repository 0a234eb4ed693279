-- The candles of a series in [window_start, window_end), ascending, as they stood at a revision.
-- Current rows no newer than the revision, and superseded versions that were current then.
SELECT (extract(epoch FROM open_time) * 1000)::bigint AS open_time, open, high, low, close,
       volume, quote_volume, taker_buy_base_volume, taker_buy_quote_volume, trades_count,
       (extract(epoch FROM coalesce(close_time, open_time + %(step)s - interval '1 millisecond')) * 1000)::bigint AS close_time,
       revision
FROM (
    SELECT open_time, open, high, low, close, volume, quote_volume, taker_buy_base_volume,
           taker_buy_quote_volume, trades_count, close_time, revision
    FROM {candles}
    WHERE series_id = %(series_id)s AND open_time >= %(window_start)s AND open_time < %(window_end)s
      AND revision <= %(revision)s
    UNION ALL
    SELECT open_time, open, high, low, close, volume, quote_volume, taker_buy_base_volume,
           taker_buy_quote_volume, trades_count, close_time, revision
    FROM market.candle_revisions
    WHERE series_id = %(series_id)s AND open_time >= %(window_start)s AND open_time < %(window_end)s
      AND revision <= %(revision)s AND superseded_revision > %(revision)s
) AS versions
ORDER BY open_time
