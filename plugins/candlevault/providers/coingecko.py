"""CoinGecko: candles of coins in USD, made by averaging many exchanges, over REST.

Rules from its documentation: the time of a row is the *end* of the candle; how long a candle
is depends on `days` alone (30 minutes up to 2 days, 4 hours from 3 to 30); there is no
volume; without a key it answers too, at a lower rate. What it calls market chart are points,
not candles, and is not used. A last row that does not end on the grid is the forming candle.
"""

from __future__ import annotations

from collections.abc import Mapping

from candlevault.errors import BadPayload, KeyMissing, NotOffered, ProviderError, UnknownSymbol
from candlevault.instruments import InstrumentFacts
from candlevault.providers import quotes
from candlevault.providers.capabilities import COINGECKO, Offer
from candlevault.providers.contract import Answer
from candlevault.providers.http import HttpClient, HttpResponse
from candlevault.providers.paging import DAY_MS, fetch_of, make_page, reading, smallest_step_ms
from candlevault.providers.quotes import Quote
from candlevault.providers.single_source import Clock, SingleSource, now_ms
from candlevault.providers.source_symbols import crypto_pair
from candlevault.series import Series
from candlevault.timeframe import Timeframe
from candlevault.windows import Window

_DAYS: Mapping[str, tuple[int, ...]] = {"30m": (1, 2), "4h": (7, 14, 30)}
"""The values of `days` that give candles of a timeframe."""

_PLAN_TOO_SMALL = (10005, 10012)

COIN_IDS: Mapping[str, str] = {
    "AAVE": "aave", "ADA": "cardano", "ALGO": "algorand", "APT": "aptos", "ARB": "arbitrum",
    "ATOM": "cosmos", "AVAX": "avalanche-2", "BCH": "bitcoin-cash", "BNB": "binancecoin",
    "BTC": "bitcoin", "DOGE": "dogecoin", "DOT": "polkadot", "ETC": "ethereum-classic",
    "ETH": "ethereum", "FIL": "filecoin", "ICP": "internet-computer", "INJ": "injective-protocol",
    "LINK": "chainlink", "LTC": "litecoin", "MANA": "decentraland", "MKR": "maker",
    "NEAR": "near", "OP": "optimism", "RUNE": "thorchain", "SAND": "the-sandbox", "SOL": "solana",
    "TRX": "tron", "UNI": "uniswap", "VET": "vechain", "XLM": "stellar", "XRP": "ripple",
}  # fmt: skip
"""CoinGecko's ids of common coins: several coins share a symbol, the id is unique."""


class CoinGecko(SingleSource):
    """`/coins/{id}/ohlc` of one base URL."""

    def __init__(
        self,
        market: str,
        http: HttpClient,
        *,
        base_url: str = COINGECKO.base_url,
        clock: Clock = now_ms,
    ) -> None:
        super().__init__(COINGECKO, market, http.traffic, clock)
        self._http = http
        self._base_url = base_url.rstrip("/")
        self._ids: dict[str, str] = dict(COIN_IDS)

    def coin_id(self, symbol: str) -> str:
        """CoinGecko's id of the coin of `BTCUSD`: from the table, else from `/coins/list`.

        Raises UnknownSymbol also where several coins have that symbol: which one is meant
        cannot be told.
        """
        base = crypto_pair(symbol, self.name).base
        if base not in self._ids:
            self._ids[base] = self._looked_up(base, symbol)
        return self._ids[base]

    def instrument(self, symbol: str) -> InstrumentFacts:
        """`/simple/price`: whether the coin has a price now; raises UnknownSymbol."""
        coin = self.coin_id(symbol)
        response = self._get("simple/price", symbol, {"ids": coin, "vs_currencies": "usd"})
        with reading(self.name, symbol, response.url):
            prices = quotes.parse_object(response.body)
        if coin not in prices:
            raise self._unknown(symbol, f"no price of {coin}")
        return InstrumentFacts(
            symbol=symbol,
            venue_symbol=coin,
            base_asset=crypto_pair(symbol, self.name).base,
            quote_asset="USD",
            status="LISTED",
            trading=True,
        )

    def _ask(self, series: Series, offer: Offer, part: Window, closed_before_ms: int) -> Answer:
        age_ms = self._clock() - part.start_ms
        enough = (days for days in _DAYS[offer.name] if days * DAY_MS >= age_ms)
        days = next(enough, _DAYS[offer.name][-1])
        coin = self.coin_id(series.symbol)
        params = {"vs_currency": "usd", "days": days, "precision": "full"}
        response = self._get(f"coins/{coin}/ohlc", series.symbol, params)
        with reading(self.name, series.symbol, response.url):
            rows = _rows(response.body, series.timeframe)
            fetch = fetch_of(self.name, series, response, len(rows))
            return Answer([make_page(rows, part, series, closed_before_ms, fetch)])

    def _looked_up(self, base: str, symbol: str) -> str:
        response = self._get("coins/list", symbol)
        with reading(self.name, symbol, response.url):
            listed = quotes.parse_json(response.body)
            if not isinstance(listed, list) or not all(isinstance(coin, dict) for coin in listed):
                raise BadPayload("the list of coins is not a list of objects")
        ids = [str(coin.get("id")) for coin in listed if coin.get("symbol") == base.lower()]
        if not ids:
            raise self._unknown(symbol, f"no coin is called {base}")
        if len(ids) > 1:
            raise self._unknown(symbol, f"{len(ids)} coins are called {base}; which is not told")
        return ids[0]

    def _get(
        self, path: str, symbol: str, params: dict[str, str | int] | None = None
    ) -> HttpResponse:
        def interpret(status: int, body: bytes) -> ProviderError | None:
            where = {"provider": self.name, "symbol": symbol, "status": status}
            if status == 404:
                return UnknownSymbol("no such coin", **where)
            if status == 401:
                code, words = _refusal(body)
                if code in _PLAN_TOO_SMALL:
                    return NotOffered(f"not in the plan of the key: {words}", **where)
                return KeyMissing(
                    f"the key is refused or missing ({words})",
                    connection=COINGECKO.connection,
                    **where,
                )
            return None

        return self._http.get(f"{self._base_url}/{path}", params, interpret=interpret)


def _rows(body: bytes, timeframe: Timeframe) -> list[Quote]:
    """The rows `[end in ms, open, high, low, close]` of an answer; the forming one left out."""
    listed = quotes.parse_json(body)
    if not isinstance(listed, list):
        raise BadPayload("not a list of candles")
    rows = []
    for row in listed:
        if not isinstance(row, list) or len(row) != 5:
            raise BadPayload("a candle is not a list of five numbers")
        end_ms = quotes.whole_of(row[0], "the time")
        prices = zip(("open", "high", "low", "close"), row[1:], strict=True)
        rows.append(
            Quote(
                end_ms - timeframe.step_ms,
                *(quotes.decimal_of(value, name) for name, value in prices),
            )
        )
    if rows and not timeframe.is_aligned(rows[-1].open_time_ms):
        rows.pop()
    step_ms = smallest_step_ms(row.open_time_ms for row in rows)
    if step_ms not in (None, timeframe.step_ms):
        raise BadPayload(f"candles of {step_ms} ms where {timeframe} were asked for")
    return rows


def _refusal(body: bytes) -> tuple[int | None, str]:
    """Code and words of `{"status": …}`, which may stand in an `error` of its own."""
    said = quotes.words_of(body)
    for name in ("error", "status"):
        if isinstance(said.get(name), dict):
            said = said[name]
    return said.get("error_code"), str(said.get("error_message", "no words"))[:120]
