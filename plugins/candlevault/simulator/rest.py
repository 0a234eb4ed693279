"""The REST surface: ping, time, exchangeInfo and klines of spot and USDⓈ-M futures, and the
funding rates of the latter."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass

from candlevault.simulator import funding
from candlevault.simulator import symbols as instruments
from candlevault.simulator.answer import Reply, error, json_reply
from candlevault.simulator.block import encode_row
from candlevault.simulator.exchange import Exchange
from candlevault.simulator.faults import absences, distort
from candlevault.simulator.select import select
from candlevault.simulator.source import NoCandleData

Params = list[tuple[str, str]]

_INTERVALS = (
    "1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w",
    "1M",
)  # fmt: skip
_SYMBOL = r"^[A-Z0-9-_.]{1,20}$"
_NUMBER = r"^[0-9]{1,20}$"
_INTERVAL = r"^[a-zA-Z0-9]{1,3}$"
_MICROSECONDS_FROM = 10**14
"""Timestamps from here on are taken as microseconds."""
_PERPETUAL_UNTIL_MS = 4_133_404_800_000


@dataclass(frozen=True, slots=True)
class Api:
    """What differs between spot and futures."""

    market: str
    prefix: str
    max_limit: int
    info_weight: int


APIS = (Api("spot", "/api/v3/", 1000, 20), Api("um", "/fapi/v1/", 1500, 1))


class Refused(Exception):
    """A request that Binance answers with status 400 and an error body."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def api_of(path: str) -> Api | None:
    """The API that a path belongs to."""
    return next((api for api in APIS if path.startswith(api.prefix)), None)


def weight(api: Api, path: str, params: Params) -> int:
    """The request weight of a call, also of a refused one."""
    name = path.removeprefix(api.prefix)
    if name == "exchangeInfo":
        return api.info_weight
    if is_funding(api, path):
        return 0
    if name != "klines":
        return 1
    if api.market == "spot":
        return 2
    limit = dict(params).get("limit", "500")
    size = int(limit) if re.fullmatch(_NUMBER, limit, re.ASCII) else 500
    return 1 if size < 100 else 2 if size < 500 else 5 if size <= 1000 else 10


def is_funding(api: Api, path: str) -> bool:
    """Whether a call counts against the limit of its own that funding rates have."""
    return api.market == "um" and path.removeprefix(api.prefix) == "fundingRate"


def answer(
    exchange: Exchange, api: Api, path: str, params: Params, target: str, microseconds: bool
) -> Reply:
    """The reply to a GET below the API's prefix.

    `target` is `path?query` as fault patterns see it; `microseconds` is whether the client
    asked for answers in that unit.
    """
    endpoint = _endpoints(api).get(path.removeprefix(api.prefix))
    if endpoint is None:
        return Reply(404, b"<html><body><h2>404 Not found</h2></body></html>", "text/html")
    kind = kind_of(api, path)
    try:
        reply = endpoint(exchange, api, params, target, microseconds)
    except Refused as refusal:
        return error(400, refusal.code, refusal.message, kind)
    except NoCandleData as missing:
        return error(503, -1001, str(missing), kind)
    reply.kind = kind
    return reply


def kind_of(api: Api, path: str) -> str:
    """The name of an endpoint in the statistics."""
    name = path.removeprefix(api.prefix)
    return f"{api.market}.{name}" if name in _endpoints(api) else "unexpected"


def _read(params: Params, known: tuple[str, ...]) -> dict[str, str]:
    """Parameters by name; refuses doubles, strangers and empty values as Binance does."""
    if any(count > 1 for count in Counter(name for name, _ in params).values()):
        raise Refused(-1101, "Duplicate values for a parameter detected.")
    read = {name: value for name, value in params if name in known}
    if len(read) < len(params):
        raise Refused(
            -1104,
            f"Not all sent parameters were read; read '{len(read)}' parameter(s) but was sent "
            f"'{len(params)}'.",
        )
    for name, value in read.items():
        if not value:
            raise Refused(-1105, f"Parameter '{name}' was empty.")
    return read


def _mandatory(read: dict[str, str], name: str) -> str:
    if name not in read:
        raise Refused(
            -1102,
            f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.",
        )
    return read[name]


