"""The backtest payload: its JSON schema, and the request that a checked payload becomes.

The schema (draft 2020-12) is the one description of the payload: the form in the UI is
made from it and `parse` reads it. What a schema cannot say is checked on top: relations
between fields, known strategies, times against the clock.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from candlevault import series as series_module
from candlevault.backtest.frame import ABSENT_MODES
from candlevault.backtest.risk import EQUITY_FRACTION, FIXED_AMOUNT, RiskRules, Sizing
from candlevault.backtest.schema import conform
from candlevault.backtest.strategies import registry
from candlevault.errors import InvalidRequest
from candlevault.series import MARKETS, Series
from candlevault.timeframe import ALL as TIMEFRAMES
from candlevault.timeframe import from_ms, to_ms
from candlevault.windows import Window, aligned

TIME_PATTERN = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})$"
)
_TIME_RULE = "must be a time with Z or an offset, such as 2023-01-01T00:00:00Z"
_LARGEST_AMOUNT = 1e12

_SIZING_LIMITS = {
    EQUITY_FRACTION: {"exclusiveMinimum": 0, "maximum": 1},
    FIXED_AMOUNT: {"exclusiveMinimum": 0, "maximum": _LARGEST_AMOUNT},
}
_DEFAULT_SIZING = {"method": EQUITY_FRACTION, "value": 1.0}


def _time(title: str, description: str, example: str, **more) -> dict:
    return {
        "type": "string",
        "format": "date-time",
        "pattern": TIME_PATTERN,
        "x-rule": _TIME_RULE,
        "title": title,
        "description": description,
        "examples": [example],
        **more,
    }


def _level(title: str, description: str, example: float) -> dict:
    return {
        "type": ["number", "null"],
        "title": title,
        "description": f"{description} In percent (0–100) of the entry price; null is off.",
        "default": None,
        "exclusiveMinimum": 0,
        "maximum": 100,
        "examples": [example],
    }


def _strategy() -> dict:
    strategies = registry.known().values()
    return {
        "type": "object",
        "title": "Strategy",
        "description": "Which rule decides, and its settings. "
        + " ".join(f"{s.name}: {s.description}" for s in strategies),
        "properties": {
            "name": {
                "type": "string",
                "title": "Name",
                "description": "One of the installed strategies.",
                "enum": [s.name for s in strategies],
                "examples": ["sma_cross"],
            },
            "params": {
                "type": "object",
                "title": "Parameters",
                "description": "Settings of the strategy; what is left out has its default.",
                "default": {},
                "examples": [{"fast": 20, "slow": 50}],
            },
        },
        "required": ["name"],
        "additionalProperties": False,
        "allOf": [
            {
                "if": {"properties": {"name": {"const": s.name}}, "required": ["name"]},
                "then": {"properties": {"params": s.params_schema}},
            }
            for s in strategies
        ],
        "examples": [{"name": "sma_cross", "params": {"fast": 20, "slow": 50}}],
    }


def _risk() -> dict:
    return {
        "type": "object",
        "title": "Risk",
        "description": "How much to buy and when to give up or take the profit.",
        "properties": {
            "sizing": {
                "type": "object",
                "title": "Position size",
                "description": "What one entry spends, its fee included.",
                "properties": {
                    "method": {
                        "type": "string",
                        "title": "Method",
                        "description": "equity_fraction: a part of the equity. "
                        "fixed_amount: an amount in quote, or all the cash if less is left.",
                        "enum": list(_SIZING_LIMITS),
                        "default": EQUITY_FRACTION,
                        "examples": [EQUITY_FRACTION],
                    },
                    "value": {
                        "type": "number",
                        "title": "Value",
                        "description": "The part (above 0, at most 1) or the amount in quote. "
                        "equity_fraction takes 1 if it is left out.",
                        "examples": [1.0],
                        **_SIZING_LIMITS[FIXED_AMOUNT],
                    },
                },
                "additionalProperties": False,
                "default": _DEFAULT_SIZING,
                "examples": [_DEFAULT_SIZING],
                "if": {
                    "properties": {"method": {"const": FIXED_AMOUNT}},
                    "required": ["method"],
                },
                "then": {"required": ["value"]},
                "else": {"properties": {"value": _SIZING_LIMITS[EQUITY_FRACTION]}},
            },
            "stop_loss_pct": _level("Stop loss", "Sells at this loss.", 5),
            "take_profit_pct": _level("Take profit", "Sells at this gain.", 10),
            "trailing_stop_pct": _level(
                "Trailing stop", "Sells at this distance below the highest price since entry.", 8
            ),
        },
        "additionalProperties": False,
        "default": {
            "sizing": _DEFAULT_SIZING,
            "stop_loss_pct": None,
            "take_profit_pct": None,
            "trailing_stop_pct": None,
        },
        "examples": [{"sizing": _DEFAULT_SIZING, "stop_loss_pct": 5}],
    }


def _data() -> dict:
    return {
        "type": "object",
        "title": "Data",
        "description": "Which state of the stored candles to read, and how to bridge holes.",
        "properties": {
            "as_of": _time(
                "As of",
                "Read the candles as they were known at this time; null: as they are now.",
                "2024-02-01T00:00:00Z",
                default=None,
            )
            | {"type": ["string", "null"]},
            "absent": {
                "type": "string",
                "title": "Known absent candles",
                "description": "mark: leave the row empty, orders wait. carry: a flat candle at "
                "the last close for the indicators, orders wait. forbid: the run fails.",
                "enum": list(ABSENT_MODES),
                "default": ABSENT_MODES[0],
                "examples": [ABSENT_MODES[0]],
            },
            "across_identities": {
                "type": "boolean",
                "title": "Across instruments",
                "description": "Allow a window over two instruments that had the same symbol.",
                "default": False,
                "examples": [False],
            },
        },
        "additionalProperties": False,
        "default": {"as_of": None, "absent": ABSENT_MODES[0]},
        "examples": [{"as_of": None, "absent": "forbid"}],
    }


PAYLOAD_PROPERTIES: dict[str, dict] = {
    "venue": {
        "type": "string",
        "pattern": r"^[a-z][a-z0-9_]{0,31}$",
        "x-rule": "must be a lower-case name",
        "title": "Venue",
        "description": "Where the candles were traded.",
        "default": "binance",
        "examples": ["binance"],
    },
    "market": {
        "type": "string",
        "enum": list(MARKETS),
        "title": "Market",
        "description": "spot, or um for USDT-margined perpetual futures.",
        "default": "spot",
        "examples": ["spot"],
    },
    "symbol": {
        "type": "string",
        "pattern": r"^[A-Za-z0-9]{1,20}$",
        "x-rule": "must be 1 to 20 ASCII letters and digits",
        "title": "Symbol",
        "description": "The symbol, or its short name (BTC for BTCUSDT).",
        "examples": ["BTCUSDT", "BTC"],
    },
    "timeframe": {
        "type": "string",
        "enum": list(TIMEFRAMES),
        "title": "Timeframe",
        "description": "Length of one candle.",
        "examples": ["1h", "1d"],
    },
    "start_time": _time("Start", "First instant of the window, inclusive.", "2023-01-01T00:00:00Z"),
    "end_time": _time("End", "End of the window, exclusive.", "2024-01-01T00:00:00Z"),
    "strategy": _strategy(),
    "initial_capital": {
        "type": "number",
        "title": "Initial capital",
        "description": "Cash at the start, in quote.",
        "default": 10000,
        "exclusiveMinimum": 0,
        "maximum": _LARGEST_AMOUNT,
        "examples": [10000],
    },
    "fee_rate": {
        "type": "number",
        "title": "Fee rate",
        "description": "Part of the notional that every fill pays: 0.001 is 0.1 %.",
        "default": 0.001,
        "minimum": 0,
        "exclusiveMaximum": 1,
        "examples": [0.001],
    },
    "slippage_bps": {
        "type": "number",
        "title": "Slippage",
        "description": "How much worse market fills are, in basis points (1/100 of a percent).",
        "default": 0,
        "minimum": 0,
        "exclusiveMaximum": 10000,
        "examples": [5],
    },
    "risk": _risk(),
    "data": _data(),
}
"""The schema of each top-level field, in the order of the form."""

REQUIRED = ("symbol", "timeframe", "start_time", "end_time", "strategy")

PAYLOAD_SCHEMA: dict = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Backtest",
    "description": "One backtest of one strategy on one series.",
    "type": "object",
    "properties": PAYLOAD_PROPERTIES,
    "required": list(REQUIRED),
    "additionalProperties": False,
    "examples": [
        {
            "symbol": "BTCUSDT",
            "timeframe": "1h",
            "start_time": "2023-01-01T00:00:00Z",
            "end_time": "2024-01-01T00:00:00Z",
            "strategy": {"name": "sma_cross", "params": {"fast": 20, "slow": 50}},
        }
    ],
}


@dataclass(frozen=True, slots=True)
class StrategyChoice:
    """A strategy by name with all its settings as (name, value) pairs in declared order."""

    name: str
    settings: tuple[tuple[str, int | float], ...]

    @property
    def params(self) -> dict[str, int | float]:
        """The settings by name."""
        return dict(self.settings)


@dataclass(frozen=True, slots=True)
class DataChoice:
    """`as_of` (aware UTC, None for now), the absent mode, and whether the window may lie over
    two instruments of the same symbol."""

    as_of: datetime | None = None
    absent: str = ABSENT_MODES[0]
    across_identities: bool = False


@dataclass(frozen=True, slots=True)
class BacktestRequest:
    """A checked payload, defaults applied. Hashable; equal requests are equal values.

    `start_time` inclusive and `end_time` exclusive are aware UTC in whole milliseconds and
    need not be aligned; at least one open time lies between them.
    """

    series: Series
    start_time: datetime
    end_time: datetime
    strategy: StrategyChoice
    initial_capital: float = 10000.0
    fee_rate: float = 0.001
    slippage_bps: float = 0.0
    risk: RiskRules = field(default_factory=RiskRules)
    data: DataChoice = field(default_factory=DataChoice)

    @property
    def window(self) -> Window:
        """The half-open window of the run."""
        return Window.of(self.start_time, self.end_time)


def parse(
    conf: Mapping,
    *,
    now: datetime | None = None,
    default_venue: str = "binance",
    default_market: str = "spot",
) -> BacktestRequest:
    """The request of a payload, every default applied.

    With `now` (aware, the venue's clock) a window whose last candle is not closed by then is
    refused. `as_of` is a time of recording, by another clock, and not compared with it.
    Raises InvalidRequest naming the dotted field that is wrong.
    """
    if not isinstance(conf, Mapping):
        raise InvalidRequest("conf", "must be an object", conf)
    given = {"venue": default_venue, "market": default_market, **conf}
    values = conform(given, PAYLOAD_SCHEMA, "")
    series = series_module.parse(
        values["venue"],
        values["market"],
        series_module.canonical_symbol(values["symbol"]),
        values["timeframe"],
    )
    start, end = _market_time(values, "start_time"), _market_time(values, "end_time")
    _check_window(start, end, series, now)
    strategy = registry.get(values["strategy"]["name"])
    params = strategy.parse_params(values["strategy"]["params"])
    as_of = values["data"]["as_of"]
    if as_of is not None:
        as_of = _moment(as_of, "data.as_of")
    risk = values["risk"]
    return BacktestRequest(
        series=series,
        start_time=start,
        end_time=end,
        strategy=StrategyChoice(strategy.name, tuple(params.items())),
        initial_capital=values["initial_capital"],
        fee_rate=values["fee_rate"],
        slippage_bps=values["slippage_bps"],
        risk=RiskRules(
            sizing=_sizing(risk["sizing"]),
            stop_loss_pct=risk["stop_loss_pct"],
            take_profit_pct=risk["take_profit_pct"],
            trailing_stop_pct=risk["trailing_stop_pct"],
        ),
        data=DataChoice(as_of, values["data"]["absent"], values["data"]["across_identities"]),
    )


def canonical(request: BacktestRequest) -> dict:
    """The payload of `request` with every default filled in, JSON-able, keys in a fixed order.

    `parse(canonical(request))` equals `request`.
    """
    risk, data = request.risk, request.data
    return {
        "venue": request.series.venue,
        "market": request.series.market,
        "symbol": request.series.symbol,
        "timeframe": request.series.timeframe.code,
        "start_time": _text(request.start_time),
        "end_time": _text(request.end_time),
        "strategy": {"name": request.strategy.name, "params": request.strategy.params},
        "initial_capital": request.initial_capital,
        "fee_rate": request.fee_rate,
        "slippage_bps": request.slippage_bps,
        "risk": {
            "sizing": {"method": risk.sizing.method, "value": risk.sizing.value},
            "stop_loss_pct": risk.stop_loss_pct,
            "take_profit_pct": risk.take_profit_pct,
            "trailing_stop_pct": risk.trailing_stop_pct,
        },
        "data": {
            "as_of": None if data.as_of is None else _text(data.as_of),
            "absent": data.absent,
            **({"across_identities": True} if data.across_identities else {}),
        },
    }


def payload_hash(request: BacktestRequest) -> str:
    """SHA-256 (hex) of the canonical payload; equal for payloads that mean the same."""
    document = json.dumps(
        canonical(request), sort_keys=True, separators=(",", ":"), allow_nan=False
    )
    return hashlib.sha256(document.encode()).hexdigest()


def _sizing(given: Mapping) -> Sizing:
    path = "risk.sizing.value"
    method = given["method"]
    if "value" not in given:
        if method == FIXED_AMOUNT:
            raise InvalidRequest(path, f"is required by {FIXED_AMOUNT}")
        return Sizing(method, 1.0)
    limits = {"type": "number", **_SIZING_LIMITS[method]}
    return Sizing(method, conform(given["value"], limits, path))


def _check_window(start: datetime, end: datetime, series: Series, now: datetime | None) -> None:
    if start >= end:
        raise InvalidRequest("end_time", f"must lie after start_time ({_text(start)})", _text(end))
    if to_ms(start) < 0:
        raise InvalidRequest("start_time", "must not lie before 1970", _text(start))
    timeframe = series.timeframe
    grid = aligned(Window.of(start, end), timeframe)
    if grid is None:
        raise InvalidRequest(
            "end_time", f"the window holds no open time of {timeframe}", _text(end)
        )
    if now is None:
        return
    newest = timeframe.floor(to_ms(now))
    if grid.end_ms > newest:
        raise InvalidRequest(
            "end_time",
            f"must not lie in the future; the newest closed {timeframe} candle ends at "
            f"{_text(from_ms(newest))}",
            _text(end),
        )


def _market_time(values: Mapping, name: str) -> datetime:
    moment = _moment(values[name], name)
    if moment.microsecond % 1000:
        raise InvalidRequest(name, "must be whole milliseconds", values[name])
    return moment


def _moment(text: str, name: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidRequest(name, f"is not a time that exists: {error}", text) from None


def _text(moment: datetime) -> str:
    return re.sub(r"\+00:00$", "Z", moment.astimezone(UTC).isoformat())
