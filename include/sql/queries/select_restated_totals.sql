-- What the candles of a series add up to over longer candles (`buckets`) in which some of them
-- were restated: now (state NULL) and as they stood before each restatement, with the open
-- times that were restated since and the last time that happened.
WITH states AS (
    SELECT DISTINCT b.bucket, o.superseded_revision - 1 AS state
    FROM unnest(%(buckets)s) AS b (bucket)
    JOIN market.candle_revisions o ON o.series_id = %(series_id)s
                                  AND o.open_time >= b.bucket AND o.open_time < b.bucket + %(bucket_step)s
),
hot AS (
    SELECT b.bucket, c.*
    FROM (SELECT DISTINCT bucket FROM states) b
    JOIN candles c ON c.timeframe = %(timeframe)s AND c.series_id = %(series_id)s
                  AND c.open_time >= b.bucket AND c.open_time < b.bucket + %(bucket_step)s
    WHERE c.open_time >= %(window_start)s AND c.open_time < %(window_end)s
),
versions AS (
    SELECT bucket, NULL::integer AS state, NULL::integer AS superseded_revision, NULL::timestamptz AS superseded_at,
           open_time, open, high, low, close, volume, quote_volume, taker_buy_base_volume, taker_buy_quote_volume, trades_count
    FROM hot
    UNION ALL
    SELECT s.bucket, s.state, NULL, NULL,
           open_time, open, high, low, close, volume, quote_volume, taker_buy_base_volume, taker_buy_quote_volume, trades_count
    FROM states s JOIN hot h ON h.bucket = s.bucket AND h.revision <= s.state
    UNION ALL
    SELECT s.bucket, s.state, o.superseded_revision, o.superseded_at,
           open_time, open, high, low, close, volume, quote_volume, taker_buy_base_volume, taker_buy_quote_volume, trades_count
    FROM states s
    JOIN market.candle_revisions o ON o.series_id = %(series_id)s
                                  AND o.open_time >= s.bucket AND o.open_time < s.bucket + %(bucket_step)s
                                  AND o.revision <= s.state AND o.superseded_revision > s.state
)
SELECT bucket, state,
       (array_agg(open ORDER BY open_time) FILTER (WHERE volume > 0))[1] AS open,
       max(high) FILTER (WHERE volume > 0) AS high,
       min(low) FILTER (WHERE volume > 0) AS low,
       (array_agg(close ORDER BY open_time DESC) FILTER (WHERE volume > 0))[1] AS close,
       sum(volume) AS volume, sum(quote_volume) AS quote_volume,
       sum(taker_buy_base_volume) AS taker_buy_base_volume,
       sum(taker_buy_quote_volume) AS taker_buy_quote_volume, sum(trades_count) AS trades_count,
       bool_and(volume = 0 OR greatest(quote_volume, taker_buy_base_volume, taker_buy_quote_volume, trades_count) > 0) AS carried,
       array_agg(open_time ORDER BY open_time) FILTER (WHERE superseded_at IS NOT NULL) AS restated,
       max(superseded_at) AS superseded_at, max(superseded_revision) AS superseded_revision
FROM versions
GROUP BY bucket, state
ORDER BY bucket, state DESC NULLS FIRST
