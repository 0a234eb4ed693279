-- One candle table per timeframe, partitioned by time; superseded versions beside them.
--
-- A lean row: the series is a small integer, the time of recording is that of its
-- revision (market.series_revisions), the provider that of its fetch (market.fetches).
-- numeric(p,s) stores NaN, and NaN sorts above every number: `< 'Infinity'` refuses both.

CREATE FUNCTION market.create_candle_table(timeframe text, step interval) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format($ddl$
        CREATE TABLE market.%1$I (
            series_id              smallint NOT NULL,
            open_time              timestamptz NOT NULL,
            open                   numeric(20, 8) NOT NULL,
            high                   numeric(20, 8) NOT NULL,
            low                    numeric(20, 8) NOT NULL,
            close                  numeric(20, 8) NOT NULL,
            volume                 numeric(30, 8) NOT NULL,
            quote_volume           numeric(30, 8) NOT NULL,
            taker_buy_base_volume  numeric(30, 8) NOT NULL,
            taker_buy_quote_volume numeric(30, 8) NOT NULL,
            trades_count           integer NOT NULL,
            close_time             timestamptz,
            fetch_id               bigint NOT NULL,
            revision               integer NOT NULL,
            PRIMARY KEY (series_id, open_time),
            CONSTRAINT prices_positive CHECK (open > 0 AND high > 0 AND low > 0 AND close > 0),
            CONSTRAINT prices_finite CHECK (open < 'Infinity' AND high < 'Infinity' AND low < 'Infinity' AND close < 'Infinity'),
            CONSTRAINT high_is_highest CHECK (high >= open AND high >= close AND high >= low),
            CONSTRAINT low_is_lowest CHECK (low <= open AND low <= close),
            CONSTRAINT volumes_not_negative CHECK (volume >= 0 AND quote_volume >= 0 AND taker_buy_base_volume >= 0 AND taker_buy_quote_volume >= 0),
            CONSTRAINT volumes_finite CHECK (volume < 'Infinity' AND quote_volume < 'Infinity' AND taker_buy_base_volume < 'Infinity' AND taker_buy_quote_volume < 'Infinity'),
            CONSTRAINT trades_not_negative CHECK (trades_count >= 0),
            CONSTRAINT open_time_on_grid CHECK (date_bin(%2$L, open_time, '1970-01-05 00:00:00+00') = open_time),
            CONSTRAINT close_time_inside CHECK (close_time >= open_time AND close_time < open_time + %2$L::interval),
            CONSTRAINT revision_positive CHECK (revision > 0)
        ) PARTITION BY RANGE (open_time)
    $ddl$, 'candles_' || timeframe, step);
    EXECUTE format(
        'COMMENT ON COLUMN market.%1$I.close_time IS %2$L', 'candles_' || timeframe,
        'Only where it is not open_time + timeframe - 1 ms (the last candle before an outage).');
END $$;

-- The partitions that [from_time, to_time) needs: by month for 1m and 5m, by year for
-- everything coarser (monthly ones cost a third of the writing speed).
CREATE FUNCTION market.partitions_needed(timeframe text, from_time timestamptz, to_time timestamptz)
RETURNS TABLE (name text, lower timestamptz, upper timestamptz)
LANGUAGE sql STABLE SET timezone = 'UTC' AS $$
    SELECT 'candles_' || timeframe || '_' || to_char(g, CASE unit WHEN 'month' THEN 'YYYY_MM' ELSE 'YYYY' END),
           g, g + ('1 ' || unit)::interval
    FROM (SELECT CASE WHEN timeframe IN ('1m', '5m') THEN 'month' ELSE 'year' END AS unit) u,
         generate_series(date_trunc(unit, from_time), to_time - interval '1 microsecond', ('1 ' || unit)::interval) AS g
$$;

CREATE FUNCTION market.partitions_missing(timeframe text, from_time timestamptz, to_time timestamptz)
RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT count(*) FROM market.partitions_needed(timeframe, from_time, to_time)
    WHERE to_regclass(format('market.%I', name)) IS NULL
$$;

-- Makes what is missing. The caller holds the advisory lock of partitions, taken in a
-- statement before this one: a statement that waited for the lock could still see the
-- catalogue as it was before. A table is attached rather than created as a partition,
-- because attaching does not block readers.
CREATE FUNCTION market.ensure_partitions(timeframe text, from_time timestamptz, to_time timestamptz)
RETURNS integer LANGUAGE plpgsql SET timezone = 'UTC' AS $$
DECLARE
    part    record;
    parent  text := 'candles_' || timeframe;
    created integer := 0;
