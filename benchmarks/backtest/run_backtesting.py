"""backtesting.py's side: a single run. Its sweep would take half an hour."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import backtesting
import numpy as np
import pandas as pd
from backtesting.lib import FractionalBacktest, crossover
from backtesting.test import SMA

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(1, str(Path(__file__).parents[1]))
import serving
import workload

UNIT = 2.0**-40
"""Whole units only are traded; a power of two leaves the digits of scaled prices alone."""


class Crossing(backtesting.Strategy):
    def init(self) -> None:
        close = self.data.Close
        self.fast, self.slow = (
            self.I(SMA, close, window) for window in (workload.FAST, workload.SLOW)
        )

    def next(self) -> None:
        row = len(self.data) - 1
        if self.position and (crossover(self.slow, self.fast) or row == workload.ROWS - 1):
            self.position.close()
        elif not self.position and row < workload.ROWS - 1 and crossover(self.fast, self.slow):
            self.buy()


def ready():
    candles = workload.candles()
    after = candles.open_time[-1] + workload.HOUR_MS
    index = pd.to_datetime(np.append(candles.open_time, after), unit="ms")
    # A flat row at the last close: what is open is left there.
    columns = {
        name: np.append(getattr(candles, name.lower()), candles.close[-1])
        for name in ("Open", "High", "Low", "Close")
    }
    table = pd.DataFrame(columns, index=index).assign(Volume=1.0)

    def run() -> pd.Series:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return FractionalBacktest(
                table,
                Crossing,
                cash=workload.CAPITAL,
                commission=workload.FEE_RATE,
                fractional_unit=UNIT,
            ).run()

    return run


def figures(stats: pd.Series) -> serving.Figures:
    found = {
        "final_equity": stats["Equity Final [$]"],
        "max_drawdown_pct": -stats["Max. Drawdown [%]"],
        "win_rate_pct": stats["Win Rate [%]"],
        "trades": stats["# Trades"],
    }
    return {name: [float(value)] for name, value in found.items()}


if __name__ == "__main__":
    backtesting.backtesting._tqdm = lambda rows, **_: rows
    serving.serve(backtesting.__version__, {"one": lambda: ready}, figures)
