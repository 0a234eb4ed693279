"""How lots are left: at the open by a waiting exit, inside a bar by stop or target: compiled."""

from __future__ import annotations

import math

from numba import njit

from candlevault.backtest.engine.codes import (
    OPTIMISTIC,
    RESOLVED,
    STOP_LOSS,
    TAKE_PROFIT,
    TRAILING_STOP,
)
from candlevault.backtest.engine.fills import ROUNDING, close, survey, worse
from candlevault.backtest.engine.protection import (
    AT_OPEN,
    BY_STOP,
    BY_TARGET,
    CERTAIN,
    HOLDS,
    NEVER,
    UNKNOWN,
    evidence,
    gap_outcome,
    met_best,
    met_worst,
    outcome,
    stop_level,
    walked,
)


@njit(cache=True, nogil=True)
def leave_at_open(s, row, config, places, lots, account, trades, counters):
    """The waiting exit, oldest lots first, then what lies beyond stop or target already."""
    place = places[s]
    if place.leaving:
        place.leaving = 0
        price = worse(place.mark, -place.side, config)
        rest = abs(place.units) * place.part if place.part < 1.0 else math.inf
        while place.count > 0:
            units = lots[s, 0].quantity
            # What differs from nothing or the whole lot by rounding only is nothing or the whole.
            if rest <= units * ROUNDING:
                break
            if rest < units * (1.0 - ROUNDING):
                units = rest
            rest -= units
            close(s, 0, row, units, price, config.taker_fee, place.reason, True, places, lots,
                  account, trades, counters)  # fmt: skip
    k = 0
    while k < place.count:
        if not _beyond(s, k, row, place.mark, True, config, places, lots, account, trades,
                       counters):  # fmt: skip
            k += 1


@njit(cache=True, nogil=True)
def _beyond(s, k, row, price, at_open, config, places, lots, account, trades, counters):
    """Close a lot at a price that lies beyond its stop or target; says whether it did."""
    side, lot = places[s].side, lots[s, k]
    stop, trails = stop_level(side, lot.stop, lot.high if side > 0 else lot.low, lot.trail)
    found = gap_outcome(side, stop, lot.target, price)
    if found == BY_STOP:
        close(s, k, row, lot.quantity, worse(price, -side, config), config.taker_fee,
              TRAILING_STOP if trails else STOP_LOSS, at_open, places, lots, account, trades,
              counters)  # fmt: skip
    elif found == BY_TARGET:
        close(s, k, row, lot.quantity, price, config.maker_fee, TAKE_PROFIT, at_open, places,
              lots, account, trades, counters)  # fmt: skip
    return found != HOLDS


@njit(cache=True, nogil=True)
def protect(s, row, high, low, end, config, finer, choices, places, lots, account, trades,
             questions, counters):  # fmt: skip
    """Stops and targets inside the bar; what stays open remembers how far prices went."""
    place = places[s]
    k = 0
    while k < place.count:
        lot, side = lots[s, k], place.side
        entered = lot.entered if lot.row == row else AT_OPEN
        if lot.row == row and _beyond(s, k, row, lot.order, entered == AT_OPEN, config, places,
                                      lots, account, trades, counters):  # fmt: skip
            continue
        stop, trails = stop_level(side, lot.stop, lot.high if side > 0 else lot.low, lot.trail)
        stopped, gained = evidence(side, stop, lot.target, high, low, end, entered)
        found = outcome(stopped, gained)
        if found == UNKNOWN:
            found = _chosen(s, side, row, stop, entered, stopped, gained, config, finer, choices,
                            lot, questions, counters)  # fmt: skip
        if found == BY_STOP:
            close(s, k, row, lot.quantity, worse(stop, -side, config), config.taker_fee,
                  TRAILING_STOP if trails else STOP_LOSS, False, places, lots, account, trades,
                  counters)  # fmt: skip
        elif found == BY_TARGET:
            close(s, k, row, lot.quantity, lot.target, config.maker_fee, TAKE_PROFIT, False,
                  places, lots, account, trades, counters)  # fmt: skip
        else:
            # Of the bar in which a resting order filled only what was surely met counts.
            best, worst = met_best(entered), met_worst(entered)
            lot.high = max(lot.high, high if (best if side > 0 else worst) else end)
            lot.low = min(lot.low, low if (worst if side > 0 else best) else end)
            k += 1
    survey(s, places, lots)


@njit(cache=True, nogil=True)
def _chosen(s, side, row, stop, entered, stopped, gained, config, finer, choices, lot, questions,
            counters):  # fmt: skip
    """The answer to an ambiguous moment: given, by the finer candles, or by the mode."""
    bad = HOLDS if stopped == NEVER else BY_STOP
    good = HOLDS if gained == NEVER else BY_TARGET
    asked = counters.questions
    lot.doubt = 1
    if stopped != CERTAIN and gained != CERTAIN:
        counters.branching += 1
    better = config.mode == OPTIMISTIC
    if asked < len(choices):
        better = choices[asked] == 1
    elif config.mode == RESOLVED:
        found = UNKNOWN
        if finer.first.shape[0] > 0:
            found = walked(side, stop, lot.target, lot.order, entered, finer,
                           finer.first[s, row], finer.last[s, row])  # fmt: skip
        better = found == good
        if found != good and found != bad:
            counters.unresolved += 1
    question = questions[asked]
    question.symbol, question.row, question.choice = s, row, 1 if better else 0
    counters.questions += 1
    return good if better else bad
