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

-- Drops partitions that end at or before a time and hold nothing. The caller holds the
-- advisory lock of partitions.
CREATE FUNCTION market.drop_empty_partitions(timeframe text, before timestamptz)
RETURNS text[] LANGUAGE plpgsql SET timezone = 'UTC' AS $$
DECLARE
    part    record;
    filled  boolean;
    dropped text[] := '{}';
BEGIN
    FOR part IN
        SELECT c.relname AS name,
               (regexp_match(pg_get_expr(c.relpartbound, c.oid), 'TO \(''([^'']+)''\)'))[1]::timestamptz AS upper
        FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid
        WHERE h.inhparent = format('market.%I', 'candles_' || timeframe)::regclass
        ORDER BY c.relname
    LOOP
        CONTINUE WHEN part.upper IS NULL OR part.upper > before;
        EXECUTE format('LOCK TABLE market.%I IN ACCESS EXCLUSIVE MODE', part.name);
        EXECUTE format('SELECT EXISTS (SELECT FROM market.%I)', part.name) INTO filled;
        CONTINUE WHEN filled;
        EXECUTE format('DROP TABLE market.%I', part.name);
        dropped := dropped || part.name::text;
    END LOOP;
    RETURN dropped;
END $$;
