-- what: a candle has exactly the quote volume, takers' volumes and trade count of its finer candles
-- scope: one series against every finer stored series of its instrument, one window
-- severity: warn
-- why: these columns are missing (zero) in some sources; where both series carry them they must agree
WITH pairs AS (
    SELECT c.series_id AS child_id, tp.step AS parent_step, tc.step AS child_step
    FROM market.series p
    JOIN market.timeframes tp ON tp.timeframe = p.timeframe
    JOIN market.series c ON c.instrument_id = p.instrument_id
    JOIN market.timeframes tc ON tc.timeframe = c.timeframe AND tc.step < tp.step
    WHERE p.series_id = %(series_id)s
),
children AS (
    SELECT k.child_id, k.parent_step, k.child_step,
           date_bin(k.parent_step, c.open_time, '1970-01-05 00:00:00+00') AS open_time,
           count(*) AS present, bool_and(c.volume = 0 OR c.trades_count > 0) AS carried,
           sum(c.quote_volume) AS quote_volume, sum(c.taker_buy_base_volume) AS taker_buy_base_volume,
           sum(c.taker_buy_quote_volume) AS taker_buy_quote_volume, sum(c.trades_count) AS trades_count
    FROM pairs k
    JOIN market.candles c ON c.series_id = k.child_id
    WHERE c.open_time >= %(window_start)s AND c.open_time < %(window_end)s
    GROUP BY k.child_id, k.parent_step, k.child_step, 4
),
complete AS (
    SELECT h.*
    FROM children h
    WHERE h.carried AND h.open_time >= %(window_start)s AND h.open_time + h.parent_step <= %(window_end)s
      AND h.present * extract(epoch FROM h.child_step) + coalesce((
          SELECT sum(extract(epoch FROM least(a.window_end, h.open_time + h.parent_step) - greatest(a.window_start, h.open_time)))
          FROM market.known_absences a
          WHERE a.series_id = h.child_id AND a.withdrawn_revision IS NULL
            AND a.window_start < h.open_time + h.parent_step AND a.window_end > h.open_time), 0)
          = extract(epoch FROM h.parent_step)
),
violations AS (
    SELECT c.series_id, c.open_time, h.child_id, c.quote_volume, h.quote_volume AS child_quote_volume,
           c.taker_buy_base_volume, h.taker_buy_base_volume AS child_taker_buy_base_volume,
           c.taker_buy_quote_volume, h.taker_buy_quote_volume AS child_taker_buy_quote_volume,
           c.trades_count, h.trades_count AS child_trades_count
    FROM market.candles c
    JOIN complete h USING (open_time)
    WHERE c.series_id = %(series_id)s AND c.open_time >= %(window_start)s AND c.open_time < %(window_end)s
      AND (c.volume = 0 OR c.trades_count > 0)
      AND (c.quote_volume, c.taker_buy_base_volume, c.taker_buy_quote_volume, c.trades_count)
          IS DISTINCT FROM
          (h.quote_volume, h.taker_buy_base_volume, h.taker_buy_quote_volume, h.trades_count)
)
SELECT * FROM violations ORDER BY open_time
