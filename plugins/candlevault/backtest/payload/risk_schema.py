"""The part of the payload's schema that is about risk: size, levels and limits."""

from __future__ import annotations

from candlevault.backtest.payload.fields import LARGEST_AMOUNT, choice, group, number, whole
from candlevault.backtest.risk import (
    EQUITY_FRACTION,
    FIXED_AMOUNT,
    FIXED_QUANTITY,
    FIXED_RISK,
    KELLY,
    VOLATILITY_TARGET,
)

_PART = {"exclusiveMinimum": 0, "maximum": 1}
_AMOUNT = {"exclusiveMinimum": 0, "maximum": LARGEST_AMOUNT}
SIZING_LIMITS = {
    EQUITY_FRACTION: _PART,
    FIXED_AMOUNT: _AMOUNT,
    FIXED_QUANTITY: _AMOUNT,
    FIXED_RISK: _PART,
    VOLATILITY_TARGET: _PART,
    KELLY: _PART,
}
"""What `risk.sizing.value` may be, by method."""

SIZING_DEFAULTS = {EQUITY_FRACTION: 1.0, FIXED_RISK: 0.01, VOLATILITY_TARGET: 0.01, KELLY: 0.5}
"""The value of a method that has one where it is left out."""

SIZING_SETTINGS = {
    VOLATILITY_TARGET: ("atr_period",),
    KELLY: ("cap", "min_trades", "initial_fraction"),
}
"""What belongs to one method only."""


def _sizing() -> dict:
    methods = list(SIZING_LIMITS)
    properties = {
        "method": choice(
            "Method",
            "What one entry takes, by `value`. equity_fraction: this part of the equity, the "
            "entry fee included. fixed_amount: this amount in quote, fee included. fixed_quantity: "
            "this amount in base. fixed_risk: so much that the way from the entry to its stop "
            "loses this part of the equity. volatility_target: so much that one average true range "
            "moves this part of the equity. kelly: this part of Kelly's share by the trades closed "
            "so far (0.5 is half Kelly). Never more than max_exposure leaves room for.",
            methods,
            EQUITY_FRACTION,
        ),
        "value": {
            "type": "number",
            "title": "Value",
            "description": "The part (above 0, at most 1) or, of fixed_amount and "
            "fixed_quantity, the amount, which must be given. Left out: equity_fraction 1, "
            "fixed_risk and volatility_target 0.01, kelly 0.5.",
            "examples": [1.0],
            **_AMOUNT,
        },
        "atr_period": whole(
            "ATR period", "volatility_target only: bars of the average true range.", 14, 14,
            minimum=1, maximum=10_000,
        ),
        "cap": number(
            "Cap",
            "kelly only: the largest part (0–1) of the equity that one entry takes.",
            0.25, 0.25, **_PART,
        ),
        "min_trades": whole(
            "Trades before",
            "kelly only: so many trades must have closed before its formula decides.",
            20, 20, minimum=2, maximum=100_000,
        ),
        "initial_fraction": number(
            "Fraction before",
            "kelly only: the part (0–1) of the equity that an entry takes until then.",
            0.1, 0.1, **_PART,
        ),
    }  # fmt: skip
    return group(
        "Position size",
        "What one entry takes.",
        properties,
        {"method": EQUITY_FRACTION, "value": 1.0},
        allOf=[
            {
                "if": {
                    "properties": {"method": {"const": method}},
                    # Without a method it is the default one.
                    **({} if method == EQUITY_FRACTION else {"required": ["method"]}),
                },
                "then": {
                    "properties": {"value": limits},
                    **({} if method in SIZING_DEFAULTS else {"required": ["value"]}),
                },
            }
            for method, limits in SIZING_LIMITS.items()
        ],
        default={"method": EQUITY_FRACTION, "value": 1.0},
    )


def risk() -> dict:
    properties = {
        "sizing": _sizing(),
        "stop_loss_pct": _level(
            "Stop loss",
            "Leaves once the price is this far (percent, 0–100, of the entry price) on the losing "
            "side of the entry price.",
            5,
        ),
        "take_profit_pct": _level(
            "Take profit",
            "Leaves once the price is this far (percent of the entry price) on the winning side "
            "of the entry price.",
            10,
            10_000,
        ),
        "trailing_stop_pct": _level(
            "Trailing stop",
            "Leaves once the price has come back this far from the best price since the entry; "
            "moved at the close of each bar. The distance is this percentage (0–100) of the "
            "entry price and stays the same, however far the price has run; where a stop loss "
            "lies nearer, that one counts.",
            8,
        ),
        "max_exposure": number(
            "Exposure",
            "An entry takes at most so much that the values of all positions, long and short "
            "added up, are this part of the equity (1 is all of it). Above 1 (leverage) not on "
            "spot.",
            1.0,
            1.0,
            exclusiveMinimum=0,
            maximum=125,
        ),
        "max_open_positions": whole(
            "Open positions",
            "How many symbols may be held at the same time; further entries are dropped. null: "
            "all.",
            None, 3, minimum=1, maximum=1000,
        ),
        "max_entries": whole(
            "Entries",
            "How many entries of one symbol may be held at the same time (pyramiding): a signal "
            "on the side that is held adds one until then, and does nothing after.",
            1, 1, minimum=1, maximum=100,
        ),
        "daily_loss_pct": number(
            "Daily loss",
            "Once a close leaves the equity this far (percent, 0–100) below that at the start of "
            "the UTC day, everything is closed at the next open and nothing entered before the "
            "next day; null is off.",
            None,
            3,
            exclusiveMinimum=0,
            maximum=100,
        ),
        "max_drawdown_pct": number(
            "Drawdown stop",
            "Once a close leaves the equity this far (percent, 0–100) below its highest, "
            "everything is closed at the next open and nothing entered any more; null is off.",
            None,
            25,
            exclusiveMinimum=0,
            maximum=100,
        ),
    }  # fmt: skip
    return group(
        "Risk",
        "How much to take, when to give up or take the profit, and what limits all of it.",
        properties,
        {"sizing": {"method": FIXED_RISK, "value": 0.01}, "stop_loss_pct": 5},
    )


def _level(title: str, description: str, example: float, maximum: float = 100) -> dict:
    return number(
        title,
        f"{description} Null is off.",
        None,
        example,
        exclusiveMinimum=0,
        maximum=maximum,
    )