BEGIN
    FOR part IN SELECT * FROM market.partitions_needed(timeframe, from_time, to_time)
                WHERE to_regclass(format('market.%I', name)) IS NULL LOOP
        EXECUTE format('CREATE TABLE market.%I (LIKE market.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', part.name, parent);
        EXECUTE format('ALTER TABLE market.%I ATTACH PARTITION market.%I FOR VALUES FROM (%L) TO (%L)', parent, part.name, part.lower, part.upper);
        created := created + 1;
    END LOOP;
    RETURN created;
END $$;

CREATE TABLE market.timeframes (
    timeframe text PRIMARY KEY,
    step      interval NOT NULL UNIQUE
);
INSERT INTO market.timeframes VALUES
    ('1m', '1 minute'), ('5m', '5 minutes'), ('15m', '15 minutes'), ('30m', '30 minutes'),
    ('1h', '1 hour'), ('4h', '4 hours'), ('1d', '1 day'), ('1w', '7 days');
ALTER TABLE market.series ADD FOREIGN KEY (timeframe) REFERENCES market.timeframes;

SELECT market.create_candle_table(timeframe, step) FROM market.timeframes;

CREATE VIEW market.candles AS
          SELECT '1m' AS timeframe, * FROM market.candles_1m
UNION ALL SELECT '5m', * FROM market.candles_5m
UNION ALL SELECT '15m', * FROM market.candles_15m
UNION ALL SELECT '30m', * FROM market.candles_30m
UNION ALL SELECT '1h', * FROM market.candles_1h
UNION ALL SELECT '4h', * FROM market.candles_4h
UNION ALL SELECT '1d', * FROM market.candles_1d
UNION ALL SELECT '1w', * FROM market.candles_1w;
COMMENT ON VIEW market.candles IS 'All candle tables as one; a series id picks its rows.';

CREATE TABLE market.candle_revisions (
    series_id              smallint NOT NULL REFERENCES market.series,
    open_time              timestamptz NOT NULL,
    open                   numeric(20, 8) NOT NULL,
    high                   numeric(20, 8) NOT NULL,
    low                    numeric(20, 8) NOT NULL,
    close                  numeric(20, 8) NOT NULL,
    volume                 numeric(30, 8) NOT NULL,
    quote_volume           numeric(30, 8) NOT NULL,
    taker_buy_base_volume  numeric(30, 8) NOT NULL,
    taker_buy_quote_volume numeric(30, 8) NOT NULL,
    trades_count           integer NOT NULL,
    close_time             timestamptz,
    fetch_id               bigint NOT NULL,
    revision               integer NOT NULL,
    superseded_revision    integer NOT NULL,
    superseded_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    reason                 text NOT NULL,
    PRIMARY KEY (series_id, open_time, revision),
    CHECK (superseded_revision > revision)
);
COMMENT ON TABLE market.candle_revisions IS
    'Superseded versions: a version was current from its revision up to, not including, superseded_revision.';

CREATE VIEW market.ohlcv_data_all AS
SELECT c.open_time AS "time", n.symbol, n.timeframe, c.open, c.high, c.low, c.close, c.volume,
       c.quote_volume, c.taker_buy_base_volume, c.taker_buy_quote_volume, c.trades_count,
       p.name AS provider, r.recorded_at AS created_at, n.venue, n.market, n.instrument_id
FROM market.candles c
JOIN market.series_names n ON n.series_id = c.series_id AND n.timeframe = c.timeframe
JOIN market.series_revisions r ON r.series_id = c.series_id AND r.revision = c.revision
JOIN market.fetches f ON f.fetch_id = c.fetch_id
JOIN market.providers p ON p.provider_id = f.provider_id;
COMMENT ON VIEW market.ohlcv_data_all IS 'Every stored candle of every venue and market (hot data).';

CREATE VIEW market.ohlcv_data AS
SELECT "time", symbol, timeframe, open, high, low, close, volume, quote_volume,
       taker_buy_base_volume, taker_buy_quote_volume, trades_count, provider, created_at
FROM market.ohlcv_data_all
WHERE venue = (SELECT value FROM market.settings WHERE name = 'default_venue')
  AND market = (SELECT value FROM market.settings WHERE name = 'default_market');
COMMENT ON VIEW market.ohlcv_data IS
    'Stored candles of the default venue and market: the relation for any SQL client.';
