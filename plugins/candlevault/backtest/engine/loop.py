"""The event loop: compiled, one pass over the bars of all symbols. `simulation` has the rules.

Nothing here depends on the processor: additions stand in a fixed order, and the compiler may
not reorder them.
"""

from __future__ import annotations

import math

from numba import njit

from candlevault.backtest.engine.borrowing import borrowed
from candlevault.backtest.engine.coasting import coast
from candlevault.backtest.engine.codes import DAILY_LOSS, DRAWDOWN, END_OF_DATA
from candlevault.backtest.engine.exits import leave_at_open, protect
from candlevault.backtest.engine.fills import ROUNDING, close, drop, met, worse, worth
from candlevault.backtest.engine.liquidation import liquidate
from candlevault.backtest.engine.orders import enter_at_open, enter_inside, read
from candlevault.backtest.engine.protection import reaches


@njit(cache=True, nogil=True)
def run(market, wishes, settings, finer, choices, places, lots, accounts, trades, questions,
        counts, refused, equity_at, held_at, cash_at, quantity_at):  # fmt: skip
    """Trade `wishes` on `market`; everything from `places` on is written to.

    `choices` answers the first ambiguous moments: 0 the pessimistic, 1 the optimistic way;
    those after it follow the mode. `cash_at` (rows) and `quantity_at` (symbols, rows) are left
    alone where they have no rows.
    """
    market, wishes, finer = borrowed(market), borrowed(wishes), borrowed(finer)
    choices, places, lots, trades = borrowed((choices, places, lots, trades))
    questions, refused = borrowed((questions, refused))
    equity_at, held_at, cash_at, quantity_at = borrowed((equity_at, held_at, cash_at, quantity_at))
    opens, highs, lows, closes = market.open, market.high, market.low, market.close
    present, last_row, days = market.present, market.last_row, market.day
    funding, actions = market.funding, wishes.actions
    symbols, rows = opens.shape
    config, account, counters = settings[0], accounts[0], counts[0]
    can_fail = config.allow_short or config.max_exposure > 1.0 or funding.shape[0] > 0
    ruin = config.capital * ROUNDING if can_fail else -math.inf
    watched = math.isfinite(config.daily_loss) or math.isfinite(config.drawdown)
    alone = symbols == 1 and config.max_entries == 1 and not watched
    row = -1
    while row + 1 < rows:
        row += 1
        if alone and places[0].entry == 0 and places[0].leaving == 0:
            row = coast(row, last_row[0], highs, lows, closes, present, funding, actions, ruin,
                        places[0], lots[0, 0], account, equity_at, held_at, cash_at,
                        quantity_at)  # fmt: skip
            if row == rows:
                break
        day = days[row] if watched else 0
        if watched and row > 0 and day != days[row - 1]:
            account.day_start = account.equity
        busy = False
        for s in range(symbols):
            busy = busy or places[s].count > 0 or places[s].entry != 0
        if busy:
            # At the open first what gives money back, then what spends it.
            for s in range(symbols):
                if present[s, row]:
                    places[s].mark = opens[s, row]
            for s in range(symbols):
                if places[s].count > 0 and present[s, row]:
                    if funding.shape[0] > 0:
                        _fund(s, funding[s, row], places, lots, account)
                    if places[s].leaving or met(places[s], opens[s, row], opens[s, row]):
                        leave_at_open(s, row, config, places, lots, account, trades, counters)
            for s in range(symbols):
                if places[s].entry != 0 and present[s, row]:
                    enter_at_open(s, row, day, config, places, lots, account, refused)
            for s in range(symbols):
                if places[s].entry != 0 and present[s, row]:
                    enter_inside(s, row, day, highs[s, row], lows[s, row], closes[s, row],
                                  config, places, lots, account, refused)  # fmt: skip
                held_at[row] = held_at[row] or places[s].count > 0
            if can_fail:
                # Looked at here: the call would cost more than the sum.
                at_worst = account.cash
                for s in range(symbols):
                    worst = places[s].mark
                    if places[s].side != 0 and present[s, row]:
                        worst = lows[s, row] if places[s].side > 0 else highs[s, row]
                    at_worst += places[s].units * worst
                if at_worst <= ruin:
                    liquidate(row, ruin, present, highs, lows, config, places, lots, account,
                               trades, counters, refused)  # fmt: skip
            for s in range(symbols):
                if places[s].count == 0 or not present[s, row]:
                    continue
                high, low = highs[s, row], lows[s, row]
                entered = lots[s, places[s].count - 1].row == row
                # Calls cost more than looking; most bars touch nothing.
                if entered or places[s].restless or met(places[s], low, high):
                    protect(s, row, high, low, closes[s, row], config, finer, choices, places,
                             lots, account, trades, questions, counters)  # fmt: skip
                else:
                    for k in range(places[s].count):
                        lots[s, k].high = max(lots[s, k].high, high)
                        lots[s, k].low = min(lots[s, k].low, low)
            for s in range(symbols):
                if present[s, row]:
                    place = places[s]
                    place.mark = closes[s, row]
                    if row < last_row[s]:
                        continue
                    place.entry = 0
                    while place.count > 0:
                        close(s, 0, row, lots[s, 0].quantity,
                              worse(place.mark, -place.side, config), config.taker_fee,
                              END_OF_DATA, False, places, lots, account, trades,
                              counters)  # fmt: skip
            account.equity = worth(places, account.cash)[0]
        equity_at[row] = account.equity
        if len(cash_at) > 0:
            cash_at[row] = account.cash
            for s in range(symbols):
                quantity_at[s, row] = places[s].units
        for s in range(symbols):
            if actions[s, row] != 0 and row < last_row[s]:
                read(s, row, wishes, config, places)
        if watched:
            _watch(day, config, places, account, refused)


@njit(cache=True, nogil=True)
def _fund(s, rate, places, lots, account):
    """Funding of the lots carried into the bar: longs pay shorts where the rate is positive."""
    for k in range(places[s].count):
        paid = places[s].side * lots[s, k].quantity * places[s].mark * rate
        account.cash -= paid
        lots[s, k].funding += paid


@njit(cache=True, nogil=True)
def _watch(day, config, places, account, refused):
    """The daily loss and the drawdown stop, judged at the close; each acts once."""
    equity = account.equity
    account.peak = max(account.peak, equity)
    if account.halted:
        return
    if reaches(equity, account.peak * (100.0 - config.drawdown) / 100.0, -1):
        reason = DRAWDOWN
        account.halted = 1
    elif account.halted_day != day and reaches(
        equity, account.day_start * (100.0 - config.daily_loss) / 100.0, -1
    ):
        reason = DAILY_LOSS
        account.halted_day = day
    else:
        return
    for s in range(len(places)):
        drop(places[s], refused)
        if places[s].count > 0:
            places[s].leaving, places[s].part, places[s].reason = 1, 1.0, reason
