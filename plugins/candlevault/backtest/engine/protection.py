"""Stops and targets of one open lot inside one bar: compiled, no books are kept here.

A lot that was entered inside the bar, by a resting order, has met only a part of the bar.
What its path proves follows from prices being passed one after another: whoever bought at a
limit below the open has still to fall to reach the stop, and whoever bought at a stop order
above the open has still to rise to reach the target. What is not proved is `POSSIBLE`.
"""

from __future__ import annotations

from numba import njit

from candlevault.backtest.engine.codes import LIMIT, STOP, STOP_LIMIT

TOUCH_RATIO = 1e-12
"""A price this part of a level away from it still touches it.

Levels are rounded: 95 % of a price can land one float beside the decimal number that a
candle's low holds, and a candle that touches a level triggers it.
"""

HOLDS, BY_STOP, BY_TARGET, UNKNOWN = 0, 1, 2, 3
NEVER, POSSIBLE, CERTAIN = 0, 1, 2
AT_OPEN = -1
"""The kind of an entry that met the whole bar."""


@njit(cache=True, nogil=True)
def reaches(price, level, direction):
    """Whether `price` is at `level` or beyond it, up (+1) or down (-1)."""
    if direction > 0:
        return price * (1.0 + TOUCH_RATIO) >= level
    return price <= level * (1.0 + TOUCH_RATIO)


@njit(cache=True, nogil=True)
def stop_level(side, stop_loss, best, trail):
    """The nearer of stop loss and trailing stop, and whether it is the trailing one.

    `best` is the best price since the entry, `trail` the distance in quote.
    """
    trailing = best - side * trail
    if side > 0:
        return max(stop_loss, trailing), trailing > stop_loss * (1.0 + TOUCH_RATIO)
    return min(stop_loss, trailing), trailing * (1.0 + TOUCH_RATIO) < stop_loss


@njit(cache=True, nogil=True)
def met_best(entered):
    """Whether the lot has surely met the bar's extreme on its winning side."""
    return entered in (AT_OPEN, STOP)


@njit(cache=True, nogil=True)
def met_worst(entered):
    """Whether the lot has surely met the bar's extreme on its losing side."""
    return entered in (AT_OPEN, LIMIT)


@njit(cache=True, nogil=True)
def evidence(side, stop, target, high, low, close, entered):
    """How far the bar proves that the stop and that the target were reached while in it.

    `entered` is AT_OPEN or how a resting order entered inside this bar: LIMIT, STOP, or
    STOP_LIMIT for a limit that only the close proves.
    """
    worst, best = (low, high) if side > 0 else (high, low)
    stopped = CERTAIN if reaches(worst, stop, -side) else NEVER
    gained = CERTAIN if reaches(best, target, side) else NEVER
    if gained == CERTAIN and not met_best(entered) and not reaches(close, target, side):
        gained = POSSIBLE
    if stopped == CERTAIN and not met_worst(entered) and not reaches(close, stop, -side):
        stopped = POSSIBLE
    return stopped, gained


@njit(cache=True, nogil=True)
def outcome(stopped, gained):
    """BY_STOP, BY_TARGET, HOLDS, or UNKNOWN where the order of events decides."""
    if stopped == NEVER and gained == NEVER:
        return HOLDS
    if stopped == CERTAIN and gained == NEVER:
        return BY_STOP
    if gained == CERTAIN and stopped == NEVER:
        return BY_TARGET
    return UNKNOWN


@njit(cache=True, nogil=True)
def walked(side, stop, target, entry, entered, finer, first, last):
    """What the finer candles `first` to `last` (exclusive) of one bar tell of its order.

    UNKNOWN where even one of them holds both levels, or none proves anything.
    """
    inside = entered == AT_OPEN
    if entered == STOP_LIMIT:
        return UNKNOWN
    for i in range(first, last):
        now = AT_OPEN
        if not inside:
            # A limit order waits on the losing side of the market, a stop order on the other.
            toward = -side if entered == LIMIT else side
            reached = finer.high[i] if toward > 0 else finer.low[i]
            if not reaches(reached, entry, toward):
                continue
            inside = True
            if not reaches(finer.open[i], entry, toward):
                now = entered
        if now == AT_OPEN:
            found = gap_outcome(side, stop, target, finer.open[i])
            if found != HOLDS:
                return found
        stopped, gained = evidence(
            side, stop, target, finer.high[i], finer.low[i], finer.close[i], now
        )
        found = outcome(stopped, gained)
        if found != HOLDS:
            return found
    if inside and entered != AT_OPEN:
        return HOLDS
    return UNKNOWN


@njit(cache=True, nogil=True)
def gap_outcome(side, stop, target, open_):
    """BY_STOP or BY_TARGET when the open already lies there, else HOLDS."""
    if reaches(open_, stop, -side):
        return BY_STOP
    if reaches(open_, target, side):
        return BY_TARGET
    return HOLDS
