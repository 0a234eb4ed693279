"""What is read out of the ccxt library: its exchanges, markets, limits and errors.

ccxt is imported inside the functions because that takes a second.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

from candlevault.errors import (
    BadPayload,
    GeoBlocked,
    NotOffered,
    ProviderError,
    RateLimited,
    Unavailable,
    UnknownSymbol,
)
from candlevault.providers.capabilities import CCXT, Capabilities
from candlevault.providers.http import HttpResponse, retry_after_s

_ROWS_IF_NOT_SAID = 500


def exchange_ids() -> tuple[str, ...]:
    """The ids of the exchanges that publish candles, sorted. Imports ccxt, which is slow."""
    return tuple(sorted(_publishing()))


@cache
def _publishing() -> frozenset[str]:
    import ccxt

    return frozenset(
        name
        for name in ccxt.exchanges
        if (made := getattr(ccxt, name)()).has["fetchOHLCV"] is True and made.has["spot"]
    )


def market_of(exchange: Any, symbol: str) -> dict:
    """ccxt's market of our symbol: `BTCUSDT` is the spot market `BTC/USDT`.

    Raises UnknownSymbol where no market, or more than one, is written like that.
    """
    found = [
        market
        for market in exchange.markets.values()
        if market.get("spot")
        and f"{market['base']}{market['quote']}".upper() == symbol
        # Not a market of another kind beside it, such as one without an order book.
        and market["symbol"] == f"{market['base']}/{market['quote']}"
    ]
    if len(found) != 1:
        names = ", ".join(sorted(market["symbol"] for market in found)) or "no market"
        raise UnknownSymbol(
            f"{symbol} must be one spot market; it is {names}", provider=exchange.id, symbol=symbol
        )
    return found[0]


def capabilities_of(exchange: Any) -> Capabilities:
    """What one exchange offers of CCXT's timeframes, its page size and its pace."""
    rows = exchange.feature_value_by_type("spot", None, "fetchOHLCV", "limit")
    published = exchange.timeframes or {}
    return replace(
        CCXT,
        provider=exchange.id,
        title=str(exchange.name),
        timeframes={
            code: replace(offer, rows=int(rows or _ROWS_IF_NOT_SAID))
            for code, offer in CCXT.timeframes.items()
            if code in published
        },
        requests_per_minute=max(1, int(60_000 / exchange.rateLimit)),
    )


@dataclass(slots=True)
class Heard:
    """The last answer that came over the session."""

    status: int | None = None
    response: HttpResponse | None = None


def error_of(error: Exception, heard: Heard, name: str, symbol: str) -> ProviderError:
    """Our error of what a call of ccxt raised."""
    import ccxt

    where = {"provider": name, "symbol": symbol, "status": heard.status}
    where["url"] = heard.response.url if heard.response else ""
    words = f"{type(error).__name__}: {str(error)[:160]}"
    if heard.status in (418, 429) or isinstance(
        error, (ccxt.RateLimitExceeded, ccxt.DDoSProtection)
    ):
        header = heard.response.headers.get("Retry-After") if heard.response else None
        wait_s = retry_after_s(header, datetime.now(UTC), 60)
        return RateLimited(words, retry_after=wait_s, banned=heard.status == 418, **where)
    if heard.status in (403, 451) or isinstance(error, ccxt.RestrictedLocation):
        return GeoBlocked(words, **where)
    if isinstance(error, ccxt.BadSymbol):
        return UnknownSymbol(words, **where)
    if isinstance(error, (ccxt.NotSupported, ccxt.AuthenticationError)):
        return NotOffered(words, **where)
    if isinstance(error, ccxt.NetworkError):
        return Unavailable(words, **where)
    return BadPayload(words, **where)
