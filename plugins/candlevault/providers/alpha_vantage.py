"""Alpha Vantage: days of stocks, currencies and coins over REST.

Rules from its documentation: one address for everything; refusals, spent quotas and unknown
symbols come as HTTP 200 with `Error Message`, `Note` or `Information` instead of data, and
may repeat the key; a free key gets the latest 100 days. The day of a stock is the date of
trading, here 00:00 UTC of it; days of the other two are UTC days. Prices are not adjusted.
Its intraday series are not offered: they are not free, and it is not documented whether
their times are starts or ends; neither are weeks, which are named by their last day.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from candlevault.errors import (
    BadPayload,
    KeyMissing,
    NotOffered,
    ProviderError,
    RateLimited,
    UnknownSymbol,
)
from candlevault.instruments import InstrumentFacts
from candlevault.providers import quotes
from candlevault.providers.capabilities import ALPHA_VANTAGE, CRYPTO, FOREX, STOCKS, Offer
from candlevault.providers.contract import Answer, Problem
from candlevault.providers.http import HttpClient, HttpResponse
from candlevault.providers.paging import fetch_of, make_page, reading
from candlevault.providers.quotes import Quote
from candlevault.providers.single_source import Clock, SingleSource, now_ms
from candlevault.providers.source_symbols import Pair, crypto_pair, currency_pair
from candlevault.series import Series
from candlevault.timeframe import to_ms
from candlevault.windows import Window

_ROWS_OF_A_FREE_KEY = 100
_SERIES = {
    STOCKS: "Time Series (Daily)",
    FOREX: "Time Series FX (Daily)",
    CRYPTO: "Time Series (Digital Currency Daily)",
}
_FIELDS = ("1. open", "2. high", "3. low", "4. close")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_WORDS = ("Error Message", "Note", "Information")


def query_of(market: str, symbol: str) -> dict[str, str | int]:
    """The parameters that name the daily series of a symbol; raises UnknownSymbol."""
    if market == CRYPTO:
        pair = crypto_pair(symbol, ALPHA_VANTAGE.provider)
        return {
            "function": "DIGITAL_CURRENCY_DAILY",
            "symbol": pair.base,
            "market": pair.quote,
        }
    if market == FOREX:
        pair = currency_pair(symbol, ALPHA_VANTAGE.provider)
        return {
            "function": "FX_DAILY",
            "from_symbol": pair.base,
            "to_symbol": pair.quote,
            "outputsize": "compact",
        }
    return {"function": "TIME_SERIES_DAILY", "symbol": symbol, "outputsize": "compact"}


class AlphaVantage(SingleSource):
    """`/query` of one base URL. The key goes into the query, but into no URL that is shown."""

    def __init__(
        self,
        market: str,
        http: HttpClient,
        *,
        base_url: str = ALPHA_VANTAGE.base_url,
        clock: Clock = now_ms,
    ) -> None:
        super().__init__(ALPHA_VANTAGE, market, http.traffic, clock)
        self._http = http
        self._base_url = base_url

    def instrument(self, symbol: str) -> InstrumentFacts:
        """Asks for the daily series: there is no cheaper way; raises UnknownSymbol."""
        self._rows(symbol)
        pair = _pair(self.market, symbol)
        return InstrumentFacts(
            symbol=symbol,
            venue_symbol=symbol,
            base_asset=pair.base,
            quote_asset=pair.quote,
            status="LISTED",
            trading=True,
        )

    def _reach_days(self, offer: Offer) -> int | None:
        """Not by the clock: 100 days of trading reach further back than 100 days."""
        return None

    def _ask(self, series: Series, offer: Offer, part: Window, closed_before_ms: int) -> Answer:
        response, rows = self._rows(series.symbol)
        covers, answer = part, Answer()
        if len(rows) >= _ROWS_OF_A_FREE_KEY:
            oldest_ms = min(row.open_time_ms for row in rows)
            beyond = part.intersection(Window(0, oldest_ms))
            if beyond is not None:
                answer.problems.append(Problem(beyond, self._too_old(series, beyond)))
                if beyond == part:
                    return answer
                covers = Window(oldest_ms, part.end_ms)
        with reading(self.name, series.symbol, response.url):
            fetch = fetch_of(self.name, series, response, len(rows))
            answer.pages.append(make_page(rows, covers, series, closed_before_ms, fetch))
        return answer

    def _too_old(self, series: Series, beyond: Window) -> NotOffered:
        return NotOffered(
            f"{self.name} gives the latest {_ROWS_OF_A_FREE_KEY} days, not {beyond}",
            provider=self.name,
            symbol=series.symbol,
        )

    def _rows(self, symbol: str) -> tuple[HttpResponse, list[Quote]]:
        response = self._get(symbol)
        with reading(self.name, symbol, response.url):
            return response, _rows(self.market, response.body)

    def _get(self, symbol: str) -> HttpResponse:
        def interpret(status: int, body: bytes) -> ProviderError | None:
            words = _words_of(body)
            where = {"provider": self.name, "symbol": symbol, "status": status}
            return _error_of(words, where) if words else None

        return self._http.get(self._base_url, query_of(self.market, symbol), interpret=interpret)


def _pair(market: str, symbol: str) -> Pair:
    if market == CRYPTO:
        return crypto_pair(symbol, ALPHA_VANTAGE.provider)
    if market == FOREX:
        return currency_pair(symbol, ALPHA_VANTAGE.provider)
    return Pair(symbol, "")


def _words_of(body: bytes) -> str:
    """What is said instead of data; empty for an answer with data or of another shape."""
    said = quotes.words_of(body)
    if "Meta Data" in said:
        return ""
    return next((str(said[name]) for name in _WORDS if name in said), "")


_BY_WORDS: Mapping[str, str] = {
    "per second": "burst",
    "per minute": "minute",
    "per day": "day",
    "call frequency": "minute",
    "rate limit": "day",
    "apikey is invalid or missing": "key",
    "invalid api call": "symbol",
    "premium": "plan",
}
"""What refusals mean, by their words. The first that fits counts: what a quota was exceeded
of also says that premium plans have none."""

_WAIT_S = {"burst": 2.0, "minute": 60.0, "day": 3600.0}


def _error_of(words: str, where: dict) -> ProviderError:
    meaning = next((what for part, what in _BY_WORDS.items() if part in words.lower()), "")
    shown = words[:160]
    if meaning in _WAIT_S:
        return RateLimited(f"quota spent: {shown}", retry_after=_WAIT_S[meaning], **where)
    if meaning == "key":
        connection = ALPHA_VANTAGE.connection
        return KeyMissing(f"the key is refused ({shown})", connection=connection, **where)
    if meaning == "symbol":
        return UnknownSymbol(f"no such series: {shown}", **where)
    if meaning == "plan":
        return NotOffered(f"not in the plan of the key: {shown}", **where)
    return BadPayload(f"refused: {shown}", **where)


def _rows(market: str, body: bytes) -> list[Quote]:
    answer = quotes.parse_object(body)
    meta, days = answer.get("Meta Data"), answer.get(_SERIES[market])
    if not isinstance(meta, dict) or not isinstance(days, dict):
        raise BadPayload(f"no {_SERIES[market]!r} with its meta data")
    zone = next((value for name, value in meta.items() if name.endswith("Time Zone")), None)
    if market != STOCKS and zone != "UTC":
        raise BadPayload(f"days of the time zone {str(zone)[:40]!r}, not UTC")
    return [_quote(date, values) for date, values in days.items()]


def _quote(date: str, values: object) -> Quote:
    if not _DATE.fullmatch(date) or not isinstance(values, dict):
        raise BadPayload(f"not the values of a day: {date[:40]!r}")
    try:
        day = datetime.fromisoformat(date).replace(tzinfo=UTC)
    except ValueError as error:
        raise BadPayload(f"no such day: {date}") from error
    return Quote(
        to_ms(day),
        *(quotes.decimal_of(values.get(name), name) for name in _FIELDS),
        volume=quotes.decimal_of(values.get("5. volume", 0), "5. volume"),
    )
