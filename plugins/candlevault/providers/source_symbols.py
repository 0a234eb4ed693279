"""From our symbols to the two names that sources compose theirs of.

Aggregators quote crypto in US dollars, not in USDT: their series is `BTCUSD`.
"""

from __future__ import annotations

from typing import NamedTuple

from candlevault.errors import UnknownSymbol

_STABLECOINS = ("USDT", "USDC", "FDUSD")


class Pair(NamedTuple):
    """What is quoted and in what: `BTC`, `USD`."""

    base: str
    quote: str


def crypto_pair(symbol: str, provider: str) -> Pair:
    """`BTCUSD` as BTC and USD; UnknownSymbol for a coin quoted in anything else."""
    for coin in _STABLECOINS:
        base = symbol.removesuffix(coin)
        if base and base != symbol:
            raise UnknownSymbol(
                f"{provider} quotes {base} in USD, not in {coin}: its series is {base}USD",
                provider=provider,
                symbol=symbol,
            )
    base = symbol.removesuffix("USD")
    if not base or base == symbol:
        raise UnknownSymbol(
            f"{provider} quotes coins in USD: a symbol ends in USD, as BTCUSD does",
            provider=provider,
            symbol=symbol,
        )
    return Pair(base, "USD")


def currency_pair(symbol: str, provider: str) -> Pair:
    """`EURUSD` as EUR and USD; UnknownSymbol for anything but two codes of three letters."""
    if len(symbol) != 6 or not symbol.isalpha():
        raise UnknownSymbol(
            "a pair of currencies is six letters, as EURUSD is", provider=provider, symbol=symbol
        )
    return Pair(symbol[:3], symbol[3:])
