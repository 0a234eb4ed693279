-- Backtests: requested, run, and what came out. Trades and metrics appear together or not at all.

CREATE TABLE market.backtests (
    backtest_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    dag_run_id       text NOT NULL UNIQUE,
    kind             text NOT NULL DEFAULT 'backtest' CHECK (kind IN ('backtest', 'replay')),
    status           text NOT NULL CHECK (status IN ('pending', 'fetching_data', 'running', 'completed', 'failed')),
    message          text,
    failed_field     text,
    payload          jsonb NOT NULL,
    series_id        smallint REFERENCES market.series,
    window_start     timestamptz,
    window_end       timestamptz,
    strategy         text,
    data_revision    integer,
    data_fingerprint text,
    data_summary     jsonb,
    versions         jsonb,
    result_hash      text,
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at       timestamptz,
    finished_at      timestamptz,
    CHECK (status <> 'failed' OR message IS NOT NULL),
    CHECK (status <> 'completed' OR (result_hash IS NOT NULL AND data_fingerprint IS NOT NULL)),
    CHECK ((status IN ('completed', 'failed')) = (finished_at IS NOT NULL))
);

CREATE TABLE market.trades (
    backtest_id bigint NOT NULL REFERENCES market.backtests ON DELETE CASCADE,
    trade_no    integer NOT NULL,
    side        text NOT NULL CHECK (side IN ('long', 'short')),
    signal_time timestamptz NOT NULL,
    entry_time  timestamptz NOT NULL,
    entry_price double precision NOT NULL,
    exit_time   timestamptz NOT NULL,
    exit_price  double precision NOT NULL,
    quantity    double precision NOT NULL,
    entry_fee   double precision NOT NULL,
    exit_fee    double precision NOT NULL,
    pnl         double precision NOT NULL,
    return_pct  double precision NOT NULL,
    bars_held   integer NOT NULL,
    exit_reason text NOT NULL,
    ambiguous   boolean NOT NULL,
    mae_pct     double precision NOT NULL,
    mfe_pct     double precision NOT NULL,
    PRIMARY KEY (backtest_id, trade_no)
);

CREATE TABLE market.performance_summaries (
    backtest_id  bigint PRIMARY KEY REFERENCES market.backtests ON DELETE CASCADE,
    dag_run_id   text NOT NULL,
    trade_count  integer NOT NULL,
    final_equity double precision NOT NULL,
    metrics      jsonb NOT NULL,
    total_return_pct        double precision GENERATED ALWAYS AS ((metrics ->> 'total_return_pct')::double precision) STORED,
    win_rate_pct            double precision GENERATED ALWAYS AS ((metrics ->> 'win_rate_pct')::double precision) STORED,
    profit_factor           double precision GENERATED ALWAYS AS ((metrics ->> 'profit_factor')::double precision) STORED,
    max_drawdown_pct        double precision GENERATED ALWAYS AS ((metrics ->> 'max_drawdown_pct')::double precision) STORED,
    sharpe                  double precision GENERATED ALWAYS AS ((metrics ->> 'sharpe')::double precision) STORED,
    sortino                 double precision GENERATED ALWAYS AS ((metrics ->> 'sortino')::double precision) STORED,
    calmar                  double precision GENERATED ALWAYS AS ((metrics ->> 'calmar')::double precision) STORED,
    expectancy              double precision GENERATED ALWAYS AS ((metrics ->> 'expectancy')::double precision) STORED,
    exposure_pct            double precision GENERATED ALWAYS AS ((metrics ->> 'exposure_pct')::double precision) STORED,
    fees_paid               double precision GENERATED ALWAYS AS ((metrics ->> 'fees_paid')::double precision) STORED,
    buy_and_hold_return_pct double precision GENERATED ALWAYS AS ((metrics ->> 'buy_and_hold_return_pct')::double precision) STORED
);
