"""OANDA v20: candles of currency pairs over REST, at the middle between bid and ask.

Rules from its documentation: days and weeks follow New York unless the alignment is given,
as it always is here (00:00 UTC, weeks from Monday); intervals without ticks are absent;
`complete` is false for the forming candle; a call for more than 5,000 candles is refused;
the volume counts ticks, not amounts. The practice host answers keys of practice accounts.
"""

from __future__ import annotations

import re
from datetime import datetime

from candlevault.errors import BadPayload, KeyMissing, ProviderError, UnknownSymbol
from candlevault.instruments import InstrumentFacts
from candlevault.providers import quotes
from candlevault.providers.capabilities import OANDA, Offer
from candlevault.providers.contract import Answer
from candlevault.providers.http import HttpClient, HttpResponse
from candlevault.providers.paging import fetch_of, make_page, reading
from candlevault.providers.quotes import Quote
from candlevault.providers.single_source import Clock, SingleSource, now_ms
from candlevault.providers.source_symbols import currency_pair
from candlevault.series import Series
from candlevault.timeframe import from_ms, to_ms
from candlevault.windows import Window

_ALIGNED_TO_UTC = {
    "dailyAlignment": 0,
    "alignmentTimezone": "UTC",
    "weeklyAlignment": "Monday",
}
_TIME = re.compile(r"([0-9-]{10}T[0-9:]{8})(?:\.0{1,9})?Z", re.ASCII)


def instrument_of(symbol: str) -> str:
    """`EURUSD` as `EUR_USD`; raises UnknownSymbol."""
    return "_".join(currency_pair(symbol, OANDA.provider))


class Oanda(SingleSource):
    """`/v3/instruments/{instrument}/candles` of one base URL."""

    def __init__(
        self,
        market: str,
        http: HttpClient,
        *,
        base_url: str = OANDA.base_url,
        clock: Clock = now_ms,
    ) -> None:
        super().__init__(OANDA, market, http.traffic, clock)
        self._http = http
        self._base_url = base_url.rstrip("/")

    def instrument(self, symbol: str) -> InstrumentFacts:
        """Asks for one candle: the list of instruments needs an account; raises UnknownSymbol."""
        name = instrument_of(symbol)
        response = self._get(symbol, {"granularity": "D", "count": 1})
        with reading(self.name, symbol, response.url):
            rows_of(response.body, name, "D")
        base, quote = currency_pair(symbol, self.name)
        return InstrumentFacts(symbol, name, base, quote, status="TRADEABLE", trading=True)

    def _ask(self, series: Series, offer: Offer, part: Window, closed_before_ms: int) -> Answer:
        params = {
            "granularity": offer.name,
            "from": f"{from_ms(part.start_ms):%Y-%m-%dT%H:%M:%SZ}",
            "to": f"{from_ms(part.end_ms):%Y-%m-%dT%H:%M:%SZ}",
            "includeFirst": "true",
        }
        response = self._get(series.symbol, params)
        with reading(self.name, series.symbol, response.url):
            rows = rows_of(response.body, instrument_of(series.symbol), offer.name)
            fetch = fetch_of(self.name, series, response, len(rows))
            return Answer([make_page(rows, part, series, closed_before_ms, fetch)])

    def _get(self, symbol: str, params: dict[str, str | int]) -> HttpResponse:
        def interpret(status: int, body: bytes) -> ProviderError | None:
            words = _words(body)
            where = {"provider": self.name, "symbol": symbol, "status": status}
            if status == 401:
                return KeyMissing(
                    f"the key is refused ({words})", connection=OANDA.connection, **where
                )
            if status == 404 or (status == 400 and "'instrument'" in words):
                return UnknownSymbol(f"no such instrument: {words}", **where)
            return None

        url = f"{self._base_url}/v3/instruments/{instrument_of(symbol)}/candles"
        everything = {"price": "M", **_ALIGNED_TO_UTC, **params}
        return self._http.get(url, everything, interpret=interpret)


def rows_of(body: bytes, instrument: str, granularity: str) -> list[Quote]:
    """The complete candles of an answer about `instrument`; raises BadPayload."""
    answer = quotes.parse_object(body)
    listed = answer.get("candles")
    # Old answers write DE30/EUR.
    if str(answer.get("instrument")).replace("/", "_") != instrument:
        raise BadPayload("not the instrument asked for")
    if answer.get("granularity") != granularity:
        raise BadPayload("not the granularity asked for")
    if not isinstance(listed, list) or not all(isinstance(row, dict) for row in listed):
        raise BadPayload("candles is not a list of objects")
    for row in listed:
        if not isinstance(row.get("complete"), bool) or not isinstance(row.get("mid"), dict):
            raise BadPayload("a candle without `complete` or its prices `mid`")
    return [_quote(row) for row in listed if row["complete"]]


def _quote(row: dict) -> Quote:
    time = _TIME.fullmatch(str(row.get("time")))
    if time is None:
        raise BadPayload(f"not a time of whole seconds: {str(row.get('time'))[:40]!r}")
    try:
        opened_ms = to_ms(datetime.fromisoformat(time[1] + "+00:00"))
    except ValueError as error:
        raise BadPayload(f"no such time: {time[1]}") from error
    prices = row["mid"]
    return Quote(
        opened_ms,
        *(quotes.decimal_of(prices.get(name), name) for name in ("o", "h", "l", "c")),
        volume=quotes.decimal_of(row.get("volume"), "volume"),
    )


def _words(body: bytes) -> str:
    return str(quotes.words_of(body).get("errorMessage", ""))[:120]
