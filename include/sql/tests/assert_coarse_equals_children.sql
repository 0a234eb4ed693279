-- what: a candle has exactly the open, high, low, close and volume of its finer candles
-- scope: one series against every finer stored series of its instrument, one window
-- severity: fail
-- why: both come from the same trades; a difference means that one of them is wrong
-- neighbours: assert_coarse_flow_equals_children
-- A finer candle without volume repeats an old price and is left out of open, high, low and
-- close. A candle is compared only where every finer open_time is stored or known absent.
WITH pairs AS (
    SELECT p.series_id AS parent_id, c.series_id AS child_id, tp.step AS parent_step, tc.step AS child_step
    FROM market.series p
    JOIN market.timeframes tp ON tp.timeframe = p.timeframe
    JOIN market.series c ON c.instrument_id = p.instrument_id
    JOIN market.timeframes tc ON tc.timeframe = c.timeframe AND tc.step < tp.step
    WHERE p.series_id = %(series_id)s
),
children AS (
    SELECT k.child_id, k.parent_step, k.child_step,
           date_bin(k.parent_step, c.open_time, '1970-01-05 00:00:00+00') AS open_time,
           count(*) AS present,
           (array_agg(c.open ORDER BY c.open_time) FILTER (WHERE c.volume > 0))[1] AS open,
           max(c.high) FILTER (WHERE c.volume > 0) AS high,
           min(c.low) FILTER (WHERE c.volume > 0) AS low,
           (array_agg(c.close ORDER BY c.open_time DESC) FILTER (WHERE c.volume > 0))[1] AS close,
           sum(c.volume) AS volume
    FROM pairs k
    JOIN market.candles c ON c.series_id = k.child_id
    WHERE c.open_time >= %(window_start)s AND c.open_time < %(window_end)s
    GROUP BY k.child_id, k.parent_step, k.child_step, 4
),
complete AS (
    SELECT h.*
    FROM children h
    WHERE h.open_time >= %(window_start)s AND h.open_time + h.parent_step <= %(window_end)s
      AND h.present * extract(epoch FROM h.child_step) + coalesce((
          SELECT sum(extract(epoch FROM least(a.window_end, h.open_time + h.parent_step) - greatest(a.window_start, h.open_time)))
          FROM market.known_absences a
          WHERE a.series_id = h.child_id AND a.withdrawn_revision IS NULL
            AND a.window_start < h.open_time + h.parent_step AND a.window_end > h.open_time), 0)
          = extract(epoch FROM h.parent_step)
),
violations AS (
    SELECT c.series_id, c.open_time, h.child_id,
           c.open, h.open AS child_open, c.high, h.high AS child_high, c.low, h.low AS child_low,
           c.close, h.close AS child_close, c.volume, h.volume AS child_volume
    FROM market.candles c
    JOIN complete h USING (open_time)
    WHERE c.series_id = %(series_id)s AND c.open_time >= %(window_start)s AND c.open_time < %(window_end)s
      AND (c.volume <> h.volume
           OR h.volume > 0 AND (c.open, c.high, c.low, c.close) IS DISTINCT FROM (h.open, h.high, h.low, h.close))
)
SELECT * FROM violations ORDER BY open_time
