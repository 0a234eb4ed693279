"""What each source besides the home's own venue offers, as data.

One table for the adapters, the choice between providers and the documentation. The limits
are those of the free plans; a paid key is refused nothing here but what is not listed.
Sources: the providers' own documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from candlevault.errors import NotOffered
from candlevault.series import Series

CRYPTO, STOCKS, FOREX, SPOT = "crypto", "stocks", "forex", "spot"
_ALL = (CRYPTO, STOCKS, FOREX)


@dataclass(frozen=True, slots=True)
class Offer:
    """A timeframe of a provider: its own name for it, for which markets, and its reach.

    `rows` is how many candles are asked for in one call, None for all at once; `days` how
    far back from now it reaches, None for without limit.
    """

    name: str
    markets: tuple[str, ...]
    rows: int | None = None
    days: int | None = None


@dataclass(frozen=True, slots=True)
class Capabilities:
    """One provider: `markets` it serves, `timeframes` by our codes, its pace and its key.

    `connection` is the Airflow Connection whose password is the key, empty for a provider
    that takes none; `seconds_apart` is the least time between two calls.
    """

    provider: str
    title: str
    base_url: str
    markets: tuple[str, ...]
    timeframes: Mapping[str, Offer]
    requests_per_minute: int
    seconds_apart: float = 0.0
    connection: str = ""
    key_needed: bool = False

    def refusal(self, market: str, timeframe: str) -> str | None:
        """Why candles of this market and timeframe cannot be had here; None if they can."""
        if market not in self.markets:
            return f"serves {', '.join(self.markets)}, not {market}"
        known = [code for code, offer in self.timeframes.items() if market in offer.markets]
        if timeframe not in known:
            return f"offers {', '.join(known)} of {market}, not {timeframe}"
        return None

    def offer(self, series: Series) -> Offer:
        """The offer for a series; raises NotOffered saying what is offered instead."""
        refusal = self.refusal(series.market, series.timeframe.code)
        if refusal is not None:
            raise NotOffered(
                f"{self.provider} {refusal}", provider=self.provider, symbol=series.symbol
            )
        return self.timeframes[series.timeframe.code]


# Massive counts minute (or day) bars behind a candle, not candles, against its limit of
# 50,000 a call: 30 days of minutes stay below it whatever the timeframe.
_BASE_MINUTES = 30 * 24 * 60

POLYGON = Capabilities(
    provider="polygon",
    title="Massive (formerly Polygon)",
    base_url="https://api.massive.com",
    markets=_ALL,
    timeframes={
        "1m": Offer("1/minute", _ALL, _BASE_MINUTES, 730),
        "5m": Offer("5/minute", _ALL, _BASE_MINUTES // 5, 730),
        "15m": Offer("15/minute", _ALL, _BASE_MINUTES // 15, 730),
        "30m": Offer("30/minute", _ALL, _BASE_MINUTES // 30, 730),
        "1h": Offer("1/hour", _ALL, _BASE_MINUTES // 60, 730),
        "4h": Offer("4/hour", _ALL, _BASE_MINUTES // 240, 730),
        "1d": Offer("1/day", _ALL, days=730),
    },
    requests_per_minute=5,
    connection="candlevault_polygon",
    key_needed=True,
)
"""Its weeks begin on Sunday and are therefore not offered."""

COINGECKO = Capabilities(
    provider="coingecko",
    title="CoinGecko",
    base_url="https://api.coingecko.com/api/v3",
    markets=(CRYPTO,),
    timeframes={
        "30m": Offer("30m", (CRYPTO,), days=2),
        "4h": Offer("4h", (CRYPTO,), days=30),
    },
    requests_per_minute=25,
    connection="candlevault_coingecko",
)
"""Further back its free candles span four days; it also answers without a key, slower."""

ALPHA_VANTAGE = Capabilities(
    provider="alphavantage",
    title="Alpha Vantage",
    base_url="https://www.alphavantage.co/query",
    markets=(STOCKS, FOREX, CRYPTO),
    timeframes={"1d": Offer("daily", (STOCKS, FOREX, CRYPTO), days=100)},
    requests_per_minute=5,
    seconds_apart=1.2,
    connection="candlevault_alphavantage",
    key_needed=True,
)
"""A free key has 25 calls a day. `days` is the least: the latest 100 days that have a row."""

OANDA = Capabilities(
    provider="oanda",
    title="OANDA v20",
    base_url="https://api-fxpractice.oanda.com",
    markets=(FOREX,),
    timeframes={
        "1m": Offer("M1", (FOREX,), 4_900),
        "5m": Offer("M5", (FOREX,), 4_900),
        "15m": Offer("M15", (FOREX,), 4_900),
        "30m": Offer("M30", (FOREX,), 4_900),
        "1h": Offer("H1", (FOREX,), 4_900),
        "4h": Offer("H4", (FOREX,), 4_900),
        "1d": Offer("D", (FOREX,), 4_900),
        "1w": Offer("W", (FOREX,), 4_900),
    },
    requests_per_minute=600,
    connection="candlevault_oanda",
    key_needed=True,
)
"""A call that would give more than 5,000 candles is refused."""

_AROUND_THE_CLOCK = (CRYPTO, FOREX)

YAHOO = Capabilities(
    provider="yahoo",
    title="Yahoo Finance (through yfinance)",
    base_url="https://query2.finance.yahoo.com",
    markets=(STOCKS, CRYPTO, FOREX),
    timeframes={
        "1m": Offer("1m", _ALL, days=7),
        "5m": Offer("5m", _ALL, days=60),
        "15m": Offer("15m", _ALL, days=60),
        "30m": Offer("30m", _ALL, days=60),
        "1h": Offer("1h", _AROUND_THE_CLOCK, days=730),
        "1d": Offer("1d", _ALL),
    },
    requests_per_minute=30,
)
"""An hour of a stock begins with the session, at half past, and is therefore not offered."""

CCXT = Capabilities(
    provider="ccxt",
    title="Exchanges (through ccxt)",
    base_url="",
    markets=(SPOT,),
    timeframes={
        code: Offer(code, (SPOT,), 500) for code in ("1m", "5m", "15m", "30m", "1h", "4h", "1d")
    },
    requests_per_minute=60,
)
"""At most this: each exchange offers a part of it, with its own page size and pace. Weeks
begin on another day from exchange to exchange and are not offered."""

CAPABILITIES: Mapping[str, Capabilities] = {
    one.provider: one for one in (POLYGON, COINGECKO, ALPHA_VANTAGE, OANDA, YAHOO, CCXT)
}
"""Every source by its name; `ccxt` stands for the exchanges that ccxt knows."""
