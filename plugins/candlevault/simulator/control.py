"""The control surface `/_control`: clock, faults, restatements, statistics, the series."""

from __future__ import annotations

import json

from candlevault.errors import InvalidRequest
from candlevault.simulator.answer import Reply, json_reply
from candlevault.simulator.clock import instant_ms, iso
from candlevault.simulator.exchange import Exchange
from candlevault.simulator.source import NoCandleData

PREFIX = "/_control"


def answer(
    exchange: Exchange, method: str, path: str, params: dict[str, str], body: bytes
) -> Reply:
    """The reply to a control request; 400 names the wrong field, 404 an unknown request."""
    name = path.removeprefix(PREFIX).strip("/")
    handler = _HANDLERS.get((method, name))
    if handler is None:
        routes = [f"{m} {PREFIX}/{n}".rstrip("/") for m, n in _HANDLERS]
        return json_reply({"error": f"no {method} {path}", "known": routes}, 404, "control")
    try:
        sent = json.loads(body) if body.strip() else None
        return json_reply(handler(exchange, params, sent), kind="control")
    except InvalidRequest as error:
        return json_reply({"error": str(error)}, 400, "control")
    except ValueError as error:
        return json_reply({"error": f"body: {error}"}, 400, "control")


def _state(exchange: Exchange, params: dict, sent: object) -> dict:
    return {
        "exchange": exchange.source.label,
        "clock": _clock(exchange),
        "faults": exchange.faults.describe(),
        "restated": exchange.restatements.count(),
        "symbols": {market: exchange.source.symbols(market) for market in exchange.budgets},
    }


def _clock(exchange: Exchange) -> dict:
    now = exchange.clock.now_ms()
    return {"now": iso(now), "now_ms": now, "running": exchange.clock.running}


def _get_clock(exchange: Exchange, params: dict, sent: object) -> dict:
    return _clock(exchange)


def _set_clock(exchange: Exchange, params: dict, sent: object) -> dict:
    if not isinstance(sent, dict) or not sent or set(sent) - {"now", "running"}:
        raise InvalidRequest("clock", "must be an object with now and running", sent)
    running = sent.get("running", False)
    if not isinstance(running, bool):
        raise InvalidRequest("clock.running", "must be true or false", running)
    if "now" not in sent:
        exchange.clock.set(exchange.clock.now_ms(), running)
    elif sent["now"] is None:
        exchange.clock.set(None)
    else:
        exchange.clock.set(instant_ms(sent["now"], "clock.now"), running)
    return _clock(exchange)


def _get_faults(exchange: Exchange, params: dict, sent: object) -> list:
    return exchange.faults.describe()


def _add_faults(exchange: Exchange, params: dict, sent: object) -> list:
    added = exchange.faults.add(sent, exchange.clock.now_ms())
    return [fault.describe() for fault in added]


def _clear_faults(exchange: Exchange, params: dict, sent: object) -> list:
    exchange.faults.clear()
    return []


def _restate(exchange: Exchange, params: dict, sent: object) -> dict:
    return exchange.restatements.add(sent, exchange.source, exchange.clock.now_ms())


def _stats(exchange: Exchange, params: dict, sent: object) -> dict:
    known = {**exchange.budgets, "um_funding": exchange.funding_budget}
    budgets = {name: budget.describe() for name, budget in known.items()}
    return exchange.stats.describe() | {
        "weight": budgets,
        "sent_429": exchange.stats.status(429),
        "sent_418": exchange.stats.status(418),
        "requests_during_ban": sum(b["requests_during_ban"] for b in budgets.values()),
        "faults_struck": sum(fault["struck"] for fault in exchange.faults.describe()),
    }


def _reset(exchange: Exchange, params: dict, sent: object) -> dict:
    exchange.reset()
    return _state(exchange, params, None)


def _series(exchange: Exchange, params: dict, sent: object) -> list:
    """Every series, or those of `market`, `symbol`, `timeframe`; says what a file lacks."""
    source, found = exchange.source, []
    for market in exchange.budgets:
        for symbol in source.symbols(market):
            for code in source.timeframes(market, symbol):
                entry = {"market": market, "symbol": symbol, "timeframe": code}
                if any(params.get(name, value) != value for name, value in entry.items()):
                    continue
                try:
                    found.append(entry | source.describe(market, symbol, code))
                except NoCandleData as missing:
                    found.append(entry | {"error": str(missing)})
    return found


_HANDLERS = {
    ("GET", ""): _state,
    ("GET", "clock"): _get_clock,
    ("POST", "clock"): _set_clock,
    ("GET", "faults"): _get_faults,
    ("POST", "faults"): _add_faults,
    ("DELETE", "faults"): _clear_faults,
    ("POST", "restate"): _restate,
    ("GET", "stats"): _stats,
    ("GET", "series"): _series,
    ("POST", "reset"): _reset,
}
