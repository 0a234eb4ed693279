"""Trend following with Donchian channels: the extremes of the bars before.

A channel of `period` bars at bar i lies between the lowest low and the highest high of the bars
i-period .. i-1; the bar itself is not in it. Defined from bar `period` on.

Wishes to be long on every bar that closes above the channel of `entry_period` bars and to leave
on every bar that closes below that of `exit_period` bars; short below the entry channel, leaving
above the exit channel. Prices within 1e-12 of each other (relative) count as equal.
"""

from __future__ import annotations

import numpy as np

from candlevault.backtest.data.frame import Bars
from candlevault.backtest.indicators import above, below, highest, lowest, previous
from candlevault.backtest.signals import Signals
from candlevault.backtest.strategies.contract import Parameter, Params, Strategy


def lines(bars: Bars, params: Params) -> dict[str, np.ndarray]:
    """Both channels, `entry_high`, `entry_low`, `exit_high` and `exit_low`, in quote."""
    return {
        f"{name}_{side}": previous(extreme(prices, params[f"{name}_period"]))
        for name in ("entry", "exit")
        for side, extreme, prices in (("high", highest, bars.high), ("low", lowest, bars.low))
    }


def signals(bars: Bars, params: Params) -> Signals:
    """Long from a close above the entry channel until one below the exit channel; mirrored."""
    channel = lines(bars, params)
    return Signals(
        enter_long=above(bars.close, channel["entry_high"]),
        exit_long=below(bars.close, channel["exit_low"]),
        enter_short=below(bars.close, channel["entry_low"]),
        exit_short=above(bars.close, channel["exit_high"]),
    )


STRATEGY = Strategy(
    name="donchian",
    version="1",
    title="Breakout from Donchian channels",
    description="Long once the close is above the highest high of the bars before, until it is "
    "below their lowest low over a span of its own; short the other way round.",
    parameters=(
        Parameter("entry_period", "integer", 20, 1, 10_000, "Bars before that a close must leave."),
        Parameter("exit_period", "integer", 10, 1, 10_000, "Bars before whose far side ends it."),
    ),
    signals=signals,
    lines=lines,
)
