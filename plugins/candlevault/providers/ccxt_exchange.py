"""Any exchange that the ccxt library knows, through the library: candles of spot markets.

ccxt knows each exchange's addresses, symbols, errors and row layout. Rules from its manual:
rows are `[start in ms, open, high, low, close, base volume]`, `since` is inclusive, `limit`
is the exchange's own at most. What ccxt would leave out of an answer (rows before `since`,
beyond `limit`, or without a time) is kept here, because it shows whether the exchange
answered the question at all: Kraken sends its newest 720 rows whatever `since` says.

Candles that ccxt itself would make of trades are not used. Weeks are not offered, as each
exchange begins them on another day. No keys are used.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import requests

from candlevault.errors import BadPayload, NotOffered, ProviderError
from candlevault.instruments import InstrumentFacts
from candlevault.providers import quotes
from candlevault.providers.capabilities import Offer
from candlevault.providers.ccxt_library import Heard, capabilities_of, error_of, market_of
from candlevault.providers.contract import Answer, Problem, Traffic
from candlevault.providers.http import HttpResponse
from candlevault.providers.paging import fetch_of, make_page, patiently, reading
from candlevault.providers.quotes import Quote
from candlevault.providers.single_source import Clock, SingleSource, now_ms
from candlevault.series import Series
from candlevault.windows import Window

_TIMEOUT_MS = 30_000


class CcxtExchange(SingleSource):
    """One exchange of ccxt, which keeps the pace. `session`, `paced`, `sleep` are for tests."""

    def __init__(
        self,
        exchange_id: str,
        *,
        session: requests.Session | None = None,
        clock: Clock = now_ms,
        paced: bool = True,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        import ccxt

        self._heard = Heard()
        self._lock = threading.Lock()
        self._sleep = sleep
        session = session or requests.Session()
        session.hooks["response"].append(self._hear)
        config = {
            "session": session,
            "timeout": _TIMEOUT_MS,
            "enableRateLimit": paced,
            "enableLastJsonResponse": True,
        }
        self._exchange = getattr(ccxt, exchange_id)(config)
        if "parse_ohlcvs" not in vars(type(self._exchange)):
            self._exchange.parse_ohlcvs = self._all_rows
        super().__init__(capabilities_of(self._exchange), "spot", Traffic(), clock)

    def instrument(self, symbol: str) -> InstrumentFacts:
        """The exchange's market list; raises UnknownSymbol."""
        market = self._market(symbol)
        trading = market.get("active") is not False
        return InstrumentFacts(
            symbol=symbol,
            venue_symbol=str(market["id"]),
            base_asset=str(market["base"]),
            quote_asset=str(market["quote"]),
            status="ACTIVE" if trading else "INACTIVE",
            trading=trading,
        )

    def _ask(self, series: Series, offer: Offer, part: Window, closed_before_ms: int) -> Answer:
        symbol = self._market(series.symbol)["symbol"]
        answer = Answer()
        rest: Window | None = part
        while rest is not None:
            response, rows = self._ohlcv(series, symbol, rest)
            with reading(self.name, series.symbol, response.url):
                covers, rest, untold = _covered(series, rest, rows)
                fetch = fetch_of(self.name, series, response, len(rows))
                if untold is not None:
                    answer.problems.append(Problem(untold, self._too_old(series, untold)))
                if covers is not None:
                    answer.pages.append(make_page(rows, covers, series, closed_before_ms, fetch))
        return answer

    def _ohlcv(self, series: Series, symbol: str, part: Window) -> tuple[HttpResponse, list[Quote]]:
        step_ms = series.timeframe.step_ms
        limit = (part.end_ms - part.start_ms) // step_ms
        code = self.capabilities.offer(series).name
        with self._lock:
            listed = self._call(
                lambda: self._exchange.fetch_ohlcv(symbol, code, part.start_ms, limit),
                series.symbol,
            )
            response = self._heard.response
        if response is None:
            raise BadPayload("ccxt asked nothing", provider=self.name, symbol=series.symbol)
        with reading(self.name, series.symbol, response.url):
            return response, [_quote(row) for row in listed]

    def _market(self, symbol: str) -> dict:
        with self._lock:
            if not self._exchange.markets:
                self._call(self._exchange.load_markets, symbol)
                # From here on numbers keep the digits that the exchange wrote.
                self._exchange.number = str
            return market_of(self._exchange, symbol)

    def _call(self, call: Callable[[], Any], symbol: str) -> Any:
        """The result of a call of ccxt, its errors as ours, tried again when unavailable."""

        def once() -> Any:
            self._heard = Heard()
            self._exchange.last_json_response = None
            try:
                return call()
            except ProviderError:
                raise
            except Exception as error:
                # ccxt has an error for each refusal; on an answer of another shape it raises
                # whatever happens to go wrong first.
                raise error_of(error, self._heard, self.name, symbol) from error

        return patiently(once, self._count_retry, sleep=self._sleep)

    def _all_rows(self, listed: Any, market: Any = None, *_: Any, **__: Any) -> list:
        """All rows of an answer, in place of ccxt's selection of them.

        ccxt takes an answer in which it finds no candles, even a page of HTML, for an empty
        one. Here an empty list must be one that the exchange sent.
        """
        if not isinstance(listed, list):
            raise BadPayload("not a list of candles", provider=self.name)
        if not listed and not _holds(self._exchange.last_json_response, listed):
            raise BadPayload("no list of candles in the answer", provider=self.name)
        return [self._exchange.parse_ohlcv(row, market) for row in listed]

    def _hear(self, response: requests.Response, *_: Any, **__: Any) -> None:
        self.traffic.requests += 1
        self._heard.status = response.status_code
        self._heard.response = HttpResponse(
            url=response.url,
            body=response.content,
            headers=response.headers,
            fetched_at=datetime.now(UTC),
            duration_ms=int(response.elapsed.total_seconds() * 1000),
        )

    def _count_retry(self) -> None:
        self.traffic.retries += 1

    def _too_old(self, series: Series, untold: Window) -> NotOffered:
        return NotOffered(
            f"{self.name} begins its answer after {untold}; what was there is not told",
            provider=self.name,
            symbol=series.symbol,
        )


