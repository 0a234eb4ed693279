-- Keep the old version of every stored candle that the staged one changes.
INSERT INTO market.candle_revisions
SELECT c.series_id, c.open_time, c.open, c.high, c.low, c.close, c.volume, c.quote_volume,
       c.taker_buy_base_volume, c.taker_buy_quote_volume, c.trades_count, c.close_time,
       c.fetch_id, c.revision, %(revision)s, clock_timestamp(), %(reason)s, false
FROM {candles} c
JOIN staged_candles s USING (series_id, open_time)
WHERE c.series_id = %(series_id)s AND c.open_time >= %(first)s AND c.open_time <= %(last)s
  AND (c.open, c.high, c.low, c.close, c.volume, c.quote_volume, c.taker_buy_base_volume,
       c.taker_buy_quote_volume, c.trades_count, c.close_time)
      IS DISTINCT FROM
      (s.open, s.high, s.low, s.close, s.volume, s.quote_volume, s.taker_buy_base_volume,
       s.taker_buy_quote_volume, s.trades_count, s.close_time)
