-- In which fields the candles superseded at a revision differ from what replaced them.
SELECT field, count(*)
FROM market.candle_revisions o
JOIN {candles} c ON c.series_id = o.series_id AND c.open_time = o.open_time
     AND c.open_time >= %(window_start)s AND c.open_time < %(window_end)s,
     LATERAL (VALUES ('open', o.open <> c.open), ('high', o.high <> c.high), ('low', o.low <> c.low),
                     ('close', o.close <> c.close), ('volume', o.volume <> c.volume),
                     ('quote_volume', o.quote_volume <> c.quote_volume),
                     ('taker_buy_base_volume', o.taker_buy_base_volume <> c.taker_buy_base_volume),
                     ('taker_buy_quote_volume', o.taker_buy_quote_volume <> c.taker_buy_quote_volume),
                     ('trades_count', o.trades_count <> c.trades_count),
                     ('close_time', o.close_time IS DISTINCT FROM c.close_time)) AS compared (field, differs)
WHERE o.series_id = %(series_id)s AND o.superseded_revision = %(revision)s AND NOT o.removed AND differs
GROUP BY field