def _holds(answer: Any, wanted: list) -> bool:
    """Whether this very list is a part of a decoded answer."""
    if answer is wanted:
        return True
    parts = answer.values() if isinstance(answer, dict) else answer
    return isinstance(answer, (dict, list)) and any(_holds(part, wanted) for part in parts)


def _quote(row: Any) -> Quote:
    if not isinstance(row, list) or len(row) != 6:
        raise BadPayload("a candle is not a list of six values")
    prices = zip(("open", "high", "low", "close"), row[1:5], strict=True)
    return Quote(
        quotes.whole_of(row[0], "the time"),
        *(quotes.decimal_of(value, name) for name, value in prices),
        volume=quotes.decimal_of(row[5], "volume"),
    )


def _covered(
    series: Series, asked: Window, rows: list[Quote]
) -> tuple[Window | None, Window | None, Window | None]:
    """What an answer covers of the question, what is still to be asked, what stays untold.

    An exchange that has nothing at the start of the question, nothing from before it, and
    rows from beyond it, may not have begun where it was told to: of the time before its
    first row nothing is known. One that stops early is asked again from its last row on.
    """
    times = [row.open_time_ms for row in rows if row.open_time_ms >= asked.start_ms]
    if not times:
        return asked, None, None
    reaches_back = len(times) < len(rows)
    frame = series.timeframe
    first_ms = min(frame.floor(min(times)), asked.end_ms)
    following_ms = frame.floor(max(times)) + frame.step_ms
    untold = None
    if following_ms > asked.end_ms and first_ms > asked.start_ms and not reaches_back:
        untold = Window(asked.start_ms, first_ms)
        if first_ms == asked.end_ms:
            return None, None, untold
        asked = Window(first_ms, asked.end_ms)
    if following_ms < asked.end_ms:
        return Window(asked.start_ms, following_ms), Window(following_ms, asked.end_ms), untold
    return asked, None, untold
