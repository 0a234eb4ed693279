"""How much one entry buys or sells short: compiled, called at the fill.

Kelly's share: J. L. Kelly, "A New Interpretation of Information Rate" (1956), for a bet that
wins the average winning return with the frequency of wins so far and loses the average
losing return otherwise: f = W - (1 - W) / R.
"""

from __future__ import annotations

from numba import njit

from candlevault.backtest.engine.codes import (
    EQUITY_FRACTION,
    FIXED_AMOUNT,
    FIXED_QUANTITY,
    FIXED_RISK,
    KELLY,
    VOLATILITY_TARGET,
)


@njit(cache=True, nogil=True)
def quantity(config, price, fee, equity, room, weight, stop_distance, volatility, share):
    """The quantity in base of an entry at `price`; 0.0 when there is nothing to spend.

    `fee` is the part (0-1) of the notional that the fill pays; `room` is what may still be
    spent, fee included, in quote; `weight` the part (0-1) that the signal asks for;
    `stop_distance` and `volatility` in quote per base; `share` Kelly's part of the equity.
    """
    unit = price * (1.0 + fee)
    if config.sizing == EQUITY_FRACTION:
        wanted = equity * config.size_value / unit
    elif config.sizing == FIXED_AMOUNT:
        wanted = config.size_value / unit
    elif config.sizing == FIXED_QUANTITY:
        wanted = config.size_value
    elif config.sizing == FIXED_RISK:
        if not stop_distance > 0.0:
            return 0.0
        wanted = equity * config.size_value / stop_distance
    elif config.sizing == VOLATILITY_TARGET:
        wanted = equity * config.size_value / volatility
    elif config.sizing == KELLY:
        wanted = equity * share / unit
    else:
        return 0.0
    return max(0.0, min(wanted * weight, room / unit))


@njit(cache=True, nogil=True)
def kelly_share(config, account):
    """The part of the equity (0-1) that the trades closed so far speak for."""
    wins, losses = account.wins, account.losses
    count = wins + losses
    if count < config.kelly_min_trades:
        return config.kelly_first
    if wins == 0:
        return 0.0
    if losses == 0:
        return config.kelly_cap
    rate = wins / count
    ratio = (account.gained / wins) / (account.lost / losses)
    return min(max((rate - (1.0 - rate) / ratio) * config.size_value, 0.0), config.kelly_cap)
