"""Binance's exchangeInfo as facts: what is traded, and what of it can have candles here.

Statuses are taken as they are: only `TRADING` trades, whatever else a venue may invent
(Binance spot API documentation, enums). Symbols that are not ASCII capitals and digits exist
and are left out.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

from candlevault.errors import BadPayload, UnknownSymbol
from candlevault.instruments import InstrumentFacts
from candlevault.providers.binance_dialects import Dialect
from candlevault.providers.http import HttpResponse
from candlevault.series import SYMBOL_PATTERN


@dataclass(slots=True)
class Instruments:
    """All instruments of an exchangeInfo, ascending by symbol.

    `skipped` counts the entries that could not be read or named; contracts of another kind
    are simply not of this market.
    """

    facts: list[InstrumentFacts] = field(default_factory=list)
    skipped: int = 0


def json_object(response: HttpResponse) -> dict:
    """The JSON object of an answer; raises BadPayload."""
    try:
        parsed = json.loads(response.body)
    except (ValueError, RecursionError) as error:
        raise BadPayload("not JSON", url=response.url) from error
    if not isinstance(parsed, dict):
        raise BadPayload("not a JSON object", url=response.url)
    return parsed


def all_of(response: HttpResponse, dialect: Dialect) -> Instruments:
    """Every instrument that an exchangeInfo names. Of a symbol named twice the first counts."""
    found: dict[str, InstrumentFacts] = {}
    read = Instruments()
    for entry in _entries(response):
        symbol = entry.get("symbol") if isinstance(entry, dict) else None
        if not isinstance(symbol, str) or symbol in found:
            read.skipped += 1
        elif _refusal(entry, dialect) is None:
            if re.fullmatch(SYMBOL_PATTERN, symbol, re.ASCII):
                found[symbol] = _facts(entry)
            else:
                read.skipped += 1
    read.facts = [found[symbol] for symbol in sorted(found)]
    return read


def one_of(response: HttpResponse, symbol: str, dialect: Dialect, provider: str) -> InstrumentFacts:
    """What an exchangeInfo says of `symbol`; raises UnknownSymbol with the reason."""
    reason = "the venue lists no such symbol"
    for entry in _entries(response):
        if isinstance(entry, dict) and entry.get("symbol") == symbol:
            refusal = _refusal(entry, dialect)
            if refusal is None:
                return _facts(entry)
            reason = refusal
    raise UnknownSymbol(reason, provider=provider, symbol=symbol)


def _entries(response: HttpResponse) -> list[object]:
    listed = json_object(response).get("symbols")
    if not isinstance(listed, list):
        raise BadPayload("exchangeInfo without symbols", url=response.url)
    return listed


def _refusal(entry: dict, dialect: Dialect) -> str | None:
    """Why an entry is no instrument of this market, or None."""
    if dialect.contract_type is None:
        return None
    kind, quote = _text(entry, "contractType"), _text(entry, "quoteAsset")
    if kind != dialect.contract_type:
        return f"its contract type is {kind[:40]!r}; only {dialect.contract_type} is kept"
    # The same path also answers for coin-margined contracts, such as BTCUSD_PERP.
    if not quote or not str(entry["symbol"]).endswith(quote):
        return f"its quote asset {quote[:40]!r} is not the one it is named for"
    return None


def _facts(entry: dict) -> InstrumentFacts:
    status = _text(entry, "status")
    return InstrumentFacts(
        symbol=entry["symbol"],
        venue_symbol=entry["symbol"],
        base_asset=_text(entry, "baseAsset"),
        quote_asset=_text(entry, "quoteAsset"),
        status=status,
        trading=status == "TRADING",
    )


def _text(entry: dict, name: str) -> str:
    value = entry.get(name)
    return value if isinstance(value, str) else ""
