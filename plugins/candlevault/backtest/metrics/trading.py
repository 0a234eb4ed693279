"""What the trade log adds up to, and how much of the equity was at work: compiled passes."""

from __future__ import annotations

from typing import NamedTuple

from numba import njit

from candlevault.backtest.metrics.sums import add, settled


class Tally(NamedTuple):
    """Sums over a trade log, money in quote. `gained` and `lost` sum the positive and the
    negative pnl (`lost` as a negative number); `notional` is what all fills traded."""

    longs: int
    long_wins: int
    short_wins: int
    losses: int
    losing_streak: int
    ambiguous: int
    bars_held: int
    pnl: float
    long_pnl: float
    short_pnl: float
    gained: float
    lost: float
    fees: float
    funding: float
    notional: float
    best_pct: float
    worst_pct: float


@njit(cache=True, nogil=True)
def tally(records):
    """Tally of a structured array (tables.TRADE) in the order of closing; zeros for none."""
    longs, long_wins, short_wins, losses = 0, 0, 0, 0
    streak, losing_streak, ambiguous, bars_held = 0, 0, 0, 0
    none = (0.0, 0.0, 0.0)
    pnl, long_pnl, short_pnl, gained, lost, fees, funding, notional = (
        none, none, none, none, none, none, none, none)  # fmt: skip
    best, worst = 0.0, 0.0
    for i in range(len(records)):
        trade = records[i]
        value, back = trade.pnl, trade.return_pct
        pnl = add(*pnl, value)
        if trade.side > 0:
            longs += 1
            long_wins += value > 0.0
            long_pnl = add(*long_pnl, value)
        else:
            short_wins += value > 0.0
            short_pnl = add(*short_pnl, value)
        streak = streak + 1 if value < 0.0 else 0
        losing_streak = max(losing_streak, streak)
        if value > 0.0:
            gained = add(*gained, value)
        elif value < 0.0:
            losses += 1
            lost = add(*lost, value)
        fees = add(*fees, trade.entry_fee + trade.exit_fee)
        funding = add(*funding, trade.funding)
        notional = add(*notional, (trade.entry_price + trade.exit_price) * trade.quantity)
        bars_held += trade.bars_held
        ambiguous += trade.ambiguous
        best = back if i == 0 else max(best, back)
        worst = back if i == 0 else min(worst, back)
    return Tally(
        longs,
        long_wins,
        short_wins,
        losses,
        losing_streak,
        ambiguous,
        bars_held,
        settled(pnl),
        settled(long_pnl),
        settled(short_pnl),
        settled(gained),
        settled(lost),
        settled(fees),
        settled(funding),
        settled(notional),
        best,
        worst,
    )


@njit(cache=True, nogil=True)
def average_exposure(records, closes, equity):
    """Mean over all rows of the gross value held at the close, as a part of the equity.

    `closes` is (symbols, rows); where a symbol has no close its last one counts. Rows with
    equity at or below 0 count as 0.
    """
    whole = 0.0
    for i in range(len(records)):
        trade = records[i]
        close = closes[trade.symbol]
        mark, parts = trade.entry_price, 0.0
        for row in range(trade.entry_row, trade.exit_row):
            now = close[row]
            if now == now:
                mark = now
            if equity[row] > 0.0:
                parts += mark / equity[row]
        whole += parts * trade.quantity
    return whole / len(equity)
