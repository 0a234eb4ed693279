-- A symbol can name several instruments, one after the other: from when each of them does.

ALTER TABLE market.instruments
    ADD COLUMN begins_time     timestamptz,
    ADD COLUMN name            text NOT NULL DEFAULT '',
    ADD COLUMN identity_source text NOT NULL DEFAULT '',
    ADD COLUMN traded          boolean NOT NULL DEFAULT true,
    ADD CHECK ((lifetime = 1) = (begins_time IS NULL));
COMMENT ON COLUMN market.instruments.begins_time IS
    'From when the symbol means this instrument and no longer the one of the lifetime before; NULL for the first.';
COMMENT ON COLUMN market.instruments.identity_source IS
    'Where name, successor and beginning are from.';
COMMENT ON COLUMN market.instruments.traded IS
    'Whether the venue said at its last answer that the instrument is traded.';

-- A source can serve several markets under one name.
ALTER TABLE market.providers DROP CONSTRAINT providers_name_key, ADD UNIQUE (name, venue, market);

-- When a symbol was in the universe of a venue, as the venue and its archive showed it.
CREATE TABLE market.universe_log (
    universe_log_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    instrument_id   integer NOT NULL REFERENCES market.instruments,
    event           text NOT NULL CHECK (event IN ('listed', 'ended', 'relisted')),
    detail          text NOT NULL,
    dag_run_id      text,
    recorded_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE OR REPLACE VIEW market.series_names AS
SELECT s.series_id, i.venue, i.market, i.symbol, s.timeframe, s.revision, i.instrument_id,
       i.listed_time, i.ended_time, i.lifetime, i.begins_time
FROM market.series s
JOIN market.instruments i USING (instrument_id);

-- One line per symbol and timeframe: that of the instrument the symbol means today.
CREATE OR REPLACE VIEW market.sync_status AS
SELECT n.symbol, n.timeframe, s.sync_status, s.last_sync_time, s.total_candles,
       s.newest_data_time, s.oldest_data_time, s.error_message, n.venue, n.market, n.lifetime
FROM market.series_status s JOIN market.series_names n USING (series_id)
WHERE NOT EXISTS (
    SELECT FROM market.series_names later
    WHERE (later.venue, later.market, later.symbol, later.timeframe) = (n.venue, n.market, n.symbol, n.timeframe)
      AND later.lifetime > n.lifetime);

CREATE OR REPLACE VIEW market.historical_data_range AS
SELECT n.symbol, n.timeframe, s.oldest_data_time AS earliest_date, s.newest_data_time AS latest_date,
       s.total_candles AS total_records, s.is_complete, s.last_sync_time AS last_synced,
       n.venue, n.market, n.lifetime
FROM market.series_status s JOIN market.series_names n USING (series_id);
COMMENT ON VIEW market.historical_data_range IS 'One row per series and lifetime of its symbol.';
