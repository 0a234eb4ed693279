-- What people ask about a series: how far it reaches, how its last sync went, how good it is.

CREATE TABLE market.series_status (
    series_id        smallint PRIMARY KEY REFERENCES market.series,
    sync_status      text NOT NULL CHECK (sync_status IN ('pending', 'syncing', 'completed', 'error')),
    last_sync_time   timestamptz,
    total_candles    bigint NOT NULL DEFAULT 0,
    oldest_data_time timestamptz,
    newest_data_time timestamptz,
    is_complete      boolean NOT NULL DEFAULT false,
    error_message    text,
    CHECK ((total_candles = 0) = (oldest_data_time IS NULL)),
    CHECK ((sync_status = 'error') = (error_message IS NOT NULL))
);

CREATE VIEW market.sync_status AS
SELECT n.symbol, n.timeframe, s.sync_status, s.last_sync_time, s.total_candles,
       s.newest_data_time, s.oldest_data_time, s.error_message, n.venue, n.market
FROM market.series_status s JOIN market.series_names n USING (series_id);

CREATE VIEW market.historical_data_range AS
SELECT n.symbol, n.timeframe, s.oldest_data_time AS earliest_date, s.newest_data_time AS latest_date,
       s.total_candles AS total_records, s.is_complete, s.last_sync_time AS last_synced,
       n.venue, n.market
FROM market.series_status s JOIN market.series_names n USING (series_id);

CREATE TABLE market.sync_log (
    sync_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    series_id    smallint NOT NULL REFERENCES market.series,
    purpose      text NOT NULL,
    dag_run_id   text,
    window_start timestamptz NOT NULL,
    window_end   timestamptz NOT NULL,
    started_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at  timestamptz,
    outcome      text NOT NULL CHECK (outcome IN ('running', 'completed', 'incomplete', 'failed')),
    providers    text[] NOT NULL DEFAULT '{}',
    batches      integer NOT NULL DEFAULT 0,
    inserted     integer NOT NULL DEFAULT 0,
    changed      integer NOT NULL DEFAULT 0,
    unchanged    integer NOT NULL DEFAULT 0,
    absent       integer NOT NULL DEFAULT 0,
    quarantined  integer NOT NULL DEFAULT 0,
    lost         integer NOT NULL DEFAULT 0,
    requests     integer NOT NULL DEFAULT 0,
    retries      integer NOT NULL DEFAULT 0,
    error        text
);
CREATE INDEX sync_log_series ON market.sync_log (series_id, started_at DESC);

CREATE TABLE market.quality_checks (
    check_id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    series_id        smallint NOT NULL REFERENCES market.series,
    date_range_start timestamptz NOT NULL,
    date_range_end   timestamptz NOT NULL,
    expected_records integer NOT NULL,
    actual_records   integer NOT NULL,
    known_absent     integer NOT NULL,
    missing_records  integer NOT NULL,
    has_anomalies    boolean NOT NULL,
    failures         jsonb NOT NULL,
    dag_run_id       text,
    checked_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK (actual_records + known_absent + missing_records = expected_records)
);
CREATE INDEX quality_checks_series ON market.quality_checks (series_id, checked_at DESC);

CREATE VIEW market.data_quality AS
SELECT n.symbol, n.timeframe, q.date_range_start, q.date_range_end, q.expected_records,
       q.actual_records, q.missing_records,
       CASE WHEN q.expected_records = q.known_absent THEN 100
            ELSE round(100.0 * q.actual_records / (q.expected_records - q.known_absent), 4)
       END AS completeness_percentage,
       CASE WHEN q.expected_records = 0 THEN 100
            ELSE round(100.0 * q.actual_records / q.expected_records, 4)
       END AS raw_percentage,
       q.missing_records > 0 AS has_gaps, q.has_anomalies, q.checked_at,
       q.known_absent, q.failures, q.dag_run_id, n.venue, n.market
FROM market.quality_checks q JOIN market.series_names n USING (series_id);
COMMENT ON VIEW market.data_quality IS
    'One row per check. completeness_percentage is of the obtainable candles, raw_percentage of all expected ones.';
