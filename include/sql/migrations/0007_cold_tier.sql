-- Months that have left the hot tables: one Parquet file each, with count and hashes.

CREATE TABLE market.cold_files (
    series_id       smallint NOT NULL,
    month           date NOT NULL,
    path            text NOT NULL UNIQUE,
    bytes           bigint NOT NULL CHECK (bytes > 0),
    file_sha256     text NOT NULL CHECK (file_sha256 ~ '^[0-9a-f]{64}$'),
    rows            integer NOT NULL CHECK (rows > 0),
    rows_sha256     text NOT NULL CHECK (rows_sha256 ~ '^[0-9a-f]{64}$'),
    first_open_time timestamptz NOT NULL,
    last_open_time  timestamptz NOT NULL,
    newest_revision integer NOT NULL,
    written_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (series_id, month),
    FOREIGN KEY (series_id, month) REFERENCES market.series_months,
    CHECK (first_open_time <= last_open_time)
);
COMMENT ON TABLE market.cold_files IS
    'The cold tier: where the candles of a month lie that are no longer in the hot tables.';
COMMENT ON COLUMN market.cold_files.path IS 'Relative to CANDLEVAULT_COLD_URL; never written twice.';
COMMENT ON COLUMN market.cold_files.newest_revision IS 'The newest revision of any row in the file.';

ALTER TABLE market.series_months ADD COLUMN thawed_at timestamptz;
COMMENT ON COLUMN market.series_months.thawed_at IS
    'When a correction brought a cold month back to the hot table; it goes back at once.';

COMMENT ON VIEW market.ohlcv_data_all IS
    'Every stored candle of every venue and market that is still in the hot tables; see market.cold_files for the months that are not.';
COMMENT ON VIEW market.ohlcv_data IS
    'Stored candles of the default venue and market in the hot tables: the relation for any SQL client. Months in market.cold_files are read through the library.';

-- Drops partitions that end at or before a time and hold nothing, unless a month left one of
-- them after `left_before`: DROP does not respect snapshots, and an older one would find the
-- month neither here nor in market.cold_files. The caller holds the advisory lock of
-- partitions. Readers lock the parent first, so this does too.
CREATE FUNCTION market.drop_empty_partitions(timeframe text, before timestamptz, left_before timestamptz)
RETURNS text[] LANGUAGE plpgsql SET timezone = 'UTC' AS $$
DECLARE
    part    record;
    filled  boolean;
    parent  text := 'candles_' || timeframe;
    dropped text[] := '{}';
BEGIN
    FOR part IN
        SELECT * FROM (
            SELECT c.relname AS name, b.bounds[1]::timestamptz AS lower, b.bounds[2]::timestamptz AS upper
            FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid,
                 LATERAL (SELECT regexp_match(pg_get_expr(c.relpartbound, c.oid),
                                              'FROM \(''([^'']+)''\) TO \(''([^'']+)''\)') AS bounds) b
            WHERE h.inhparent = format('market.%I', parent)::regclass
        ) p
        WHERE upper <= before
          AND NOT EXISTS (SELECT FROM market.cold_files f JOIN market.series s USING (series_id)
                          WHERE s.timeframe = drop_empty_partitions.timeframe AND f.written_at > left_before
                            AND f.month >= p.lower AND f.month < p.upper)
        ORDER BY name
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM market.%I)', part.name) INTO filled;
        CONTINUE WHEN filled;
        EXECUTE format('LOCK TABLE ONLY market.%I IN ACCESS EXCLUSIVE MODE', parent);
        EXECUTE format('SELECT EXISTS (SELECT FROM market.%I)', part.name) INTO filled;
        CONTINUE WHEN filled;
        EXECUTE format('DROP TABLE market.%I', part.name);
        dropped := dropped || part.name::text;
    END LOOP;
    RETURN dropped;
END $$;
