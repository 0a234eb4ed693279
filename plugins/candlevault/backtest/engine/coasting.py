"""The quiet rows of a lone symbol: nothing is decided in them, only prices move. Compiled.

Most rows are quiet. Their fields are read once a stretch instead of once a row.
"""

from __future__ import annotations

from numba import njit

from candlevault.backtest.engine.protection import TOUCH_RATIO, stop_level

_TOUCHING = 1.0 + TOUCH_RATIO


@njit(cache=True, nogil=True)
def coast(row, last_row, highs, lows, closes, present, funding, actions, ruin, place, lot,
          account, equity_at, held_at, cash_at, quantity_at):  # fmt: skip
    """Do from `row` on what the loop does in quiet rows; returns the first other row."""
    if place.side == 0:
        count = _unwished(actions[0, row:])
        equity_at[row : row + count] = account.cash
        account.equity = account.cash
    else:
        count = _carried(row, last_row - row, highs[0, row:], lows[0, row:], closes[0, row:],
                         present[0, row:], funding, actions[0, row:], ruin, place, lot, account,
                         equity_at[row:])  # fmt: skip
        held_at[row : row + count] = True
    if len(cash_at) > 0:
        cash_at[row : row + count] = account.cash
        quantity_at[0, row : row + count] = place.units
    return row + count


@njit(cache=True, nogil=True)
def _unwished(actions):
    """How many rows in a row are without a wish."""
    count = 0
    while count < len(actions) and actions[count] == 0:
        count += 1
    return count


@njit(cache=True, nogil=True)
def _carried(row, most, highs, lows, closes, present, funding, actions, ruin, place, lot, account,
             equity_at):  # fmt: skip
    """Carry a position over at most `most` rows, as far as they are quiet; says over how many."""
    cash, units, side = account.cash, place.units, place.side
    high, low, mark, equity = lot.high, lot.low, place.mark, account.equity
    floor, ceiling, restless = place.floor, place.ceiling, place.restless
    stop, trail, funded, count = lot.stop, lot.trail, funding.shape[0] > 0, 0
    for i in range(most):
        top, bottom, count = highs[i], lows[i], i
        # As `met` has it.
        if bottom <= floor * _TOUCHING or top * _TOUCHING >= ceiling:
            break
        if actions[i] != 0 or not present[i]:
            break
        if cash + units * (bottom if side > 0 else top) <= ruin:
            break
        if funded and funding[0, row + i] != 0.0:
            break
        high, low = max(high, top), min(low, bottom)
        if restless and side > 0:
            floor = stop_level(side, stop, high, trail)[0]
        elif restless:
            ceiling = stop_level(side, stop, low, trail)[0]
        mark = closes[i]
        equity = cash + units * mark
        equity_at[i] = equity
        count = i + 1
    lot.high, lot.low, place.mark, place.floor, place.ceiling = high, low, mark, floor, ceiling
    account.equity = equity
    return count
