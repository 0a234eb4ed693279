"""Entry orders: what a wish becomes, and at which price it fills: compiled."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from candlevault.backtest.engine.codes import (
    ENTER_LONG,
    ENTER_SHORT,
    EXIT_LONG,
    EXIT_SHORT,
    LIMIT,
    MARKET,
    SIGNAL,
    STOP,
    STOP_LIMIT,
)
from candlevault.backtest.engine.fills import enter, worse
from candlevault.backtest.engine.protection import AT_OPEN, reaches


@njit(cache=True, nogil=True)
def read(s, row, wishes, config, places):
    """Turn the wishes at a close into orders; the newest replaces what waits."""
    place = places[s]
    wished, side = wishes.actions[s, row], place.side
    # What the limits on losses ordered is not taken back.
    forced = place.leaving != 0 and place.reason != SIGNAL
    long_in = config.allow_long and wished & ENTER_LONG != 0
    short_in = config.allow_short and wished & ENTER_SHORT != 0
    if (place.entry > 0 and wished & EXIT_LONG != 0) or (
        place.entry < 0 and wished & EXIT_SHORT != 0
    ):
        place.entry = 0
    if not forced and (
        (side > 0 and (wished & EXIT_LONG != 0 or short_in))
        or (side < 0 and (wished & EXIT_SHORT != 0 or long_in))
    ):
        part = _at(wishes.reduce, s, row)
        place.leaving, place.reason = 1, SIGNAL
        # Who turns around leaves the whole position.
        turns = long_in or short_in or place.entry * side < 0
        place.part = 1.0 if turns or math.isnan(part) else part
    if not long_in and not short_in:
        return
    toward = 1 if long_in else -1
    if toward == side:
        if not forced:
            place.leaving = 0
        place.entry = 0
        if place.count >= config.max_entries:
            return
    place.limit, place.stop = _at(wishes.limit, s, row), _at(wishes.stop, s, row)
    place.kind = MARKET
    if not math.isnan(place.limit):
        place.kind = LIMIT if math.isnan(place.stop) else STOP_LIMIT
    elif not math.isnan(place.stop):
        place.kind = STOP
    place.stop_loss = _at(wishes.stop_loss, s, row)
    place.take_profit = _at(wishes.take_profit, s, row)
    place.trail = _at(wishes.trail, s, row)
    place.weight = _at(wishes.weight, s, row)
    place.volatility = _at(wishes.volatility, s, row)
    place.entry, place.signal, place.left = toward, row, config.valid_bars


@njit(cache=True, nogil=True)
def _at(array, symbol, row):
    """A value of an optional input, NaN where it is not used."""
    return array[symbol, row] if array.shape[0] > 0 else np.nan


@njit(cache=True, nogil=True)
def enter_at_open(s, row, day, config, places, lots, account, refused):
    """Fill a market order, or a resting one whose price the open has reached."""
    place = places[s]
    side, kind, open_ = place.entry, place.kind, place.mark
    price, fee = np.nan, config.taker_fee
    if kind == MARKET:
        price = worse(open_, side, config)
    elif _rests(place):
        if reaches(open_, place.limit, -side):
            price, fee = open_, config.maker_fee
    elif reaches(open_, place.stop, side):
        if kind == STOP:
            price = worse(open_, side, config)
        elif reaches(open_, place.limit, -side):
            price = _capped(worse(open_, side, config), place.limit, side)
        else:
            place.stop = np.nan
    if not math.isnan(price):
        enter(s, row, day, price, fee, AT_OPEN, open_, config, places, lots, account, refused)


@njit(cache=True, nogil=True)
def enter_inside(s, row, day, high, low, end, config, places, lots, account, refused):
    """Fill a resting order whose price lies inside the bar, or let it wait."""
    place = places[s]
    side, kind = place.entry, place.kind
    ahead, behind = (high, low) if side > 0 else (low, high)
    price, fee, entered, order = np.nan, config.taker_fee, STOP, place.stop
    if _rests(place):
        if reaches(behind, place.limit, -side):
            price, fee, entered, order = place.limit, config.maker_fee, LIMIT, place.limit
    elif reaches(ahead, place.stop, side):
        if kind == STOP:
            price = worse(place.stop, side, config)
        elif reaches(place.stop, place.limit, -side):
            price = _capped(worse(place.stop, side, config), place.limit, side)
        else:
            # Whether the limit was met before or after the trigger only the close can prove.
            place.stop = np.nan
            if reaches(end, place.limit, -side):
                price, fee, entered, order = place.limit, config.maker_fee, STOP_LIMIT, place.limit
    if not math.isnan(price):
        enter(s, row, day, price, fee, entered, order, config, places, lots, account, refused)
    elif place.left > 0:
        place.left -= 1
        if place.left == 0:
            place.entry = 0


@njit(cache=True, nogil=True)
def _rests(place):
    """Whether a limit order waits: a plain one, or a stop-limit that has triggered."""
    return place.kind == LIMIT or (place.kind == STOP_LIMIT and math.isnan(place.stop))


@njit(cache=True, nogil=True)
def _capped(price, limit, side):
    return min(price, limit) if side > 0 else max(price, limit)
