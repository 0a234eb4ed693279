"""The JSON schema (draft 2020-12) of a backtest's payload, for the form, REST and the docs.

It is the one description of the payload: the form in the UI is made from it and `parse`
reads it. What a schema cannot say is checked on top: relations between fields, the
strategy's own settings, times against the clock.
"""

from __future__ import annotations

import copy
from collections.abc import Collection

from candlevault.backtest.data.frame import ABSENT_MODES
from candlevault.backtest.engine.codes import INTRABAR_MODES, ORDER_KINDS
from candlevault.backtest.payload.fields import (
    LARGEST_AMOUNT,
    choice,
    group,
    number,
    time,
    whole,
)
from candlevault.backtest.risk import (
    DIRECTIONS,
    EQUITY_FRACTION,
    FIXED_AMOUNT,
    FIXED_QUANTITY,
    FIXED_RISK,
    KELLY,
    VOLATILITY_TARGET,
)
from candlevault.backtest.strategies import registry
from candlevault.backtest.strategies.contract import Strategy
from candlevault.series import MARKETS
from candlevault.timeframe import ALL as TIMEFRAMES

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

REQUIRED = ("symbol", "timeframe", "start_time", "end_time", "strategy")

_EXAMPLES = [
    {
        "symbol": "BTCUSDT",
        "timeframe": "1h",
        "start_time": "2023-01-01T00:00:00Z",
        "end_time": "2024-01-01T00:00:00Z",
        "strategy": {"name": "sma_cross", "params": {"fast": 20, "slow": 50}},
    },
    {
        "symbol": "BTCUSDT",
        "also": ["ETHUSDT", "SOLUSDT"],
        "timeframe": "1h",
        "start_time": "2023-01-01T00:00:00Z",
        "end_time": "2024-01-01T00:00:00Z",
        "strategy": {"name": "donchian"},
        "direction": "both",
        "risk": {
            "sizing": {"method": "fixed_risk", "value": 0.01},
            "stop_loss_pct": 4,
            "take_profit_pct": 12,
            "max_open_positions": 2,
        },
        "intrabar": {"mode": "resolved"},
    },
]


def _level(title: str, description: str, example: float, maximum: float = 100) -> dict:
    return number(
        title,
        f"{description} Null is off.",
        None,
        example,
        exclusiveMinimum=0,
        maximum=maximum,
    )


def _strategy(strategies: Collection[Strategy]) -> dict:
    return {
        "type": "object",
        "title": "Strategy",
        "description": "Which strategy decides, and its settings; or the id of a saved one.",
        "properties": {
            "name": {
                "type": "string",
                "title": "Name",
                "description": "One of the installed strategies.",
                **({"enum": [s.name for s in strategies]} if strategies else {}),
                "examples": ["sma_cross"],
            },
            "params": {
                "type": "object",
                "title": "Parameters",
                "description": "Settings of the strategy; what is left out has its default.",
                "examples": [{"fast": 20, "slow": 50}],
            },
            "id": {
                "type": "integer",
                "title": "Saved strategy",
                "description": "Run a saved strategy instead of naming one here.",
                "minimum": 1,
                "examples": [1],
            },
            "version": {
                "type": "integer",
                "title": "Version",
                "description": "Version of the saved strategy; the newest if left out.",
                "minimum": 1,
                "examples": [1],
            },
        },
        "anyOf": [{"required": ["name"]}, {"required": ["id"]}],
        "additionalProperties": False,
        "allOf": [
            {
                "if": {"properties": {"name": {"const": s.name}}, "required": ["name"]},
                "then": {"properties": {"params": s.params_schema}},
            }
            for s in strategies
        ],
        "examples": [{"name": "sma_cross", "params": {"fast": 20, "slow": 50}}, {"id": 1}],
    }


def _entry() -> dict:
    properties = {
        "order": choice(
            "Order",
            "market: at the next open. limit: at a better price or not at all. stop: once the "
            "price has moved on that far. stop_limit: from there, up to a limit. Where a strategy "
            "names a price itself, that one counts.",
            list(ORDER_KINDS),
            "market",
        ),
        "offset_pct": number(
            "Offset",
            "How far from the close of the signal's bar the order lies, in percent (0–100) of "
            "that close. To go long a limit lies below it, a stop above; to go short the other "
            "way round. Not for market.",
            0.0,
            0.5,
            minimum=0,
            exclusiveMaximum=100,
        ),
        "limit_offset_pct": number(
            "Limit offset",
            "stop_limit: how far beyond the stop (above it to go long) its limit lies, in percent "
            "(0–100) of the stop: the worst price that is taken. Not for market.",
            0.0,
            0.2,
            minimum=0,
            exclusiveMaximum=100,
        ),
        "valid_bars": whole(
            "Valid bars",
            "How many bars a limit, stop or stop_limit order waits at most, then it is dropped; "
            "null: until a newer signal replaces or drops it.",
            None,
            24,
            minimum=1,
            maximum=1_000_000,
        ),
    }
    return group(
        "Entry orders",
        "How an entry signal becomes an order.",
        properties,
        {"order": "limit", "offset_pct": 0.5, "valid_bars": 24},
    )


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


def _risk() -> dict:
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


def _intrabar() -> dict:
    properties = {
        "mode": choice(
            "Mode",
            "What is taken where the order of events inside a bar is unknown. pessimistic: the "
            "stop. optimistic: the target. resolved: what finer candles of that bar show. The "
            "result always tells the bounds.",
            list(INTRABAR_MODES),
            INTRABAR_MODES[0],
        ),
        "timeframe": {
            "type": ["string", "null"],
            "enum": [None, *TIMEFRAMES],
            "title": "Finer timeframe",
            "description": "resolved: the timeframe of the finer candles; null: 1m. Only the "
            "bars in doubt are read, and loaded first where they are missing.",
            "default": None,
            "examples": ["1m"],
        },
    }
    return group(
        "Inside a bar",
        "Which came first, the stop or the target?",
        properties,
        {"mode": "resolved", "timeframe": "1m"},
    )


