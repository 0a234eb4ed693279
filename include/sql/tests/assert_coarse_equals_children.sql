-- what: a candle is exactly what its finer candles add up to, or market.discrepancies says where not
-- scope: one series against every finer stored series of its instrument, one window
-- severity: fail
-- why: both come from the same trades; a difference that nobody has written down is lost again
-- neighbours: assert_close_times_inside, assert_months_match_candles, assert_status_matches_candles
-- A row of market.discrepancies holds a difference only with the very values found here.
-- Compared is a candle of which every finer open_time is stored or known absent. A finer candle
-- without volume repeats an old price and is left out of open, high, low and close. Of the
-- columns after volume only those count that every source of both sides carries.
WITH pairs AS (
    SELECT c.series_id AS finer_id, c.timeframe AS finer, tp.step AS coarse_step, tc.step AS finer_step,
           extract(epoch FROM tp.step) / extract(epoch FROM tc.step) AS parts
    FROM market.series p
    JOIN market.timeframes tp ON tp.timeframe = p.timeframe
    JOIN market.series c ON c.instrument_id = p.instrument_id
    JOIN market.timeframes tc ON tc.timeframe = c.timeframe AND tc.step < tp.step
    WHERE p.series_id = %(series_id)s
),
finer AS (
    SELECT k.finer_id, date_bin(k.coarse_step, c.open_time, '1970-01-05 00:00:00+00') AS open_time, count(*) AS present,
           (array_agg(c.open ORDER BY c.open_time) FILTER (WHERE c.volume > 0))[1] AS open,
           max(c.high) FILTER (WHERE c.volume > 0) AS high,
           min(c.low) FILTER (WHERE c.volume > 0) AS low,
           (array_agg(c.close ORDER BY c.open_time DESC) FILTER (WHERE c.volume > 0))[1] AS close,
           sum(c.volume) AS volume, sum(c.quote_volume) AS quote_volume,
           sum(c.taker_buy_base_volume) AS taker_buy_base_volume,
           sum(c.taker_buy_quote_volume) AS taker_buy_quote_volume, sum(c.trades_count) AS trades_count,
           bool_and(c.volume = 0 OR greatest(c.quote_volume, c.taker_buy_base_volume, c.taker_buy_quote_volume, c.trades_count) > 0) AS carried
    FROM pairs k
    JOIN candles c ON c.series_id = k.finer_id
    WHERE c.open_time >= %(window_start)s AND c.open_time < %(window_end)s
    GROUP BY 1, 2
),
compared AS (
    SELECT c.*, k.finer, f.open AS f_open, f.high AS f_high, f.low AS f_low, f.close AS f_close,
           coalesce(f.volume, 0) AS f_volume, coalesce(f.quote_volume, 0) AS f_quote_volume,
           coalesce(f.taker_buy_base_volume, 0) AS f_taker_buy_base_volume,
           coalesce(f.taker_buy_quote_volume, 0) AS f_taker_buy_quote_volume,
           coalesce(f.trades_count, 0) AS f_trades_count,
           c.volume > 0 AND f.volume > 0 AS priced,
           coalesce(f.carried, true) AND (c.volume = 0 OR greatest(c.quote_volume, c.taker_buy_base_volume, c.taker_buy_quote_volume, c.trades_count) > 0) AS carried
    FROM candles c
    CROSS JOIN pairs k
    LEFT JOIN finer f ON f.finer_id = k.finer_id AND f.open_time = c.open_time
    WHERE c.series_id = %(series_id)s
      AND c.open_time >= %(window_start)s AND c.open_time + k.coarse_step <= %(window_end)s
      AND CASE WHEN f.present = k.parts THEN true ELSE
          coalesce(f.present, 0) + coalesce((
              SELECT sum(extract(epoch FROM least(a.window_end, c.open_time + k.coarse_step) - greatest(a.window_start, c.open_time)))
              FROM market.known_absences a
              WHERE a.series_id = k.finer_id AND a.withdrawn_revision IS NULL
                AND a.window_start < c.open_time + k.coarse_step AND a.window_end > c.open_time), 0)
              / extract(epoch FROM k.finer_step) = k.parts
          END
),
violations AS (
    SELECT c.series_id, c.open_time, c.finer, v.field, v.stored_value, v.finer_total
    FROM compared c
    CROSS JOIN LATERAL (VALUES
        ('open', c.open, c.f_open, c.priced), ('high', c.high, c.f_high, c.priced),
        ('low', c.low, c.f_low, c.priced), ('close', c.close, c.f_close, c.priced),
        ('volume', c.volume, c.f_volume, true), ('quote_volume', c.quote_volume, c.f_quote_volume, c.carried),
        ('taker_buy_base_volume', c.taker_buy_base_volume, c.f_taker_buy_base_volume, c.carried),
        ('taker_buy_quote_volume', c.taker_buy_quote_volume, c.f_taker_buy_quote_volume, c.carried),
        ('trades_count', c.trades_count, c.f_trades_count, c.carried)
    ) AS v (field, stored_value, finer_total, counts)
    WHERE v.counts AND v.stored_value <> v.finer_total
      AND NOT EXISTS (
        SELECT FROM market.discrepancies d
        WHERE d.series_id = %(series_id)s AND d.open_time = c.open_time AND d.kind = 'rollup'
          AND d.other = c.finer AND d.field = v.field AND d.state <> 'settled'
          AND d.stored_value = v.stored_value AND d.other_value = v.finer_total)
)
SELECT * FROM violations ORDER BY open_time, finer, field
