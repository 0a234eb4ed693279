"""Parameter sweeps: many backtests that differ in some settings only, and walk-forward analysis.

A payload (`schema`) becomes a SweepRequest (`parsing`), which is a list of points in a stable
order; `running` runs points, `ranking` and `deflated_sharpe` judge them, `folds` and
`walk_forward` choose on one window and run on the next. `jobs` and `concluding` do all of it on
the store. Nothing is imported here: a DAG file only needs the schema.
"""
