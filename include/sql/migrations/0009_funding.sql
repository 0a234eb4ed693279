-- Funding of perpetual futures: every rate as the venue told it, and which windows were asked for.

CREATE TABLE market.funding_rates (
    instrument_id integer NOT NULL REFERENCES market.instruments,
    funding_time  timestamptz NOT NULL,
    recorded_at   timestamptz NOT NULL,
    rate          numeric(14, 12) CHECK (rate > -1 AND rate < 1),
    mark_price    numeric(20, 8) CHECK (mark_price > 0 AND mark_price < 'Infinity'),
    fetch_id      bigint NOT NULL REFERENCES market.fetches,
    PRIMARY KEY (instrument_id, funding_time, recorded_at),
    CHECK (rate IS NOT NULL OR mark_price IS NULL)
);
COMMENT ON TABLE market.funding_rates IS
    'Rows are only added: of an event the row recorded last counts, or the last one until an as_of.';
COMMENT ON COLUMN market.funding_rates.rate IS
    'Part of the notional that longs pay to shorts. NULL: the venue has taken the event back.';

-- What tells a window without funding from one that was never asked for.
CREATE TABLE market.funding_windows (
    instrument_id integer NOT NULL REFERENCES market.instruments,
    window_start  timestamptz NOT NULL,
    window_end    timestamptz NOT NULL,
    loaded_at     timestamptz NOT NULL,
    events        integer NOT NULL CHECK (events >= 0),
    fetch_id      bigint NOT NULL REFERENCES market.fetches,
    PRIMARY KEY (instrument_id, window_start, loaded_at),
    CHECK (window_start < window_end)
);
COMMENT ON TABLE market.funding_windows IS
    'One row per window that an answer held completely, written together with its rates.';
COMMENT ON COLUMN market.funding_windows.loaded_at IS
    'The recorded_at of the rates written with it. Grows in commit order within an instrument.';

CREATE VIEW market.funding AS
SELECT i.venue, i.market, i.symbol, f.funding_time, f.rate, f.mark_price, f.recorded_at,
       f.instrument_id, i.lifetime
FROM (SELECT DISTINCT ON (instrument_id, funding_time) *
      FROM market.funding_rates
      ORDER BY instrument_id, funding_time, recorded_at DESC) f
JOIN market.instruments i USING (instrument_id)
WHERE f.rate IS NOT NULL;
COMMENT ON VIEW market.funding IS 'The funding events of today, one row each.';

COMMENT ON TABLE market.fetches IS
    'Every answer candles or funding rates came from; the URL carries no secret.';
