-- What is traded, where, and the series kept of it.

CREATE SCHEMA IF NOT EXISTS market;

CREATE TABLE market.settings (
    name  text PRIMARY KEY,
    value text NOT NULL
);
COMMENT ON TABLE market.settings IS
    'What this home was set up for: exchange, default_venue, default_market.';

CREATE TABLE market.providers (
    provider_id smallint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text NOT NULL UNIQUE,
    venue       text NOT NULL,
    market      text NOT NULL
);
COMMENT ON TABLE market.providers IS 'Code that fetches; a series is filled only by providers of its own venue and market.';

CREATE TABLE market.instruments (
    instrument_id   integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    venue           text NOT NULL,
    market          text NOT NULL,
    symbol          text NOT NULL CHECK (symbol ~ '^[A-Z0-9]{2,20}$'),
    venue_symbol    text NOT NULL,
    lifetime        smallint NOT NULL DEFAULT 1,
    base_asset      text NOT NULL DEFAULT '',
    quote_asset     text NOT NULL DEFAULT '',
    status          text NOT NULL DEFAULT '',
    listed_time     timestamptz,
    ended_time      timestamptz,
    successor_id    integer REFERENCES market.instruments,
    successor_ratio numeric(30, 12) CHECK (successor_ratio > 0 AND successor_ratio < 'Infinity'),
    probed_at       timestamptz,
    UNIQUE (venue, market, symbol, lifetime),
    CHECK (ended_time IS NULL OR listed_time IS NULL OR listed_time < ended_time)
);
COMMENT ON TABLE market.instruments IS
    'A traded thing with a life. A symbol is not unique over time: lifetime counts its uses.';

CREATE TABLE market.series (
    series_id     smallint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    instrument_id integer NOT NULL REFERENCES market.instruments,
    timeframe     text NOT NULL,
    revision      integer NOT NULL DEFAULT 0,
    UNIQUE (instrument_id, timeframe)
);
COMMENT ON COLUMN market.series.revision IS
    'Number of the last committed change. Allocated under the row lock of the publishing transaction, so that numbers are in commit order.';

CREATE TABLE market.series_revisions (
    series_id   smallint NOT NULL REFERENCES market.series,
    revision    integer NOT NULL CHECK (revision > 0),
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    batch_id    bigint,
    reason      text NOT NULL,
    inserted    integer NOT NULL DEFAULT 0,
    changed     integer NOT NULL DEFAULT 0,
    PRIMARY KEY (series_id, revision)
);
COMMENT ON TABLE market.series_revisions IS
    'When each revision was recorded: what turns an instant (as_of) into a revision.';

CREATE VIEW market.series_names AS
SELECT s.series_id, i.venue, i.market, i.symbol, s.timeframe, s.revision, i.instrument_id,
       i.listed_time, i.ended_time
FROM market.series s
JOIN market.instruments i USING (instrument_id);
