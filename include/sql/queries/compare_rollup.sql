-- The candles of a series beside the totals of its finer candles, in a window of whole candles:
-- those that differ and those of `held`, and in every row how many were compared at all.
-- Compared is a candle of which every finer open_time is stored or known absent. A finer candle
-- without volume repeats an old price and is left out of open, high, low and close.
WITH finer AS (
    SELECT date_bin(%(coarse_step)s, open_time, '1970-01-05 00:00:00+00') AS open_time, count(*) AS present,
           (array_agg(open ORDER BY open_time) FILTER (WHERE volume > 0))[1] AS open,
           max(high) FILTER (WHERE volume > 0) AS high,
           min(low) FILTER (WHERE volume > 0) AS low,
           (array_agg(close ORDER BY open_time DESC) FILTER (WHERE volume > 0))[1] AS close,
           sum(volume) AS volume, sum(quote_volume) AS quote_volume,
           sum(taker_buy_base_volume) AS taker_buy_base_volume,
           sum(taker_buy_quote_volume) AS taker_buy_quote_volume, sum(trades_count) AS trades_count,
           bool_and(volume = 0 OR greatest(quote_volume, taker_buy_base_volume, taker_buy_quote_volume, trades_count) > 0) AS carried
    FROM candles
    WHERE timeframe = %(finer)s AND series_id = %(finer_id)s
      AND open_time >= %(window_start)s AND open_time < %(window_end)s
    GROUP BY 1
),
compared AS (
    SELECT c.open_time, c.open, c.high, c.low, c.close, c.volume, c.quote_volume,
           c.taker_buy_base_volume, c.taker_buy_quote_volume, c.trades_count,
           c.volume = 0 OR greatest(c.quote_volume, c.taker_buy_base_volume, c.taker_buy_quote_volume, c.trades_count) > 0 AS carried,
           f.open AS finer_open, f.high AS finer_high, f.low AS finer_low, f.close AS finer_close,
           coalesce(f.volume, 0) AS finer_volume, coalesce(f.quote_volume, 0) AS finer_quote_volume,
           coalesce(f.taker_buy_base_volume, 0) AS finer_taker_buy_base_volume,
           coalesce(f.taker_buy_quote_volume, 0) AS finer_taker_buy_quote_volume,
           coalesce(f.trades_count, 0) AS finer_trades_count, coalesce(f.carried, true) AS finer_carried
    FROM candles c
    LEFT JOIN finer f USING (open_time)
    WHERE c.timeframe = %(coarse)s AND c.series_id = %(coarse_id)s
      AND c.open_time >= %(window_start)s AND c.open_time < %(window_end)s
      AND CASE WHEN f.present = %(parts)s THEN true ELSE
          coalesce(f.present, 0) + coalesce((
              SELECT sum(extract(epoch FROM least(a.window_end, c.open_time + %(coarse_step)s) - greatest(a.window_start, c.open_time)))
              FROM market.known_absences a
              WHERE a.series_id = %(finer_id)s AND a.withdrawn_revision IS NULL
                AND a.window_start < c.open_time + %(coarse_step)s AND a.window_end > c.open_time), 0)
              / extract(epoch FROM %(finer_step)s) = %(parts)s
          END
)
SELECT n.compared, d.*
FROM (SELECT count(*) AS compared FROM compared) n
LEFT JOIN compared d
    ON d.open_time = ANY (%(held)s)
    OR d.volume <> d.finer_volume
    OR d.volume > 0 AND d.finer_volume > 0
       AND (d.open, d.high, d.low, d.close) IS DISTINCT FROM (d.finer_open, d.finer_high, d.finer_low, d.finer_close)
    OR d.carried AND d.finer_carried
       AND (d.quote_volume, d.taker_buy_base_volume, d.taker_buy_quote_volume, d.trades_count)
           <> (d.finer_quote_volume, d.finer_taker_buy_base_volume, d.finer_taker_buy_quote_volume, d.finer_trades_count)
ORDER BY d.open_time
