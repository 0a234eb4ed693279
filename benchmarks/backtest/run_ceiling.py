"""The ceiling: one bare compiled loop that knows only this strategy and these figures.

Rolling sums, one position, no rules of risk, no log but entry and exit.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numba
import numpy as np
from numba import njit

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(1, str(Path(__file__).parents[1]))
import serving
import workload


@njit(nogil=True)
def run(opens, closes, fast, slow, capital, fee):
    rows = len(closes)
    trades, count = np.empty((rows // 2, 4)), 0
    cash, units, entered, paid, spent = capital, 0.0, 0, 0.0, 0.0
    sum_fast, sum_slow = 0.0, 0.0
    before, above, due = False, False, 0
    peak, deepest, wins, gained, lost = 0.0, 0.0, 0, 0.0, 0.0
    total, squares, last = 0.0, 0.0, capital
    for i in range(rows + 1):
        price = opens[i] if i < rows else closes[rows - 1]
        if units > 0.0 and (due < 0 or i == rows):
            cash = units * price * (1.0 - fee)
            trades[count, 0], trades[count, 1], trades[count, 2], trades[count, 3] = (
                entered,
                i,
                paid,
                price,
            )
            count += 1
            if cash > spent:
                wins += 1
                gained += cash - spent
            else:
                lost += spent - cash
            units = 0.0
        if i == rows:
            break
        if units == 0.0 and due > 0:
            spent, paid, entered = cash, price, i
            units, cash = cash / (price * (1.0 + fee)), 0.0
        close = closes[i]
        equity = cash + units * close
        peak = max(peak, equity)
        deepest = max(deepest, (peak - equity) / peak)
        if i % 24 == 23:
            move = equity / last - 1.0
            total, squares, last = total + move, squares + move * move, equity
        sum_fast += close - (closes[i - fast] if i >= fast else 0.0)
        sum_slow += close - (closes[i - slow] if i >= slow else 0.0)
        above = sum_fast / fast > sum_slow / slow
        due = 0
        if i >= slow:
            due = int(above) - int(before)
        before = above
    days = rows // 24
    mean = total / days
    sharpe = mean / np.sqrt((squares - days * mean * mean) / (days - 1)) * np.sqrt(365.0)
    profit = gained / lost if lost > 0.0 else np.nan
    return cash, deepest * 100.0, wins / count * 100.0, profit, sharpe, trades[:count]


def prepare_one():
    candles = workload.candles()
    given = (candles.open, candles.close, workload.FAST, workload.SLOW)

    def ready():
        return lambda: run(*given, workload.CAPITAL, workload.FEE_RATE)

    ready()()
    return ready


def figures(found) -> serving.Figures:
    equity, drawdown, win_rate, profit, _, trades = found
    return {
        "final_equity": [equity],
        "max_drawdown_pct": [drawdown],
        "win_rate_pct": [win_rate],
        "profit_factor": [profit],
        "trades": [len(trades)],
    }


if __name__ == "__main__":
    serving.serve(numba.__version__, {"one": prepare_one}, figures)