def _data() -> dict:
    properties = {
        "as_of": time(
            "As of",
            "Read the candles as they were known at this time; null: as they are now.",
            "2024-02-01T00:00:00Z",
            default=None,
        )
        | {"type": ["string", "null"]},
        "absent": choice(
            "Known absent candles",
            "mark: leave the row empty, orders wait. carry: a flat candle at the last close for "
            "the indicators, orders wait. forbid: the run fails.",
            list(ABSENT_MODES),
            ABSENT_MODES[0],
        ),
        "across_identities": {
            "type": "boolean",
            "title": "Across instruments",
            "description": "Allow a window over two instruments that had the same symbol.",
            "default": False,
            "examples": [False],
        },
        "warmup_bars": whole(
            "Warm-up",
            "Candles before the start that the strategy sees but does not trade in, so that its "
            "indicators are defined at the start.",
            0,
            200,
            minimum=0,
            maximum=100_000,
        ),
    }
    return group(
        "Data",
        "Which state of the stored candles to read, and how to bridge holes.",
        properties,
        {"as_of": None, "absent": "forbid"},
    )


def properties(strategies: Collection[Strategy] | None = None) -> dict[str, dict]:
    """The schema of each top-level field, in the order of the form.

    It lists `strategies` with their settings: those of `registry.described` if left out, so
    that no file of the user's is executed for it.
    """
    if strategies is None:
        strategies = registry.described().values()
    return _fields(strategies)


def outline() -> dict:
    """The schema without what depends on the strategies there are.

    Whoever reads a payload looks up the strategy that it names, and no other.
    """
    return {"type": "object", "properties": _fields(()), "required": list(REQUIRED)}


def document(strategies: Collection[Strategy] | None = None) -> dict:
    """The schema of the whole payload; `strategies` as for `properties`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Backtest",
        "description": "One backtest of one strategy on one or several series.",
        "type": "object",
        "properties": properties(strategies),
        "required": list(REQUIRED),
        "additionalProperties": False,
        "examples": copy.deepcopy(_EXAMPLES),
    }


def _fields(strategies: Collection[Strategy]) -> dict[str, dict]:
    symbol = {
        "type": "string",
        "pattern": r"^[A-Za-z0-9]{1,20}$",
        "x-rule": "must be 1 to 20 ASCII letters and digits",
    }
    return {
        "venue": {
            "type": "string",
            "pattern": r"^[a-z][a-z0-9_]{0,31}$",
            "x-rule": "must be a lower-case name",
            "title": "Venue",
            "description": "Where the candles were traded.",
            "default": "binance",
            "examples": ["binance"],
        },
        "market": choice(
            "Market",
            "spot; um: USDT-margined perpetual futures; crypto, stocks, forex: of sources that "
            "quote no market of their own.",
            list(MARKETS),
            "spot",
        ),
        "symbol": {
            **symbol,
            "title": "Symbol",
            "description": "The symbol, or its short name (BTC for BTCUSDT).",
            "examples": ["BTCUSDT", "BTC"],
        },
        "also": {
            "type": "array",
            "items": symbol,
            "maxItems": 100,
            "title": "Further symbols",
            "description": "More symbols of the same market and timeframe that share the capital; "
            "the strategy runs on each of them.",
            "default": [],
            "examples": [["ETHUSDT"]],
        },
        "timeframe": {
            "type": "string",
            "enum": list(TIMEFRAMES),
            "title": "Timeframe",
            "description": "Length of one candle.",
            "examples": ["1h", "1d"],
        },
        "start_time": time(
            "Start", "First instant of the window, inclusive.", "2023-01-01T00:00:00Z"
        ),
        "end_time": time("End", "End of the window, exclusive.", "2024-01-01T00:00:00Z"),
        "strategy": _strategy(strategies),
        "direction": choice(
            "Direction", "Which side may be held: long, short, or both.", list(DIRECTIONS), "long"
        ),
        "initial_capital": number(
            "Initial capital", "Cash at the start, in quote.", 10000, 10000, **_AMOUNT
        ),
        "fee_rate": number(
            "Fee rate",
            "Part of the notional that every fill pays: 0.001 is 0.1 %.",
            0.001,
            0.001,
            minimum=0,
            exclusiveMaximum=1,
        ),
        "maker_fee_rate": number(
            "Maker fee rate",
            "The fee rate of fills at a limit or target; null: fee_rate.",
            None,
            0.0002,
            minimum=0,
            exclusiveMaximum=1,
        ),
        "slippage_bps": number(
            "Slippage",
            "How much worse market fills are, in basis points (1/100 of a percent).",
            0,
            5,
            minimum=0,
            exclusiveMaximum=10000,
        ),
        "half_spread": number(
            "Half spread",
            "How much worse market fills are, in quote per unit; on top of the slippage.",
            0,
            0.5,
            minimum=0,
            maximum=LARGEST_AMOUNT,
        ),
        "funding": {
            "type": "boolean",
            "title": "Funding",
            "description": "Market um: positions pay and receive the funding rate, which is loaded "
            "first where it is missing. Without meaning elsewhere.",
            "default": True,
            "examples": [True],
        },
        "entry": _entry(),
        "risk": _risk(),
        "intrabar": _intrabar(),
        "data": _data(),
    }
