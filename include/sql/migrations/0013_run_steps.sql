-- Which step of a backtest or a sweep began last: where it was when it was ended from outside.

ALTER TABLE market.backtests
    ADD COLUMN step text CHECK (step IN ('accept', 'gather', 'execute'));
ALTER TABLE market.sweeps
    ADD COLUMN step text CHECK (step IN ('accept', 'gather', 'plan', 'run_batch', 'conclude'));

COMMENT ON COLUMN market.backtests.step IS 'The step that began last.';
COMMENT ON COLUMN market.sweeps.step IS 'The step that began last; batches run at the same time.';
