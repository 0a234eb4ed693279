-- Bring the archived candles to their new values.
UPDATE {candles} c
SET open = s.open, high = s.high, low = s.low, close = s.close, volume = s.volume,
    quote_volume = s.quote_volume, taker_buy_base_volume = s.taker_buy_base_volume,
    taker_buy_quote_volume = s.taker_buy_quote_volume, trades_count = s.trades_count,
    close_time = s.close_time, fetch_id = s.fetch_id, revision = %(revision)s
FROM staged_candles s
JOIN market.candle_revisions r ON r.series_id = s.series_id AND r.open_time = s.open_time
                              AND r.superseded_revision = %(revision)s
WHERE c.series_id = s.series_id AND c.open_time = s.open_time
  AND c.series_id = %(series_id)s AND c.open_time >= %(first)s AND c.open_time <= %(last)s
