"""What other DAGs can be scheduled on: updated, with its figures, by every completed run."""

from __future__ import annotations

from airflow.sdk import Asset

BACKTESTS = Asset(name="backtest results", uri="candlevault://backtests", group="backtests")
SWEEPS = Asset(name="sweep results", uri="candlevault://sweeps", group="backtests")
