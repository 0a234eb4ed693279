"""What is left when the equity is used up inside a bar, and what closes then: compiled."""

from __future__ import annotations

import math

from numba import njit

from candlevault.backtest.engine.codes import LIQUIDATION, STOP_LOSS, TRAILING_STOP
from candlevault.backtest.engine.fills import ROUNDING, close, drop, worse
from candlevault.backtest.engine.protection import AT_OPEN, reaches, stop_level


@njit(cache=True, nogil=True)
def liquidate(row, ruin, present, highs, lows, config, places, lots, account, trades, counters,
               refused):  # fmt: skip
    """Close everything where the equity is used up, on the straight way from the open to the
    worst prices of the bar, unless the stops that lie on it save a part; nothing is entered
    after that."""
    way = _way_to_ruin(row, ruin, present, highs, lows, config, places, lots, account.cash)
    if way > 1.0:
        return
    for s in range(len(places)):
        place = places[s]
        drop(place, refused)
        if place.count > 0 and not present[s, row]:
            place.leaving, place.part, place.reason = 1, 1.0, LIQUIDATION
            continue
        price = _on_the_way(way, s, row, present, highs, lows, places)
        worst = _on_the_way(1.0, s, row, present, highs, lows, places)
        while place.count > 0:
            lot = lots[s, 0]
            side, reason, left = place.side, LIQUIDATION, price
            at_open = way == 0.0 and not (lot.row == row and lot.entered != AT_OPEN)
            out, at, trails = _stop_on_the_way(place, lot, row, worst)
            if out <= way * (1.0 + ROUNDING):
                reason, left = TRAILING_STOP if trails else STOP_LOSS, at
                at_open = at == place.mark and not (lot.row == row and lot.entered != AT_OPEN)
            close(s, 0, row, lot.quantity, worse(left, -side, config), config.taker_fee, reason,
                  at_open, places, lots, account, trades, counters)  # fmt: skip
    account.halted = 1


@njit(cache=True, nogil=True)
def _way_to_ruin(row, ruin, present, highs, lows, config, places, lots, cash):
    """The part (0-1) of that way after which nothing is left; inf when something stays."""
    reached = 0.0
    start = _worth_on_the_way(0.0, True, row, present, highs, lows, config, places, lots, cash)
    if start <= ruin:
        return 0.0
    while reached < 1.0:
        ahead = 1.0
        for s in range(len(places)):
            worst = _on_the_way(1.0, s, row, present, highs, lows, places)
            for k in range(places[s].count if present[s, row] else 0):
                out = _stop_on_the_way(places[s], lots[s, k], row, worst)[0]
                if reached < out < ahead:
                    ahead = out
        before = _worth_on_the_way(ahead, False, row, present, highs, lows, config, places, lots,
                                   cash)  # fmt: skip
        after = _worth_on_the_way(ahead, True, row, present, highs, lows, config, places, lots,
                                  cash)  # fmt: skip
        if before <= ruin:
            return min(ahead, reached + (ahead - reached) * start / (start - before))
        if after <= ruin:
            return ahead
        reached, start = ahead, after
    return math.inf


@njit(cache=True, nogil=True)
def _worth_on_the_way(way, past, row, present, highs, lows, config, places, lots, cash):
    """The equity there: stops before it have been taken, and with `past` those at it."""
    equity = cash
    for s in range(len(places)):
        place = places[s]
        price = _on_the_way(way, s, row, present, highs, lows, places)
        worst = _on_the_way(1.0, s, row, present, highs, lows, places)
        for k in range(place.count):
            lot = lots[s, k]
            value = place.side * lot.quantity * price
            if present[s, row]:
                out, at, _ = _stop_on_the_way(place, lot, row, worst)
                if out < way or (past and out == way):
                    at = worse(at, -place.side, config)
                    value = (place.side - config.taker_fee) * lot.quantity * at
            equity += value
    return equity


@njit(cache=True, nogil=True)
def _stop_on_the_way(place, lot, row, worst):
    """At which part of that way a lot's stop is taken (inf: not at all), at which price, and
    whether it is the trailing one."""
    side = place.side
    stop, trails = stop_level(side, lot.stop, lot.high if side > 0 else lot.low, lot.trail)
    start = lot.order if lot.row == row else place.mark
    if reaches(start, stop, -side):
        return 0.0, start, trails
    if not reaches(worst, stop, -side):
        return math.inf, stop, trails
    if worst == place.mark:
        return 0.0, stop, trails
    return min(max((stop - place.mark) / (worst - place.mark), 0.0), 1.0), stop, trails


@njit(cache=True, nogil=True)
def _on_the_way(way, s, row, present, highs, lows, places):
    """A symbol's price at a part (0-1) of the way from its open to its worst price."""
    place = places[s]
    if place.side == 0 or not present[s, row]:
        return place.mark
    worst = lows[s, row] if place.side > 0 else highs[s, row]
    return place.mark + way * (worst - place.mark)
