"""A strategy of your own: copy this file, give it a name, and change the rule.

The name of the file is the name of the strategy: `breakout_of_the_day.py` binds a STRATEGY
called "breakout_of_the_day". What you may import: NumPy, pandas, TA-Lib, the indicators of
candlevault.backtest.indicators, and whatever else is installed; not other files of the folder.
"""

from __future__ import annotations

import numpy as np

from candlevault.backtest.indicators import atr, highest, lowest, previous
from candlevault.backtest.signals import Signals
from candlevault.backtest.strategies.contract import Ascending, Parameter, Strategy


def lines(bars, params):
    """What a chart shows: float64 arrays by name, as long as the bars, NaN where undefined.

    No run needs it: a strategy may leave it out.
    """
    return {
        # Without `previous`, the bar itself would be part of the range it is to leave.
        "upper": previous(highest(bars.high, params["entry_bars"])),
        "lower": previous(lowest(bars.low, params["exit_bars"])),
    }


def signals(bars, params):
    """What you wish at the close of each bar; the engine acts at a later bar's open.

    `bars` has open_time (int64 ms UTC), open, high, low, close and volume: read-only arrays, the
    oldest bar first. Row i of what you return may depend on rows 0 to i only. That is checked:
    a strategy that looks ahead fails.

    What Signals carry, all of it optional. Bool arrays: enter_long, exit_long, enter_short and
    exit_short (the payload's `direction` decides which entries are taken). float64 arrays, read
    where something is wished; NaN: not at this bar:

        limit, stop             prices of the entry order; both: stop-limit; neither: at the open
        stop_loss, take_profit  prices at which the position is left
        trail                   distance of a trailing stop, in quote
        weight                  part (above 0, at most 1) of the usual size that an entry takes
        reduce                  part (above 0, at most 1) of the position that an exit closes
    """
    drawn = lines(bars, params)
    distance = params["stop_atr"] * atr(bars.high, bars.low, bars.close, 14)
    return Signals(
        # Comparisons with NaN are False: nothing is wished before the range is known.
        enter_long=bars.close > drawn["upper"],
        exit_long=bars.close < drawn["lower"],
        # A price, read where an entry is wished; NaN: none at this bar.
        stop_loss=np.where(distance < bars.close, bars.close - distance, np.nan),
    )


STRATEGY = Strategy(
    name="strategy_template",
    # Change it whenever the same bars and settings could give other signals.
    version="1",
    title="Breakout with a stop",
    description="Buys above the highest high of some bars, sells below the lowest low of fewer.",
    # The kinds are integer and number (default, minimum, maximum), boolean (default), and choice
    # (default, and options=("a", "b")).
    parameters=(
        Parameter("entry_bars", "integer", 40, 2, 5_000, "Bars of the range that is left above."),
        Parameter("exit_bars", "integer", 20, 1, 5_000, "Bars of the range that is left below."),
        Parameter("stop_atr", "number", 3.0, 0.1, 20.0, "Distance of the stop in average ranges."),
    ),
    rules=(Ascending("exit_bars", "entry_bars"),),
    signals=signals,
    lines=lines,
    # Signals may carry stops of their own.
    sets_levels=True,
)
