-- What was corrected, what disagrees, what looks strange, and what the archive has shown.

CREATE TABLE market.corrections (
    correction_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    series_id        smallint NOT NULL REFERENCES market.series,
    kind             text NOT NULL CHECK (kind IN ('file', 'reread', 'restatement')),
    reason           text NOT NULL,
    source           text NOT NULL,
    source_sha256    text,
    window_start     timestamptz,
    window_end       timestamptz,
    outcome          text NOT NULL CHECK (outcome IN ('applied', 'unchanged', 'rejected')),
    message          text,
    rows_given       integer NOT NULL DEFAULT 0,
    records_updated  integer NOT NULL DEFAULT 0,
    records_inserted integer NOT NULL DEFAULT 0,
    records_removed  integer NOT NULL DEFAULT 0,
    changed_fields   jsonb NOT NULL DEFAULT '{}',
    revision         integer,
    requested_by     text NOT NULL DEFAULT '',
    dag_run_id       text,
    recorded_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK (window_start < window_end),
    CHECK ((window_start IS NULL) = (window_end IS NULL) AND (window_start IS NOT NULL OR outcome = 'rejected')),
    CHECK (outcome <> 'rejected' OR (message IS NOT NULL AND revision IS NULL)),
    CHECK ((outcome = 'applied') = (records_updated + records_inserted + records_removed > 0))
);
COMMENT ON TABLE market.corrections IS
    'Every correction asked for or noticed, applied or not. The superseded values are in candle_revisions.';
COMMENT ON COLUMN market.corrections.changed_fields IS 'How many candles changed in each field.';
CREATE INDEX corrections_series ON market.corrections (series_id, recorded_at DESC);

-- A candle can also go: the venue has taken it back, or says now that there never was one.
ALTER TABLE market.candle_revisions ADD COLUMN removed boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN market.candle_revisions.removed IS
    'No other version followed at superseded_revision: the candle was taken out.';
ALTER TABLE market.batches ADD COLUMN removed integer;
ALTER TABLE market.sync_log ADD COLUMN removed integer NOT NULL DEFAULT 0;

-- Two sources, or two timeframes, that should agree and do not.
CREATE TABLE market.discrepancies (
    discrepancy_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    series_id      smallint NOT NULL REFERENCES market.series,
    open_time      timestamptz NOT NULL,
    kind           text NOT NULL CHECK (kind IN ('rollup', 'second_source', 'archive')),
    other          text NOT NULL,
    field          text NOT NULL,
    stored_value   numeric,
    other_value    numeric,
    difference_pct double precision,
    state          text NOT NULL CHECK (state IN ('open', 'explained', 'settled')),
    explanation    text,
    dag_run_id     text,
    detected_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (series_id, open_time, kind, other, field),
    CHECK ((state = 'open') = (explanation IS NULL))
);
COMMENT ON TABLE market.discrepancies IS
    'One row per candle, other source and field. open: nobody knows why; explained: by a recorded restatement or rule; settled: the two agree by now.';
COMMENT ON COLUMN market.discrepancies.other IS
    'rollup: the finer timeframe; second_source: the other series or file; archive: the file.';

CREATE VIEW market.open_discrepancies AS
SELECT n.venue, n.market, n.symbol, n.timeframe, d.open_time, d.kind, d.other, d.field,
       d.stored_value, d.other_value, d.difference_pct, d.detected_at, d.seen_at, d.series_id
FROM market.discrepancies d JOIN market.series_names n USING (series_id)
WHERE d.state = 'open';

-- Candles that look strange. A flag says look here; it never removes anything.
CREATE TABLE market.anomalies (
    series_id    smallint NOT NULL REFERENCES market.series,
    kind         text NOT NULL CHECK (kind IN ('spike', 'frozen_price', 'zero_volume_run')),
    window_start timestamptz NOT NULL,
    window_end   timestamptz NOT NULL,
    candles      integer NOT NULL CHECK (candles > 0),
    detail       jsonb NOT NULL DEFAULT '{}',
    detected_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (series_id, kind, window_start),
    CHECK (window_start < window_end)
);

-- What the archive's listing says of a series' files, as last seen and as last loaded.
CREATE TABLE market.archive_files (
    series_id     smallint NOT NULL REFERENCES market.series,
    key           text NOT NULL,
    granularity   text NOT NULL CHECK (granularity IN ('monthly', 'daily')),
    period_start  timestamptz NOT NULL,
    period_end    timestamptz NOT NULL,
    etag          text NOT NULL,
    bytes         bigint NOT NULL,
    last_modified text NOT NULL,
    first_seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    examined_etag text,
    rewrites      integer NOT NULL DEFAULT 0,
    PRIMARY KEY (series_id, key),
    CHECK (period_start < period_end)
);
COMMENT ON COLUMN market.archive_files.examined_etag IS
    'The ETag of the version whose candles were last compared with the stored ones.';

-- What a backtest has read: the candles of these windows as they stood at these revisions.
CREATE TABLE market.backtest_reads (
    backtest_id  bigint NOT NULL REFERENCES market.backtests ON DELETE CASCADE,
    series_id    smallint NOT NULL REFERENCES market.series,
    window_start timestamptz NOT NULL,
    window_end   timestamptz NOT NULL,
    revision     integer NOT NULL,
    PRIMARY KEY (backtest_id, series_id, window_start),
    CHECK (window_start < window_end)
);
CREATE INDEX backtest_reads_series ON market.backtest_reads (series_id, window_start);
INSERT INTO market.backtest_reads
SELECT backtest_id, series_id, window_start, window_end, data_revision
FROM market.backtests
WHERE status = 'completed' AND series_id IS NOT NULL AND data_revision IS NOT NULL;

-- A month's certificate: everything checked, at this revision of the series.
ALTER TABLE market.series_months
    ADD COLUMN certified_revision integer,
    ADD COLUMN certified_at       timestamptz,
    ADD COLUMN findings           jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN open_discrepancies integer NOT NULL DEFAULT 0,
    ADD CHECK ((certified_revision IS NULL) = (certified_at IS NULL));
COMMENT ON COLUMN market.series_months.certified_revision IS
    'The revision at which every check of the month held; NULL while one does not.';
