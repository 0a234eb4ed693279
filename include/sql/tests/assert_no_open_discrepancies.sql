-- what: whatever disagrees with the series, a timeframe, a source or an archive file, is explained
-- scope: one series and the coarser ones made of the same trades, one window
-- severity: warn
-- why: one of the two sides is wrong and nobody knows which; a person has to look
WITH violations AS (
    SELECT own.series_id, d.open_time, s.timeframe, d.kind, d.other, d.field, d.stored_value, d.other_value, d.detected_at
    FROM market.series own
    JOIN market.series s ON s.instrument_id = own.instrument_id
    JOIN market.timeframes t ON t.timeframe = s.timeframe
    JOIN market.discrepancies d ON d.series_id = s.series_id
    WHERE own.series_id = %(series_id)s AND d.state = 'open'
      AND (d.series_id = own.series_id OR d.kind = 'rollup' AND d.other = own.timeframe)
      AND d.open_time < %(window_end)s AND d.open_time + t.step > %(window_start)s
)
SELECT * FROM violations ORDER BY open_time, timeframe, kind, other, field
