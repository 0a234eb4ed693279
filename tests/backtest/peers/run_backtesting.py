"""Backtests by backtesting.py of wishes that were handed over, as JSON. Runs in its Python.

Argument: the folder that `handed.read` understands.
"""

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
import handed

UNIT = 2.0**-40
"""The smallest quantity. backtesting.py trades whole units only; a power of two leaves the digits
of scaled prices alone."""


class Wished(backtesting.Strategy):
    """Orders of the rows: placed one row before the one whose open fills them."""

    rows: handed.Rows | None = None
    plan: dict | None = None
    unit = UNIT

    def init(self) -> None:
        pass

    def levels(self, price: float) -> dict[str, float]:
        if "stop_pct" not in self.plan:
            return {}
        return {
            "sl": price * (100.0 - self.plan["stop_pct"]) / 100.0,
            "tp": price * (100.0 + self.plan["target_pct"]) / 100.0,
        }

    def next(self) -> None:
        row, rows = len(self.data) - 1, self.rows
        for trade in self.trades:
            if trade.sl is None:
                for name, level in self.levels(trade.entry_price).items():
                    setattr(trade, name, level)
        if row + 1 == len(rows.candle):
            return
        if self.position and rows.exit[row + 1]:
            self.position.close()
        elif not self.position and rows.enter[row + 1]:
            # With two rows a candle the levels are set at the open itself, from the price paid.
            levels = {}
            if self.plan.get("levels") == "signal_close":
                levels = self.levels(rows.close[row] * self.unit)
            elif not rows.at_open[row + 1]:
                levels = self.levels(rows.open[row + 1] * self.unit)
            self.buy(**levels)


def own_signals(close: np.ndarray, indicator: dict) -> tuple[np.ndarray, np.ndarray]:
    """The wishes by backtesting.py's own helpers: rolling means and `crossover`."""
    fast, slow = (SMA(close, indicator[name]).to_numpy() for name in ("fast", "slow"))
    enter, leave = np.zeros((2, len(close)), dtype=bool)
    for i in range(1, len(close)):
        before = slice(i - 1, i + 1)
        enter[i] = crossover(fast[before], slow[before])
        leave[i] = crossover(slow[before], fast[before])
    return enter, leave


def run(arrays: dict[str, np.ndarray], plan: dict) -> dict:
    more = {}
    if "indicator" in plan:
        enter, leave = own_signals(arrays["close"], plan["indicator"])
        more = {"enter": np.flatnonzero(enter).tolist(), "exit": np.flatnonzero(leave).tolist()}
    else:
        enter, leave = handed.wishes(arrays, plan)
    rows = handed.lay_out(arrays, plan, enter, leave)
    unit = plan.get("unit", UNIT)
    times = pd.date_range("2020-01-01", periods=len(rows.candle), freq="30min")
    candles = pd.DataFrame(
        {name.title(): getattr(rows, name) for name in ("open", "high", "low", "close")},
        index=times,
    ).assign(Volume=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stats = FractionalBacktest(
            candles,
            Wished,
            cash=handed.CAPITAL,
            commission=handed.FEE_RATE,
            fractional_unit=unit,
            finalize_trades=plan.get("own_end", False),
        ).run(rows=rows, plan=plan, unit=unit)
    table = stats["_trades"].sort_values("EntryBar")
    trades = zip(
        rows.candle[table["EntryBar"].to_numpy()],
        rows.candle[table["ExitBar"].to_numpy()],
        *(table[name] for name in ("EntryPrice", "ExitPrice", "Size")),
        strict=True,
    )
    return handed.told(arrays, trades, stats["Equity Final [$]"], **more)


def main(folder: str) -> None:
    backtesting.backtesting._tqdm = lambda rows, **_: rows
    runs = handed.read(folder)
    handed.answer(
        backtesting.__version__, {plan["name"]: run(arrays, plan) for arrays, plan in runs}
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
