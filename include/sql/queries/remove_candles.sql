-- Take candles out, their last version kept: the venue has them no more.
WITH gone AS (
    DELETE FROM {candles}
    WHERE series_id = %(series_id)s AND open_time >= %(window_start)s AND open_time < %(window_end)s
    RETURNING *
)
INSERT INTO market.candle_revisions
SELECT g.series_id, g.open_time, g.open, g.high, g.low, g.close, g.volume, g.quote_volume,
       g.taker_buy_base_volume, g.taker_buy_quote_volume, g.trades_count, g.close_time,
       g.fetch_id, g.revision, %(revision)s, clock_timestamp(), %(reason)s, true
FROM gone g
