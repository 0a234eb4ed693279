"""Small whole numbers that the compiled loop works with, and the names they stand for."""

from __future__ import annotations

NOTHING = 0
ENTER_LONG = 1
EXIT_LONG = 2
ENTER_SHORT = 4
EXIT_SHORT = 8
ANY_ACTION = ENTER_LONG | EXIT_LONG | ENTER_SHORT | EXIT_SHORT
"""Actions of one bar; a strategy may wish several at once, such as leave and turn around."""

MARKET, LIMIT, STOP, STOP_LIMIT = range(4)
ORDER_KINDS = ("market", "limit", "stop", "stop_limit")
"""Kinds of entry orders by their number."""

(
    SIGNAL,
    STOP_LOSS,
    TRAILING_STOP,
    TAKE_PROFIT,
    END_OF_DATA,
    DAILY_LOSS,
    DRAWDOWN,
    LIQUIDATION,
) = range(8)
EXIT_REASONS = (
    "signal",
    "stop_loss",
    "trailing_stop",
    "take_profit",
    "end_of_data",
    "daily_loss",
    "drawdown",
    "liquidation",
)
"""Why a trade ended, by number."""

EQUITY_FRACTION, FIXED_AMOUNT, FIXED_QUANTITY, FIXED_RISK, VOLATILITY_TARGET, KELLY = range(6)
SIZING_METHODS = (
    "equity_fraction",
    "fixed_amount",
    "fixed_quantity",
    "fixed_risk",
    "volatility_target",
    "kelly",
)
"""Ways to size an entry, by number."""

PESSIMISTIC, OPTIMISTIC, RESOLVED = range(3)
INTRABAR_MODES = ("pessimistic", "optimistic", "resolved")
"""What is taken where the order of events inside a bar is unknown, by number."""

NO_ROOM, NO_STOP, NO_VOLATILITY, TOO_MANY, TRADING_HALTED = range(5)
REFUSALS = (
    "no_buying_power",
    "no_stop_distance",
    "no_volatility",
    "max_open_positions",
    "trading_halted",
)
"""Why an entry order was dropped, by number."""
