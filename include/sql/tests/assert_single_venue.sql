-- what: a series is filled only by providers of its own venue and market
-- scope: one series, one window
-- severity: fail
-- why: another venue's candle is another price; mixed in, nobody could tell
WITH violations AS (
    SELECT c.series_id, c.open_time, n.venue, p.name AS provider, p.venue AS provider_venue
    FROM candles c
    JOIN market.series_names n USING (series_id)
    JOIN market.fetches f USING (fetch_id)
    JOIN market.providers p USING (provider_id)
    WHERE c.series_id = %(series_id)s AND c.open_time >= %(window_start)s AND c.open_time < %(window_end)s
      AND (p.venue, p.market) <> (n.venue, n.market)
)
SELECT * FROM violations ORDER BY open_time
