"""vectorbt's side. Second argument: its engine, `numba` or `auto` (Rust where it can); third:
combinations at a time.

One row a candle, wishes filled at the next open, and a flat row after the last candle in which
everything is left: the trades are ours.
"""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import vectorbt as vbt

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(1, str(Path(__file__).parents[1]))
import serving
import workload

ENGINE, CHUNK = sys.argv[2], int(sys.argv[3])
Figures = dict[str, np.ndarray]


def candles_of(rows: int = workload.ROWS) -> tuple[pd.Series, pd.Series]:
    candles = workload.candles(rows)
    last = candles.close[-1]
    after = candles.open_time[-1] + workload.HOUR_MS
    index = pd.to_datetime(np.append(candles.open_time, after), unit="ms")
    opens = pd.Series(np.append(candles.open, last), index=index)
    return opens, pd.Series(np.append(candles.close, last), index=index)


def traded(opens: pd.Series, close: pd.Series, pairs) -> Figures:
    """Signals, orders, trades and metrics of all pairs at once, a column each."""
    fast_windows, slow_windows = zip(*pairs, strict=True)
    fast = vbt.MA.run(close, fast_windows, short_name="fast")
    slow = vbt.MA.run(close, slow_windows, short_name="slow")
    entries = fast.ma_crossed_above(slow).vbt.signals.fshift(1)
    exits = fast.ma_crossed_below(slow).vbt.signals.fshift(1)
    entries.iloc[-1] = False
    exits.iloc[-1] = True
    portfolio = vbt.Portfolio.from_signals(
        close,
        entries,
        exits,
        price=opens,
        size=np.inf,
        init_cash=workload.CAPITAL,
        fees=workload.FEE_RATE,
        freq="1h",
    )
    trades = portfolio.trades
    found = {
        "final_equity": portfolio.final_value(),
        "total_return": portfolio.total_return(),
        "sharpe": portfolio.sharpe_ratio(),
        "max_drawdown": portfolio.max_drawdown(),
        "win_rate": trades.win_rate(),
        "profit_factor": trades.profit_factor(),
        "trades": trades.count(),
    }
    assert len(trades.records) == np.sum(found["trades"])
    return {name: np.atleast_1d(np.asarray(value)) for name, value in found.items()}


def prepare_one():
    pairs = [(workload.FAST, workload.SLOW)]
    traded(*candles_of(), pairs)

    def ready():
        opens, close = candles_of()
        return lambda: traded(opens, close, pairs)

    return ready


def prepare_sweep():
    swept(500)
    return lambda: swept


def swept(rows: int = workload.ROWS) -> Figures:
    opens, close = candles_of(rows)
    parts = []
    for i in range(0, len(workload.GRID), CHUNK):
        parts.append(traded(opens, close, workload.GRID[i : i + CHUNK]))
        # A portfolio refers to itself: without this two and more chunks are kept.
        gc.collect()
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def figures(found: Figures) -> serving.Figures:
    return {
        "final_equity": found["final_equity"].tolist(),
        "max_drawdown_pct": (-100.0 * found["max_drawdown"]).tolist(),
        "win_rate_pct": (100.0 * found["win_rate"]).tolist(),
        "profit_factor": found["profit_factor"].tolist(),
        "trades": found["trades"].tolist(),
    }


if __name__ == "__main__":
    vbt.settings["engine"] = ENGINE
    serving.serve(vbt.__version__, {"one": prepare_one, "sweep": prepare_sweep}, figures)
