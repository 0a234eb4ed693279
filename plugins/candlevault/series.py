"""The identity of a candle series: venue + market + symbol + timeframe."""

from __future__ import annotations

import re
from dataclasses import dataclass

from candlevault.errors import InvalidRequest
from candlevault.timeframe import Timeframe
from candlevault.timeframe import parse as parse_timeframe

SYMBOL_PATTERN = r"^[A-Z0-9]{2,20}$"
"""Canonical symbols: ASCII capitals and digits. Used with fullmatch and in JSON schemas."""

MARKETS = ("spot", "um", "crypto", "stocks", "forex")
"""`spot`; `um` for USDT-margined perpetual futures; and, for sources that quote no market of
their own (aggregators, brokers), the class of what they quote."""


@dataclass(frozen=True, slots=True, order=True)
class Series:
    """One candle series. `symbol` is our canonical spelling (`BTCUSDT`)."""

    venue: str
    market: str
    symbol: str
    timeframe: Timeframe

    @property
    def slug(self) -> str:
        """The part of a DAG id or file name that names the series: `BTCUSDT__1h`, `…__um`."""
        tail = "" if self.market == "spot" else f"__{self.market}"
        return f"{self.symbol}__{self.timeframe.code}{tail}"

    def __str__(self) -> str:
        return f"{self.venue}/{self.market}/{self.symbol}/{self.timeframe.code}"


_DOLLARS = ("USDT", "USDC", "FDUSD", "TUSD", "BUSD", "EUR", "TRY")
_COINS = ("BTC", "ETH", "BNB")


def canonical_symbol(name: str, quote_asset: str = "USDT", field: str = "symbol") -> str:
    """The canonical symbol of a short name (`BTC`) or a symbol (`btcusdt`, `BTCUSDT`).

    A name that ends in a known quote asset is a symbol (one in a coin, such as ETHBTC, only
    with three letters before it: WBTC and STETH are assets); any other gets `quote_asset`
    appended. Raises InvalidRequest for anything but ASCII letters and digits.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9]{1,20}", name, re.ASCII):
        raise InvalidRequest(field, "must be 1 to 20 ASCII letters and digits", name)
    upper = name.upper()
    for quote, least in (
        (quote_asset, 1),
        *((quote, 1) for quote in _DOLLARS),
        *((quote, 3) for quote in _COINS),
    ):
        if upper.endswith(quote) and len(upper) - len(quote) >= least:
            return upper
    if len(upper) + len(quote_asset) > 20:
        raise InvalidRequest(field, f"is too long to be completed with {quote_asset}", name)
    return upper + quote_asset


def parse(venue: str, market: str, symbol: str, timeframe: str) -> Series:
    """A Series of four strings; raises InvalidRequest naming the field that is wrong."""
    if not isinstance(venue, str) or not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", venue, re.ASCII):
        raise InvalidRequest("venue", "must be a lower-case name", venue)
    if market not in MARKETS:
        raise InvalidRequest("market", f"must be one of {', '.join(MARKETS)}", market)
    if (
        not isinstance(symbol, str)
        or not re.fullmatch(SYMBOL_PATTERN, symbol, re.ASCII)
        or (symbol.endswith("\n"))
    ):
        raise InvalidRequest("symbol", "must be 2 to 20 ASCII capitals and digits", symbol)
    return Series(venue, market, symbol, parse_timeframe(timeframe))