def _legal(name: str, value: str, pattern: str) -> str:
    # \Z rather than $, which would let a trailing newline pass.
    if not re.match(pattern.removesuffix("$") + r"\Z", value, re.ASCII):
        raise Refused(
            -1100, f"Illegal characters found in parameter '{name}'; legal range is '{pattern}'."
        )
    return value


def _number(read: dict[str, str], name: str) -> int | None:
    return int(_legal(name, read[name], _NUMBER)) if name in read else None


def _time(read: dict[str, str], name: str) -> int | None:
    value = _number(read, name)
    if value is None or value < _MICROSECONDS_FROM:
        return value
    return value // 1000


def _ping(exchange: Exchange, api: Api, params: Params, target: str, micro: bool) -> Reply:
    _read(params, ())
    return json_reply({})


def _server_time(exchange: Exchange, api: Api, params: Params, target: str, micro: bool) -> Reply:
    _read(params, ())
    return json_reply({"serverTime": exchange.clock.now_ms() * (1000 if micro else 1)})


def _exchange_info(exchange: Exchange, api: Api, params: Params, target: str, micro: bool) -> Reply:
    known = ("symbol", "symbols", "permissions", "showPermissionSets", "symbolStatus")
    read = _read(params, known if api.market == "spot" else ())
    named = [name for name in ("symbol", "symbols", "permissions") if name in read]
    if len(named) > 1 or ("symbolStatus" in read and {"symbol", "symbols"} & set(named)):
        raise Refused(-1128, "Combination of optional parameters invalid.")
    all_symbols = exchange.listed(api.market)
    wanted = all_symbols
    if "symbol" in read:
        wanted = [_legal("symbol", read["symbol"], _SYMBOL)]
    elif "symbols" in read:
        wanted = _names("symbols", read["symbols"])
    for symbol in wanted:
        if symbol not in all_symbols:
            raise Refused(-1121, "Invalid symbol.")
    if "permissions" in read:
        text = read["permissions"]
        groups = _names("permissions", text) if text.startswith("[") else [text]
        if "SPOT" not in groups:
            wanted = []
    described = []
    for symbol in wanted:
        status = "TRADING" if exchange.is_trading(api.market, symbol) else "BREAK"
        if read.get("symbolStatus", status) == status:
            entry = instruments.describe(symbol, status, api.market)
            if api.market == "um":
                entry |= _dates(exchange, api, symbol)
            if read.get("showPermissionSets") == "false":
                del entry["permissionSets"]
            described.append(entry)
    budget = exchange.budgets[api.market]
    limits = [_rate_limit("REQUEST_WEIGHT", "MINUTE", 1, budget.limit)]
    more = {}
    if api.market == "spot":
        limits.append(_rate_limit("RAW_REQUESTS", "MINUTE", 5, 300_000))
    else:
        limits.append(_rate_limit("ORDERS", "MINUTE", 1, 1200))
        limits.append(_rate_limit("ORDERS", "SECOND", 10, 300))
        more = {"futuresType": "U_MARGINED"}
    return json_reply(
        {
            "timezone": "UTC",
            "serverTime": exchange.clock.now_ms() * (1000 if micro else 1),
            **more,
            "rateLimits": limits,
            "exchangeFilters": [],
            "symbols": described,
        }
    )


def _dates(exchange: Exchange, api: Api, symbol: str) -> dict[str, int]:
    """When a contract began and when it is settled: in 2100, unless it has ended."""
    codes = exchange.source.timeframes(api.market, symbol)
    first_ms = exchange.source.series(api.market, symbol, codes[0]).first_ms if codes else 0
    dates = {"onboardDate": first_ms, "deliveryDate": _PERPETUAL_UNTIL_MS}
    if not exchange.is_trading(api.market, symbol):
        dates["deliveryDate"] = exchange.source.ended_ms(api.market, symbol)
    return dates


def _rate_limit(what: str, unit: str, count: int, limit: int) -> dict:
    return {"rateLimitType": what, "interval": unit, "intervalNum": count, "limit": limit}


def _names(parameter: str, text: str) -> list[str]:
    try:
        names = json.loads(text)
    except ValueError:
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Refused(
            -1100,
            f"Illegal characters found in parameter '{parameter}'; legal range is "
            """'^\\[("[A-Z0-9-_.]{1,20}"(,"[A-Z0-9-_.]{1,20}"){0,}){0,1}\\]$'.""",
        )
    return names


