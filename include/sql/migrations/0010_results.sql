-- What a backtest leaves behind: fills with symbol, order and funding; the equity curve; bounds,
-- trust and significance; and a run that was cancelled.

ALTER TABLE market.backtests
    DROP CONSTRAINT backtests_status_check,
    DROP CONSTRAINT backtests_check,
    DROP CONSTRAINT backtests_check1,
    DROP CONSTRAINT backtests_check2,
    ADD COLUMN cancel_requested_at timestamptz,
    ADD COLUMN failed_step  text CHECK (failed_step IN ('accept', 'gather', 'execute')),
    ADD COLUMN advice       text,
    ADD COLUMN bounds       jsonb,
    ADD COLUMN trust        jsonb,
    ADD COLUMN significance jsonb,
    ADD COLUMN refused      jsonb;

ALTER TABLE market.backtests
    ADD CONSTRAINT backtests_status_known CHECK
        (status IN ('pending', 'fetching_data', 'running', 'completed', 'failed', 'cancelled')),
    ADD CONSTRAINT backtests_say_why CHECK
        (status NOT IN ('failed', 'cancelled') OR message IS NOT NULL),
    ADD CONSTRAINT backtests_have_results CHECK
        (status <> 'completed' OR (result_hash IS NOT NULL AND data_fingerprint IS NOT NULL)),
    ADD CONSTRAINT backtests_end CHECK
        ((status IN ('completed', 'failed', 'cancelled')) = (finished_at IS NOT NULL));

-- One row a lot that was closed, in the order of closing.
ALTER TABLE market.trades
    ADD COLUMN symbol      text,
    ADD COLUMN funding     double precision NOT NULL DEFAULT 0,
    ADD COLUMN entry_order text NOT NULL DEFAULT 'market'
        CHECK (entry_order IN ('market', 'limit', 'stop', 'stop_limit'));

UPDATE market.trades t SET symbol = b.payload ->> 'symbol'
FROM market.backtests b WHERE b.backtest_id = t.backtest_id;

ALTER TABLE market.trades
    ALTER COLUMN symbol SET NOT NULL,
    ALTER COLUMN funding DROP DEFAULT,
    ALTER COLUMN entry_order DROP DEFAULT;

-- Equity in quote at the close of each row of the grid that starts at first_open_time, and how
-- far below its highest value so far it lies, in percent.
CREATE TABLE market.equity_curves (
    backtest_id     bigint PRIMARY KEY REFERENCES market.backtests ON DELETE CASCADE,
    first_open_time timestamptz NOT NULL,
    timeframe       text NOT NULL,
    equity          double precision[] NOT NULL,
    drawdown_pct    double precision[] NOT NULL,
    CHECK (cardinality(equity) > 0 AND cardinality(equity) = cardinality(drawdown_pct))
);
