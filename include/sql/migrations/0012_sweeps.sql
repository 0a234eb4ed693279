-- Parameter sweeps: many backtests that differ in some settings only. Ranks, folds and the status
-- completed appear together; points appear batch by batch before.

CREATE TABLE market.sweeps (
    sweep_id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    dag_run_id          text NOT NULL UNIQUE,
    status              text NOT NULL CHECK
        (status IN ('pending', 'fetching_data', 'running', 'completed', 'failed', 'cancelled')),
    message             text,
    failed_field        text,
    failed_step         text CHECK
        (failed_step IN ('accept', 'gather', 'plan', 'run_batch', 'conclude')),
    failed_batch        integer,
    advice              text,
    cancel_requested_at timestamptz,
    payload             jsonb NOT NULL,
    payload_hash        text,
    strategy            text,
    rank_by             text,
    window_start        timestamptz,
    window_end          timestamptz,
    point_count         integer,
    left_out            integer,
    duplicates          integer,
    data_as_of          timestamptz,
    data_fingerprint    text,
    reads               jsonb,
    versions            jsonb,
    best_point          integer,
    ranking             jsonb,
    deflated_sharpe     jsonb,
    walk_forward        jsonb,
    result_hash         text,
    created_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at          timestamptz,
    finished_at         timestamptz,
    CONSTRAINT sweeps_say_why CHECK
        (status NOT IN ('failed', 'cancelled') OR message IS NOT NULL),
    CONSTRAINT sweeps_have_results CHECK
        (status <> 'completed' OR (result_hash IS NOT NULL AND data_fingerprint IS NOT NULL
         AND best_point IS NOT NULL AND ranking IS NOT NULL)),
    CONSTRAINT sweeps_end CHECK
        ((status IN ('completed', 'failed', 'cancelled')) = (finished_at IS NOT NULL))
);
COMMENT ON COLUMN market.sweeps.data_as_of IS
    'Every batch reads the candles as they had been recorded by then.';
COMMENT ON COLUMN market.sweeps.failed_batch IS
    'The batch whose failure ended the sweep: only its repetition opens the record again.';
COMMENT ON COLUMN market.sweeps.left_out IS
    'Combinations that break a rule between settings and were not run.';

-- The points a worker runs at a time. A run is one point on one window: the whole one, or one in
-- sample of a walk-forward analysis.
CREATE TABLE market.sweep_batches (
    sweep_id    bigint NOT NULL REFERENCES market.sweeps ON DELETE CASCADE,
    batch_no    integer NOT NULL CHECK (batch_no > 0),
    first_point integer NOT NULL CHECK (first_point > 0),
    last_point  integer NOT NULL,
    runs        bigint NOT NULL CHECK (runs > 0),
    runs_done   bigint NOT NULL DEFAULT 0,
    finished_at timestamptz,
    PRIMARY KEY (sweep_id, batch_no),
    CHECK (last_point >= first_point),
    CHECK (runs_done BETWEEN 0 AND runs),
    CHECK (finished_at IS NULL OR runs_done = runs)
);

CREATE TABLE market.sweep_points (
    sweep_id    bigint NOT NULL REFERENCES market.sweeps ON DELETE CASCADE,
    point_no    integer NOT NULL CHECK (point_no > 0),
    params      jsonb NOT NULL,
    metrics     jsonb NOT NULL,
    fold_scores double precision[],
    rank        integer CHECK (rank > 0),
    final_equity     double precision GENERATED ALWAYS AS ((metrics ->> 'final_equity')::double precision) STORED,
    total_return_pct double precision GENERATED ALWAYS AS ((metrics ->> 'total_return_pct')::double precision) STORED,
    max_drawdown_pct double precision GENERATED ALWAYS AS ((metrics ->> 'max_drawdown_pct')::double precision) STORED,
    sharpe           double precision GENERATED ALWAYS AS ((metrics ->> 'sharpe')::double precision) STORED,
    sortino          double precision GENERATED ALWAYS AS ((metrics ->> 'sortino')::double precision) STORED,
    calmar           double precision GENERATED ALWAYS AS ((metrics ->> 'calmar')::double precision) STORED,
    profit_factor    double precision GENERATED ALWAYS AS ((metrics ->> 'profit_factor')::double precision) STORED,
    trade_count      integer GENERATED ALWAYS AS ((metrics ->> 'trade_count')::integer) STORED,
    PRIMARY KEY (sweep_id, point_no)
);
COMMENT ON COLUMN market.sweep_points.params IS 'The searched settings; the others are in the payload.';
COMMENT ON COLUMN market.sweep_points.fold_scores IS
    'The metric that ranks, in sample of each fold in order; NULL where it is undefined.';

CREATE TABLE market.walk_forward_folds (
    sweep_id            bigint NOT NULL REFERENCES market.sweeps ON DELETE CASCADE,
    fold_no             integer NOT NULL CHECK (fold_no > 0),
    in_sample_start     timestamptz NOT NULL,
    in_sample_end       timestamptz NOT NULL,
    out_of_sample_start timestamptz NOT NULL,
    out_of_sample_end   timestamptz NOT NULL,
    point_no            integer,
    params              jsonb,
    in_sample           jsonb,
    out_of_sample       jsonb NOT NULL,
    PRIMARY KEY (sweep_id, fold_no),
    CHECK (in_sample_start < in_sample_end AND in_sample_end <= out_of_sample_start
           AND out_of_sample_start < out_of_sample_end),
    CHECK ((point_no IS NULL) = (params IS NULL) AND (point_no IS NULL) = (in_sample IS NULL))
);
COMMENT ON COLUMN market.walk_forward_folds.point_no IS
    'The point that was best in sample; NULL: none had a defined figure, and the account rested.';

-- Equity out of sample, all folds in a row, at the close of each row of the grid that starts at
-- first_open_time, and how far below its highest value so far it lies, in percent.
CREATE TABLE market.walk_forward_curves (
    sweep_id        bigint PRIMARY KEY REFERENCES market.sweeps ON DELETE CASCADE,
    first_open_time timestamptz NOT NULL,
    timeframe       text NOT NULL,
    equity          double precision[] NOT NULL,
    drawdown_pct    double precision[] NOT NULL,
    CHECK (cardinality(equity) > 0 AND cardinality(equity) = cardinality(drawdown_pct))
);