def _klines(exchange: Exchange, api: Api, params: Params, target: str, micro: bool) -> Reply:
    known = ("symbol", "interval", "startTime", "endTime", "limit")
    read = _read(params, (*known, "timeZone") if api.market == "spot" else known)
    symbol = _legal("symbol", _mandatory(read, "symbol"), _SYMBOL)
    interval = _legal("interval", _mandatory(read, "interval"), _INTERVAL)
    start, end = _time(read, "startTime"), _time(read, "endTime")
    limit = _number(read, "limit")
    if symbol not in exchange.listed(api.market):
        raise Refused(-1121, "Invalid symbol.")
    if interval not in _INTERVALS or (interval == "1s" and api.market == "um"):
        raise Refused(-1120, "Invalid interval.")
    if limit is None:
        limit = 500
    if limit < 1 or (limit > api.max_limit and api.market == "um"):
        raise Refused(-1130, "Data sent for parameter 'limit' is not valid.")
    limit = min(limit, api.max_limit)
    if read.get("timeZone", "0") not in ("0", "0:00", "00:00", "+00:00"):
        raise Refused(-1100, "The simulator knows timeZone 0 only.")
    if start is not None and end is not None and start > end:
        # Spot answers nothing at all here, futures refuse.
        if api.market == "um":
            raise Refused(-1023, "Start time is greater than end time.")
        return Reply(200, b"[]")

    faults = exchange.faults.row_faults("rest", api.market, symbol, interval, target)
    series = exchange.series("rest", api.market, symbol, interval)
    absent = absences(faults)
    found = select(series, start, end, limit, exchange.clock.now_ms(), absent)
    body = found.body()
    if faults:
        dropping = absent.felt(found.first_ms, found.last_ms) if absent else []
        rows, changing = distort(json.loads(body), faults)
        body = b"[" + b",".join(encode_row(row) for row in rows) + b"]"
        exchange.faults.count([*dropping, *changing])
    if micro:
        body = _in_microseconds(body)
    exchange.stats.count_series(f"{api.market}/{symbol}/{interval}", found.count)
    return Reply(200, body)


def _in_microseconds(body: bytes) -> bytes:
    rows = json.loads(body)
    for row in rows:
        row[0], row[6] = row[0] * 1000, row[6] * 1000 + 999
    return b"[" + b",".join(encode_row(row) for row in rows) + b"]"


def _funding_rate(exchange: Exchange, api: Api, params: Params, target: str, micro: bool) -> Reply:
    read = _read(params, ("symbol", "startTime", "endTime", "limit"))
    # Binance answers for all symbols at once without one; nobody here asks that.
    symbol = _legal("symbol", _mandatory(read, "symbol"), _SYMBOL)
    start, end, limit = _time(read, "startTime"), _time(read, "endTime"), _number(read, "limit")
    if symbol not in exchange.listed(api.market):
        raise Refused(-1121, "Invalid symbol.")
    if limit is None:
        limit = 200 if start is None and end is None else 100
    if not 1 <= limit <= 1000:
        raise Refused(-1130, "Data sent for parameter 'limit' is not valid.")
    if start is not None and end is not None and start > end:
        raise Refused(-1023, "Start time is greater than end time.")
    rates = exchange.source.funding(api.market, symbol)
    found = funding.select(rates, start, end, limit, exchange.clock.now_ms())
    faults = exchange.faults.row_faults("rest", api.market, symbol, funding.WHAT, target)
    if faults:
        found, acted = funding.distort(found, faults)
        exchange.faults.count(acted)
    return json_reply(
        [
            {
                "symbol": symbol,
                "fundingTime": one.time_ms,
                "fundingRate": one.rate,
                "markPrice": one.mark_price,
            }
            for one in found
        ]
    )


_ENDPOINTS = {
    "ping": _ping,
    "time": _server_time,
    "exchangeInfo": _exchange_info,
    "klines": _klines,
}
_FUTURES_ENDPOINTS = {**_ENDPOINTS, "fundingRate": _funding_rate}


def _endpoints(api: Api) -> dict:
    return _FUTURES_ENDPOINTS if api.market == "um" else _ENDPOINTS
