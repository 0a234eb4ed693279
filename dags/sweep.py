"""Runs one backtest with many settings and says which did best, and what that is worth.

The payload is the run's configuration: `backtest` is the payload of one backtest, `search` the
settings to vary (a grid, so many drawn by a seed, or a list), `rank_by` the metric that decides,
`walk_forward` the windows of a walk-forward analysis. What is missing of the window is loaded
first. Workers share the points in batches that all read one state of the candles. Every point
stands in `market.sweep_points`, the best one with its neighbourhood and the deflated Sharpe
ratio in `market.sweeps`, the folds in `market.walk_forward_folds`.
"""

# Airflow only reads files in which it finds its own name.
from candlevault.orchestration.sweep_dag import build_sweep

dag = build_sweep(__doc__)
