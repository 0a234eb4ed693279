"""The risk manager: how much to buy, and the levels that end a trade.

Percentages are 0–100 and refer to the entry price, which is the price paid (slippage
included, fee not).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

EQUITY_FRACTION = "equity_fraction"
FIXED_AMOUNT = "fixed_amount"

TOUCH_RATIO = 1e-12
"""A price this part of a level away from it still touches it.

Levels are rounded: 95 % of a price can land one float beside the decimal number that a
candle's low holds, and a candle that touches a level triggers it.
"""


@dataclass(frozen=True, slots=True)
class Sizing:
    """How much to buy. The entry fee is part of what is spent in both methods.

    `equity_fraction`: `value` (above 0, at most 1) of the equity at the time of the fill;
    1.0 spends everything. `fixed_amount`: `value` in quote, or all the cash if less is left.
    """

    method: str = EQUITY_FRACTION
    value: float = 1.0


@dataclass(frozen=True, slots=True)
class RiskRules:
    """Sizing and the three levels in percent of the entry price; None switches one off."""

    sizing: Sizing = Sizing()
    stop_loss_pct: float | None = None
    take_profit_pct: float | None = None
    trailing_stop_pct: float | None = None


def entry_quantity(sizing: Sizing, cash: float, price: float, fee_rate: float) -> float:
    """Quantity in base to buy at `price` while flat, so that amount + fee = what is spent.

    0.0 when there is nothing to spend.
    """
    wanted = cash * sizing.value if sizing.method == EQUITY_FRACTION else sizing.value
    return max(0.0, min(wanted, cash)) / (price * (1.0 + fee_rate))


def stop_loss_level(rules: RiskRules, entry_price: float) -> float:
    """The price at or below which the stop loss sells; -inf without one."""
    if rules.stop_loss_pct is None:
        return -math.inf
    return entry_price * (100.0 - rules.stop_loss_pct) / 100.0


def take_profit_level(rules: RiskRules, entry_price: float) -> float:
    """The price at or above which the target sells; inf without one."""
    if rules.take_profit_pct is None:
        return math.inf
    return entry_price * (100.0 + rules.take_profit_pct) / 100.0


def trailing_distance(rules: RiskRules, entry_price: float) -> float:
    """How far below the highest price since the entry the trailing stop lies; inf without one.

    A part of the entry price, therefore constant during the trade.
    """
    if rules.trailing_stop_pct is None:
        return math.inf
    return entry_price * rules.trailing_stop_pct / 100.0
