-- The ledger: every unit of work, every call that brought candles, every refusal.

CREATE SEQUENCE market.fencing_tokens;

CREATE TABLE market.batches (
    batch_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    series_id     smallint NOT NULL REFERENCES market.series,
    window_start  timestamptz NOT NULL,
    window_end    timestamptz NOT NULL,
    purpose       text NOT NULL,
    state         text NOT NULL CHECK (state IN ('running', 'done', 'failed')),
    attempt       integer NOT NULL DEFAULT 1,
    fencing_token bigint NOT NULL,
    claimed_by    text NOT NULL,
    claimed_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at   timestamptz,
    expected      integer,
    inserted      integer,
    changed       integer,
    unchanged     integer,
    absent        integer,
    quarantined   integer,
    lost          integer,
    requests      integer,
    retries       integer,
    revision      integer,
    error         text,
    UNIQUE (series_id, window_start, window_end),
    CHECK (window_start < window_end)
);
COMMENT ON TABLE market.batches IS
    'One row per series and window of work. The writing transaction requires the token of the latest claim of every overlapping window.';

CREATE TABLE market.fetches (
    fetch_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    provider_id    smallint NOT NULL REFERENCES market.providers,
    batch_id       bigint REFERENCES market.batches,
    url            text NOT NULL,
    sha256         text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    bytes          bigint NOT NULL CHECK (bytes >= 0),
    rows           integer NOT NULL CHECK (rows >= 0),
    parser_version smallint NOT NULL,
    fetched_at     timestamptz NOT NULL,
    duration_ms    integer NOT NULL CHECK (duration_ms >= 0),
    etag           text,
    last_modified  text
);
COMMENT ON TABLE market.fetches IS 'Every answer candles came from; the URL carries no secret.';
CREATE INDEX fetches_batch ON market.fetches (batch_id);

CREATE TABLE market.known_absences (
    absence_id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    series_id          smallint NOT NULL REFERENCES market.series,
    window_start       timestamptz NOT NULL,
    window_end         timestamptz NOT NULL,
    reason             text NOT NULL CHECK (reason IN ('not_published', 'before_listing', 'after_end', 'pause')),
    evidence           jsonb NOT NULL CHECK (jsonb_typeof(evidence) = 'object' AND evidence <> '{}'),
    revision           integer NOT NULL,
    examined_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    withdrawn_revision integer CHECK (withdrawn_revision > revision),
    withdrawn_reason   text,
    CHECK (window_start < window_end),
    CHECK ((withdrawn_revision IS NULL) = (withdrawn_reason IS NULL))
);
COMMENT ON TABLE market.known_absences IS
    'Windows of open times the venue never published, each with its evidence; withdrawn, never deleted.';
CREATE INDEX known_absences_series ON market.known_absences (series_id, window_start)
    WHERE withdrawn_revision IS NULL;

CREATE TABLE market.quarantine (
    quarantine_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    series_id     smallint NOT NULL REFERENCES market.series,
    batch_id      bigint REFERENCES market.batches,
    open_time     timestamptz,
    reasons       text[] NOT NULL CHECK (cardinality(reasons) > 0),
    row           jsonb NOT NULL,
    url           text NOT NULL,
    recorded_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE NULLS NOT DISTINCT (series_id, open_time, row, url)
);
COMMENT ON TABLE market.quarantine IS 'Rows refused by a check, as they came, with the reasons.';

CREATE TABLE market.gap_log (
    gap_id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    series_id        smallint NOT NULL REFERENCES market.series,
    gap_start        timestamptz NOT NULL,
    gap_end          timestamptz NOT NULL,
    duration_minutes integer NOT NULL,
    missing_candles  integer NOT NULL,
    position         text NOT NULL CHECK (position IN ('start', 'inside', 'end', 'whole')),
    verdict          text NOT NULL CHECK (verdict IN ('lost', 'known_absent', 'filled')),
    fill_ratio       double precision NOT NULL DEFAULT 0 CHECK (fill_ratio BETWEEN 0 AND 1),
    attempts         integer NOT NULL DEFAULT 0,
    detected_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (series_id, gap_start, gap_end),
    CHECK (gap_start < gap_end)
);
COMMENT ON TABLE market.gap_log IS 'Every gap ever detected and what became of it.';

CREATE TABLE market.series_months (
    series_id    smallint NOT NULL REFERENCES market.series,
    month        date NOT NULL CHECK (extract(day FROM month) = 1),
    expected     integer NOT NULL,
    stored       integer NOT NULL,
    known_absent integer NOT NULL,
    lost         integer NOT NULL,
    verdict      text NOT NULL CHECK (verdict IN ('complete', 'incomplete', 'running')),
    tier         text NOT NULL DEFAULT 'hot' CHECK (tier IN ('hot', 'cold')),
    content_hash text NOT NULL,
    revision     integer NOT NULL,
    checked_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (series_id, month),
    CHECK (stored + known_absent + lost = expected)
);
COMMENT ON TABLE market.series_months IS
    'The partition ledger: one verdict per series and month, with count and hash of its candles.';
