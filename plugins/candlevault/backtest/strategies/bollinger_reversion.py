"""Mean reversion with Bollinger bands of the close.

middle[i] = mean of the last `period` closes, bar i included; deviation[i] = square root of the mean
squared distance of these closes from middle[i] (divided by `period`); the bands lie `width`
deviations above and below the middle. Defined from bar period-1 on.

Wishes to be long on every bar whose close lies below the lower band and to leave on every bar
whose close lies at or above the middle; short above the upper band, leaving at or below the
middle. These are levels, not crosses: after a stop closed the position, the next bar beyond the
band enters again. Prices within 1e-12 of each other (relative) count as equal.
"""

from __future__ import annotations

import numpy as np

from candlevault.backtest.data.frame import Bars
from candlevault.backtest.indicators import above, at_least, at_most, below, bollinger
from candlevault.backtest.signals import Signals
from candlevault.backtest.strategies.contract import Parameter, Params, Strategy


def lines(bars: Bars, params: Params) -> dict[str, np.ndarray]:
    """The bands `bollinger_lower`, `bollinger_middle` and `bollinger_upper`, in quote."""
    lower, middle, upper = bollinger(bars.close, params["period"], params["width"])
    return {"bollinger_lower": lower, "bollinger_middle": middle, "bollinger_upper": upper}


def signals(bars: Bars, params: Params) -> Signals:
    """Long below the lower band, short above the upper one, neither at the middle."""
    lower, middle, upper = lines(bars, params).values()
    return Signals(
        enter_long=below(bars.close, lower),
        exit_long=at_least(bars.close, middle),
        enter_short=above(bars.close, upper),
        exit_short=at_most(bars.close, middle),
    )


STRATEGY = Strategy(
    name="bollinger_reversion",
    version="1",
    title="Return to the middle of Bollinger bands",
    description="Long once the close is below the lower band, short once it is above the upper "
    "one, until it is back at the middle.",
    parameters=(
        Parameter("period", "integer", 20, 2, 10_000, "Bars in average and deviation."),
        Parameter("width", "number", 2.0, 0.1, 10.0, "Deviations from the middle to a band."),
    ),
    signals=signals,
    lines=lines,
)
