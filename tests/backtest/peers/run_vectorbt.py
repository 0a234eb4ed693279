"""Backtests by vectorbt of wishes that were handed over, as JSON. Runs in vectorbt's Python.

Argument: the folder that `handed.read` understands.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import vectorbt as vbt

sys.path.insert(0, str(Path(__file__).parent))
import handed


def own_signals(close: pd.Series, indicator: dict) -> tuple[np.ndarray, np.ndarray]:
    """The wishes by vectorbt's indicators."""
    if indicator["name"] == "sma":
        fast, slow = (vbt.MA.run(close, indicator[name]) for name in ("fast", "slow"))
        return fast.ma_crossed_above(slow).to_numpy(), fast.ma_crossed_below(slow).to_numpy()
    # Wilder's smoothing is the exponential one with a span of 2 * period - 1.
    index = vbt.RSI.run(close, 2 * indicator["period"] - 1, ewm=True).rsi.to_numpy()
    return index < indicator["lower"], index > indicator["upper"]


def run(arrays: dict[str, np.ndarray], plan: dict) -> dict:
    more = {}
    if "indicator" in plan:
        enter, leave = own_signals(pd.Series(arrays["close"]), plan["indicator"])
        more = {"enter": np.flatnonzero(enter).tolist(), "exit": np.flatnonzero(leave).tolist()}
    else:
        enter, leave = handed.wishes(arrays, plan)
    rows = handed.lay_out(arrays, plan, enter, leave)
    stop, target = plan.get("stop_pct"), plan.get("target_pct")
    portfolio = vbt.Portfolio.from_signals(
        pd.Series(rows.close),
        rows.enter,
        rows.exit,
        price=rows.open,
        open=rows.open,
        high=rows.high,
        low=rows.low,
        size=np.inf,
        fees=handed.FEE_RATE,
        init_cash=handed.CAPITAL,
        direction="longonly",
        sl_stop=np.nan if stop is None else stop / 100.0,
        tp_stop=np.nan if target is None else target / 100.0,
        stop_entry_price="fillprice",
        engine=plan.get("engine", "numba"),
    )
    records = portfolio.trades.records
    trades = zip(
        rows.candle[records["entry_idx"].to_numpy()],
        rows.candle[records["exit_idx"].to_numpy()],
        *(records[name] for name in ("entry_price", "exit_price", "size")),
        strict=True,
    )
    return handed.told(arrays, trades, portfolio.value().iloc[-1], **more)


def main(folder: str) -> None:
    runs = handed.read(folder)
    handed.answer(vbt.__version__, {plan["name"]: run(arrays, plan) for arrays, plan in runs})


if __name__ == "__main__":
    main(*sys.argv[1:])
