"""Runs one backtest on stored candles; what is missing of its window is loaded first.

The payload is the run's configuration: fill in the form, or
`POST /api/v2/dags/backtest/dagRuns` with it as `conf`. What the form's schema can say is
refused at once; everything else fails the first task and leaves a failed record in
`market.backtests` naming the field. Trades and metrics are published together at the end
in `market.trades` and `market.performance_summaries`. No candle is ever made up.
"""

# Airflow only reads files in which it finds its own name.
from candlevault.orchestration.backtest_dag import build_backtest

dag = build_backtest(__doc__)
