"""What a fill does to lots, account and log: compiled."""

from __future__ import annotations

import math

from numba import njit

from candlevault.backtest.engine.codes import (
    FIXED_RISK,
    KELLY,
    NO_ROOM,
    NO_STOP,
    NO_VOLATILITY,
    TOO_MANY,
    TRADING_HALTED,
    VOLATILITY_TARGET,
)
from candlevault.backtest.engine.protection import TOUCH_RATIO, reaches, stop_level
from candlevault.backtest.engine.sizing import kelly_share, quantity

_BPS = 10_000.0
ROUNDING = 1e-12
"""What rounding leaves over, as a part: so little of the capital or the equity buys nothing and
is nothing left, so small a return is neither won nor lost."""


@njit(cache=True, nogil=True)
def worse(price, direction, config):
    """The price of a market fill: dearer for who buys (+1), cheaper for who sells (-1)."""
    slipped = price * (_BPS + direction * config.slippage_bps) / _BPS
    return max(slipped + direction * config.half_spread, 0.0)


@njit(cache=True, nogil=True)
def worth(places, cash):
    """Equity and gross exposure at the last prices, both in quote."""
    equity, gross = cash, 0.0
    for s in range(len(places)):
        value = places[s].units * places[s].mark
        gross += abs(value)
        equity += value
    return equity, gross


@njit(cache=True, nogil=True)
def survey(s, places, lots):
    """Sum up a symbol's lots in its place: what the loop looks at in every bar."""
    place = places[s]
    place.units, place.floor, place.ceiling = 0.0, -math.inf, math.inf
    place.restless = 0
    for k in range(place.count):
        lot = lots[s, k]
        best = lot.high if place.side > 0 else lot.low
        stop = stop_level(place.side, lot.stop, best, lot.trail)[0]
        below, above = (stop, lot.target) if place.side > 0 else (lot.target, stop)
        place.units += place.side * lot.quantity
        place.floor = max(place.floor, below)
        place.ceiling = min(place.ceiling, above)
        if math.isfinite(lot.trail):
            place.restless = 1


@njit(cache=True, nogil=True)
def met(place, low, high):
    """Whether prices from `low` to `high` touch any stop or target of the symbol's lots."""
    return reaches(low, place.floor, -1) or reaches(high, place.ceiling, 1)


@njit(cache=True, nogil=True)
def _level(wished, price, direction, percent):
    """The wished level, or the one `percent` of the price away; infinitely far when off."""
    if not math.isnan(wished):
        return wished
    if math.isinf(percent):
        return direction * math.inf
    return price * (100.0 + direction * percent) / 100.0


@njit(cache=True, nogil=True)
def enter(s, row, day, price, fee, entered, order, config, places, lots, account, refused):
    """Open one lot at `price` (slippage included), or count why the order was dropped; says which.

    `order` is the price in the market at this moment, before slippage and spread.
    """
    place = places[s]
    side, k = place.entry, place.count
    place.entry = 0
    held = 0
    for other in range(len(places)):
        held += places[other].count > 0
    if account.halted or day == account.halted_day:
        refused[TRADING_HALTED] += 1
        return False
    if k == 0 and held >= config.max_positions:
        refused[TOO_MANY] += 1
        return False
    if price == 0.0:
        refused[NO_ROOM] += 1
        return False
    stop = _level(place.stop_loss, price, -side, config.stop_loss)
    target = _level(place.take_profit, price, side, config.take_profit)
    trail = price * config.trailing / 100.0 if math.isnan(place.trail) else place.trail
    distance = min(side * (price - stop), trail)
    if not distance > price * TOUCH_RATIO or (config.sizing == FIXED_RISK and math.isinf(distance)):
        refused[NO_STOP] += 1
        return False
    if config.sizing == VOLATILITY_TARGET and not place.volatility > 0.0:
        refused[NO_VOLATILITY] += 1
        return False
    equity, gross = worth(places, account.cash)
    units = quantity(
        config,
        price,
        fee,
        equity,
        config.max_exposure * equity - gross,
        1.0 if math.isnan(place.weight) else place.weight,
        distance,
        place.volatility,
        kelly_share(config, account) if config.sizing == KELLY else 0.0,
    )
    if not units > 0.0 or units * price <= max(equity, config.capital) * ROUNDING:
        refused[NO_ROOM] += 1
        return False
    cost = price * units * fee
    account.cash -= side * (price * units) + cost
    place.count, place.side = k + 1, side
    lot = lots[s, k]
    lot.quantity, lot.price, lot.fee, lot.funding = units, price, cost, 0.0
    lot.stop, lot.target, lot.trail = stop, target, trail
    lot.high, lot.low, lot.order = price, price, order
    lot.signal, lot.row, lot.kind = place.signal, row, place.kind
    lot.entered, lot.doubt = entered, 0
    survey(s, places, lots)
    return True


@njit(cache=True, nogil=True)
def drop(place, refused):
    """Take a waiting entry off the book because trading is halted."""
    if place.entry != 0:
        place.entry = 0
        refused[TRADING_HALTED] += 1


@njit(cache=True, nogil=True)
def close(s, k, row, units, price, fee, reason, at_open, places, lots, account, trades, counters):
    """Close `units` of lot `k` at `price` (slippage included): the trade is written."""
    place, lot = places[s], lots[s, k]
    side, entry_price = place.side, lot.price
    whole = units == lot.quantity
    part = 1.0 if whole else units / lot.quantity
    entry_fee, funding = lot.fee * part, lot.funding * part
    exit_fee = price * units * fee
    spent = entry_price * units + entry_fee
    pnl = side * (price - entry_price) * units - entry_fee - exit_fee - funding
    account.cash += side * (price * units) - exit_fee
    high, low = max(lot.high, price), min(lot.low, price)
    best, worst = (high, low) if side > 0 else (low, high)
    trade = trades[counters.trades]
    counters.trades += 1
    trade.symbol, trade.side, trade.signal_row = s, side, lot.signal
    trade.entry_row, trade.exit_row = lot.row, row
    trade.bars_held = row - lot.row + (0 if at_open else 1)
    trade.reason, trade.ambiguous, trade.order_kind = reason, lot.doubt, lot.kind
    trade.entry_price, trade.exit_price, trade.quantity = entry_price, price, units
    trade.entry_fee, trade.exit_fee, trade.funding = entry_fee, exit_fee, funding
    trade.pnl, trade.return_pct = pnl, pnl / spent * 100.0
    trade.mae_pct = side * (worst - entry_price) / entry_price * 100.0
    trade.mfe_pct = side * (best - entry_price) / entry_price * 100.0
    if pnl > spent * ROUNDING:
        account.wins += 1
        account.gained += pnl / spent
    elif pnl < -spent * ROUNDING:
        account.losses += 1
        account.lost -= pnl / spent
    if not whole:
        lot.quantity -= units
        lot.fee -= entry_fee
        lot.funding -= funding
    else:
        for j in range(k + 1, place.count):
            lots[s, j - 1] = lots[s, j]
        place.count -= 1
        if place.count == 0:
            place.side = 0
    survey(s, places, lots)
