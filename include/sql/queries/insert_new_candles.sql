-- Insert the staged candles that are not stored yet; rows that are there are not touched.
INSERT INTO {candles}
SELECT s.*
FROM staged_candles s
WHERE NOT EXISTS (
    SELECT FROM {candles} c
    WHERE c.series_id = s.series_id AND c.open_time = s.open_time
      AND c.open_time >= %(first)s AND c.open_time <= %(last)s
)
