"""Yahoo Finance through the yfinance library: stocks, coins in USD, and currencies.

yfinance makes the browser-like session, asks, and reads the answer: it drops a live price
past the end, hours outside the session, and makes 30 minutes of 15. Its cookies, its caches
and its global state are left out: the chart it asks for needs none of them. The address is
not a published interface and may refuse or change at any time.

A day is the date in the exchange's time zone, here 00:00 UTC of it (London's for
currencies); prices are adjusted for splits, not for dividends. What Yahoo calls the volume of
a coin is an amount of US dollars and becomes the quote volume.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
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
from candlevault.instruments import InstrumentFacts
from candlevault.providers import quotes
from candlevault.providers.capabilities import CRYPTO, FOREX, STOCKS, YAHOO, Offer
from candlevault.providers.contract import Answer, Traffic
from candlevault.providers.http import HttpResponse, retry_after_s
from candlevault.providers.pace import Pace
from candlevault.providers.paging import DAY_MS, fetch_of, make_page, patiently, reading
from candlevault.providers.quotes import Quote
from candlevault.providers.single_source import Clock, SingleSource, now_ms
from candlevault.providers.source_symbols import Pair, crypto_pair, currency_pair
from candlevault.series import Series
from candlevault.timeframe import to_ms
from candlevault.windows import Window

_TIMEOUT_S = 30
_PRICES = ("Open", "High", "Low", "Close")
# 999 is what Yahoo answers instead of 429 at times.
_TOO_MANY = (429, 999)


def ticker_of(market: str, symbol: str) -> str:
    """`BTC-USD`, `EURUSD=X` or `AAPL`; raises UnknownSymbol."""
    if market == CRYPTO:
        return "-".join(crypto_pair(symbol, YAHOO.provider))
    if market == FOREX:
        return "".join(currency_pair(symbol, YAHOO.provider)) + "=X"
    return symbol


class Yahoo(SingleSource):
    """The chart of one ticker. `session` (of requests or curl_cffi) and `sleep` are for tests."""

    def __init__(
        self,
        market: str,
        pace: Pace,
        *,
        session: Any = None,
        clock: Clock = now_ms,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(YAHOO, market, Traffic(), clock)
        self._sleep = sleep
        self._pace = pace
        self._session = session
        self._lock = threading.Lock()

    def instrument(self, symbol: str) -> InstrumentFacts:
        """Asks for the days of the last week; raises UnknownSymbol."""
        ticker = ticker_of(self.market, symbol)
        now = self._clock()
        self._history(symbol, ticker, "1d", Window(now - 7 * DAY_MS, now))
        pair = _pair(self.market, symbol)
        return InstrumentFacts(symbol, ticker, *pair, status="LISTED", trading=True)

    def _ask(self, series: Series, offer: Offer, part: Window, closed_before_ms: int) -> Answer:
        ticker = ticker_of(self.market, series.symbol)
        daily = offer.name == "1d"
        # A day begins up to 14 hours before or after UTC's: the neighbours are asked for too.
        around = Window(part.start_ms - DAY_MS, part.end_ms + DAY_MS) if daily else part
        response, frame = self._history(series.symbol, ticker, offer.name, around)
        with reading(self.name, series.symbol, response.url):
            rows = [] if frame is None else list(_rows(frame, self.market, daily, part))
            fetch = fetch_of(self.name, series, response, 0 if frame is None else len(frame))
            return Answer([make_page(rows, part, series, closed_before_ms, fetch)])

    def _history(
        self, symbol: str, ticker: str, interval: str, window: Window
    ) -> tuple[HttpResponse, Any]:
        """The answer and its pandas frame, None for no rows; the one place that maps errors."""
        where = {"provider": self.name, "symbol": symbol}
        with self._lock:
            return patiently(
                lambda: _asked(self._chart(where), ticker, interval, window, where),
                self._count_retry,
                sleep=self._sleep,
            )

    def _chart(self, where: dict) -> _Chart:
        if self._session is None:
            from yfinance._http import new_session

            self._session = new_session()
        return _Chart(self._session, self._pace, self.traffic, where)

    def _count_retry(self) -> None:
        self.traffic.retries += 1


class _Chart:
    """What yfinance gets its answer through: one GET, noted, with our errors for refusals."""

    def __init__(self, session: Any, pace: Pace, traffic: Traffic, where: dict) -> None:
        self.session = session
        self.response: HttpResponse | None = None
        self._pace = pace
        self._traffic = traffic
        self._where = where

    def get(self, url: str, params: dict, timeout: float) -> Any:
        """yfinance's `get`: the library's own response of an answer that can be read."""
        self._pace.wait()
        self._traffic.requests += 1
        started = time.monotonic()
        try:
            answer = self.session.get(url, params=params, timeout=timeout)
        except OSError as error:
            # The errors of requests and of curl_cffi are all OSErrors.
            what = type(error).__name__
            raise Unavailable(f"no complete answer: {what}", **self._where) from error
        self.response = HttpResponse(
            url=str(answer.url),
            body=answer.content,
            headers=answer.headers,
            fetched_at=datetime.now(UTC),
            duration_ms=int((time.monotonic() - started) * 1000),
        )
        where = self._where | {"status": answer.status_code, "url": self.response.url}
        if answer.status_code in _TOO_MANY:
            wait_s = retry_after_s(answer.headers.get("Retry-After"), datetime.now(UTC), 60)
            raise RateLimited("too many requests", retry_after=wait_s, **where)
        if answer.status_code in (401, 403, 451):
            raise GeoBlocked("this address is refused", **where)
        if answer.status_code >= 500:
            raise Unavailable("server error", **where)
        with reading(where["provider"], where["symbol"], where["url"]):
            chart = quotes.parse_object(answer.content).get("chart")
            if not isinstance(chart, dict) or not {"result", "error"} <= chart.keys():
                raise BadPayload("no chart with a result and an error")
        return answer

    cache_get = get
    """yfinance would answer a past window from memory, also after it was corrected."""


def _asked(
    chart: _Chart, ticker: str, interval: str, window: Window, where: dict
) -> tuple[HttpResponse, Any]:
    from yfinance.config import YfConfig
    from yfinance.exceptions import YFPricesMissingError
    from yfinance.scrapers.history import PriceHistory

    YfConfig.debug.hide_exceptions = False
    # `end` is exclusive. The time zone serves only to read naive times, of which there are none.
    history = PriceHistory(chart, ticker, "UTC", chart.session)
    frame = None
    try:
        frame = history.history(
            interval=interval,
            start=window.start_ms // 1000,
            end=window.end_ms // 1000,
            auto_adjust=False,
            actions=False,
            timeout=_TIMEOUT_S,
        )
    except YFPricesMissingError as error:
        refusal = _refusal(error.yahoo_reason, where)
        if refusal is not None:
            raise refusal from None
    except ProviderError:
        raise
    except Exception as error:
        # On an answer of another shape yfinance raises whatever happens to go wrong first.
        raise BadPayload(f"yfinance cannot read it: {type(error).__name__}", **where) from error
    if chart.response is None:
        raise BadPayload("yfinance asked nothing", **where)
    return chart.response, frame


def _refusal(reason: str | None, where: dict) -> ProviderError | None:
    """The error of Yahoo's own words; None where they only say that there are no rows."""
    if reason is None or "Data doesn't exist for startDate" in reason:
        return None
    if "No data found" in reason:
        return UnknownSymbol(f"no such ticker: {reason[:120]}", **where)
    if "must be within the last" in reason:
        return NotOffered(reason[:160], **where)
    return BadPayload(f"refused: {reason[:160]}", **where)


def _rows(frame: Any, market: str, daily: bool, part: Window) -> Iterator[Quote]:
    """The rows of yfinance's frame that open in `part`; others are not even looked at."""
    for index, values in zip(frame.index, frame.to_dict("records"), strict=True):
        day = datetime(index.year, index.month, index.day, tzinfo=UTC)
        opened_ms = to_ms(day if daily else index.to_pydatetime())
        if not part.contains(opened_ms):
            continue
        prices = (quotes.decimal_of(values[name], name) for name in _PRICES)
        volume = quotes.decimal_of(values["Volume"], "Volume")
        if market == STOCKS:
            yield Quote(opened_ms, *prices, volume=volume)
        else:
            yield Quote(opened_ms, *prices, quote_volume=volume)


def _pair(market: str, symbol: str) -> Pair:
    if market == CRYPTO:
        return crypto_pair(symbol, YAHOO.provider)
    if market == FOREX:
        return currency_pair(symbol, YAHOO.provider)
    return Pair(symbol, "")
