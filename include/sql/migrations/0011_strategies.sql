-- Saved strategies: a name, and every version of what it runs. A version never changes.

CREATE TABLE market.strategies (
    strategy_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text NOT NULL UNIQUE CHECK (name ~ '^[^[:cntrl:]]{1,100}$'),
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    retired_at  timestamptz
);
COMMENT ON COLUMN market.strategies.retired_at IS
    'Set: not listed and not run any more; results that used it still name it.';

CREATE TABLE market.strategy_versions (
    strategy_id  bigint NOT NULL REFERENCES market.strategies,
    version      integer NOT NULL CHECK (version > 0),
    runs         text NOT NULL,
    params       jsonb NOT NULL,
    code_version text NOT NULL,
    note         text NOT NULL DEFAULT '',
    saved_by     text NOT NULL DEFAULT '',
    saved_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (strategy_id, version)
);
COMMENT ON COLUMN market.strategy_versions.runs IS 'The name of the strategy that reads the params.';
COMMENT ON COLUMN market.strategy_versions.code_version IS 'Its version when this was saved.';

ALTER TABLE market.backtests
    ADD COLUMN strategy_id      bigint,
    ADD COLUMN strategy_version integer,
    ADD FOREIGN KEY (strategy_id, strategy_version) REFERENCES market.strategy_versions,
    ADD CHECK ((strategy_id IS NULL) = (strategy_version IS NULL));
