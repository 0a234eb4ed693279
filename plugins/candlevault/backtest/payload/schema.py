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
from candlevault.backtest.payload import risk_schema
from candlevault.backtest.payload.fields import (
    LARGEST_AMOUNT,
    choice,
    group,
    number,
    time,
    whole,
)
from candlevault.backtest.risk import DIRECTIONS
from candlevault.backtest.strategies import registry
from candlevault.backtest.strategies.contract import Strategy
from candlevault.series import MARKETS
from candlevault.timeframe import ALL as TIMEFRAMES

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
            "Initial capital",
            "Cash at the start, in quote.",
            10000,
            10000,
            exclusiveMinimum=0,
            maximum=LARGEST_AMOUNT,
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
        "risk": risk_schema.risk(),
        "intrabar": _intrabar(),
        "data": _data(),
    }
