"""From a payload to a request and back, every default applied and every rule checked."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from candlevault import series as series_module
from candlevault import timeframe as timeframes
from candlevault.backtest.engine.codes import INTRABAR_MODES, RESOLVED
from candlevault.backtest.payload import risk_schema, schema
from candlevault.backtest.payload.request import (
    BacktestRequest,
    DataChoice,
    Intrabar,
    SavedStrategy,
    StrategyChoice,
)
from candlevault.backtest.risk import FIXED_RISK, EntryOrders, RiskRules, Settings, Sizing
from candlevault.backtest.schema import conform
from candlevault.backtest.strategies import registry
from candlevault.errors import InvalidRequest
from candlevault.series import Series
from candlevault.timeframe import from_ms, to_ms
from candlevault.windows import Window, aligned

FindSaved = Callable[[int, int | None], SavedStrategy]
"""The saved strategy of an id and a version, None for the newest; raises InvalidRequest."""


def parse(
    conf: Mapping,
    *,
    now: datetime | None = None,
    default_venue: str = "binance",
    default_market: str = "spot",
    find_saved: FindSaved | None = None,
) -> BacktestRequest:
    """The request of a payload, every default applied.

    With `now` (aware, the venue's clock) a window whose last candle is not closed by then is
    refused. `as_of` is a time of recording, by another clock, and not compared with it. With
    `find_saved` the id of a saved strategy is looked up; without it a payload must say what
    that strategy runs, as `canonical` does. Raises InvalidRequest naming the dotted field
    that is wrong.
    """
    if not isinstance(conf, Mapping):
        raise InvalidRequest("conf", "must be an object", conf)
    given = {"venue": default_venue, "market": default_market, **conf}
    _refuse_unknown_strategy(given.get("strategy"))
    values = conform(given, schema.outline(), "")
    series = series_module.parse(
        values["venue"],
        values["market"],
        series_module.canonical_symbol(values["symbol"]),
        values["timeframe"],
    )
    start, end = _market_time(values, "start_time"), _market_time(values, "end_time")
    _check_window(start, end, series, now)
    strategy = _strategy(values["strategy"], find_saved)
    data = values["data"]
    as_of = data["as_of"]
    return BacktestRequest(
        series=series,
        start_time=start,
        end_time=end,
        strategy=strategy,
        also=_also(values["also"], series),
        funding=values["funding"],
        intrabar=_intrabar(values["intrabar"], series),
        data=DataChoice(
            None if as_of is None else _moment(as_of, "data.as_of"),
            data["absent"],
            data["across_identities"],
            data["warmup_bars"],
        ),
        settings=_settings(conf, values, strategy),
    )


def canonical(request: BacktestRequest) -> dict:
    """The payload of `request` with every default filled in, JSON-able, keys in a fixed order.

    `parse(canonical(request))` equals `request`.
    """
    settings, data, strategy = request.settings, request.data, request.strategy
    sizing = settings.risk.sizing
    own = ("method", "value", *risk_schema.SIZING_SETTINGS.get(sizing.method, ()))
    risk = dataclasses.asdict(settings.risk)
    risk["sizing"] = {name: getattr(sizing, name) for name in own}
    return {
        "venue": request.series.venue,
        "market": request.series.market,
        "symbol": request.series.symbol,
        "also": list(request.also),
        "timeframe": request.series.timeframe.code,
        "start_time": _text(request.start_time),
        "end_time": _text(request.end_time),
        "strategy": {
            "name": strategy.name,
            "params": strategy.params,
            **(
                {}
                if strategy.strategy_id is None
                else {"id": strategy.strategy_id, "version": strategy.version}
            ),
        },
        "direction": settings.direction,
        "initial_capital": settings.initial_capital,
        "fee_rate": settings.fee_rate,
        "maker_fee_rate": settings.maker_fee_rate,
        "slippage_bps": settings.slippage_bps,
        "half_spread": settings.half_spread,
        "funding": request.funding,
        "entry": dataclasses.asdict(settings.entry),
        "risk": risk,
        "intrabar": dataclasses.asdict(request.intrabar),
        "data": {
            "as_of": None if data.as_of is None else _text(data.as_of),
            "absent": data.absent,
            "across_identities": data.across_identities,
            "warmup_bars": data.warmup_bars,
        },
    }


def payload_hash(request: BacktestRequest) -> str:
    """SHA-256 (hex) of the canonical payload; equal for payloads that mean the same."""
    document = json.dumps(
        canonical(request), sort_keys=True, separators=(",", ":"), allow_nan=False
    )
    return hashlib.sha256(document.encode()).hexdigest()


def _refuse_unknown_strategy(given: object) -> None:
    """Ahead of everything else: what a payload means depends on its strategy."""
    name = given.get("name") if isinstance(given, Mapping) else None
    if isinstance(name, str):
        registry.get(name)


def _strategy(given: Mapping, find_saved: FindSaved | None) -> StrategyChoice:
    name, params, number = given.get("name"), given.get("params"), given.get("id")
    version = given.get("version")
    if number is None and version is not None:
        raise InvalidRequest("strategy.version", "belongs to the id of a saved strategy", version)
    if number is not None and find_saved is not None:
        saved = find_saved(number, version)
        if name not in (None, saved.name) or params not in (None, saved.params):
            raise InvalidRequest(
                "strategy.id",
                f"version {saved.version} runs {saved.name} with other settings than given here;"
                " leave out name and params",
                number,
            )
        name, params, version = saved.name, saved.params, saved.version
    if name is None:
        raise InvalidRequest("strategy.name", "is required, or the id of a saved strategy")
    strategy = registry.get(name)
    return StrategyChoice.of(
        strategy.name,
        strategy.parse_params({} if params is None else params),
        strategy_id=number,
        version=version,
    )


def _also(given: list, series: Series) -> tuple[str, ...]:
    symbols: list[str] = []
    for position, name in enumerate(given):
        field = f"also[{position}]"
        symbol = series_module.canonical_symbol(name, field=field)
        if symbol == series.symbol or symbol in symbols:
            raise InvalidRequest(field, "is given twice", name)
        symbols.append(symbol)
    return tuple(symbols)


def _intrabar(given: Mapping, series: Series) -> Intrabar:
    code = given["timeframe"]
    if given["mode"] != INTRABAR_MODES[RESOLVED]:
        if code is not None:
            raise InvalidRequest(
                "intrabar.timeframe", f"belongs to mode {INTRABAR_MODES[RESOLVED]}", code
            )
        return Intrabar(given["mode"], None)
    finer = timeframes.parse(code or "1m")
    if finer.step_ms >= series.timeframe.step_ms or series.timeframe.step_ms % finer.step_ms:
        raise InvalidRequest(
            "intrabar.timeframe", f"must be finer than {series.timeframe} and divide it", finer.code
        )
    return Intrabar(given["mode"], finer.code)


def _settings(conf: Mapping, values: Mapping, strategy: StrategyChoice) -> Settings:
    risk, entry = values["risk"], values["entry"]
    rules = RiskRules(
        **{name: value for name, value in risk.items() if name != "sizing"},
        sizing=_sizing(conf.get("risk", {}).get("sizing", {}), risk["sizing"]),
    )
    if rules.max_exposure > 1.0 and values["market"] == "spot":
        raise InvalidRequest(
            "risk.max_exposure", "must be at most 1 on spot", rules.max_exposure
        )
    if rules.sizing.method == FIXED_RISK and not (
        rules.stop_loss_pct or rules.trailing_stop_pct or registry.get(strategy.name).sets_levels
    ):
        raise InvalidRequest(
            "risk.stop_loss_pct", f"or trailing_stop_pct is required by {FIXED_RISK}"
        )
    if values["half_spread"] and values["also"]:
        raise InvalidRequest(
            "half_spread",
            "is an amount in quote and fits one symbol only; use slippage_bps",
            values["half_spread"],
        )
    if entry["order"] == "market":
        for name in ("offset_pct", "limit_offset_pct"):
            if entry[name]:
                raise InvalidRequest(
                    f"entry.{name}", "belongs to an order that waits for a price", entry[name]
                )
    return Settings(
        initial_capital=values["initial_capital"],
        fee_rate=values["fee_rate"],
        maker_fee_rate=values["maker_fee_rate"],
        slippage_bps=values["slippage_bps"],
        half_spread=values["half_spread"],
        direction=values["direction"],
        entry=EntryOrders(**entry),
        risk=rules,
    )


def _sizing(written: Mapping, given: Mapping) -> Sizing:
    method = given["method"]
    for owner, names in risk_schema.SIZING_SETTINGS.items():
        for name in names:
            if owner != method and name in written:
                raise InvalidRequest(
                    f"risk.sizing.{name}", f"belongs to method {owner}", written[name]
                )
    path = "risk.sizing.value"
    value = given.get("value", risk_schema.SIZING_DEFAULTS.get(method))
    if value is None:
        raise InvalidRequest(path, f"is required by {method}")
    limits = {"type": "number", **risk_schema.SIZING_LIMITS[method]}
    return Sizing(**{**given, "value": conform(value, limits, path)})


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
