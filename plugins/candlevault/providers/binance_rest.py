"""Binance spot candles and facts over REST (`/api/v3`), without a key.

A klines page holds at most 1,000 rows at a weight of 2, both bounds compare with the open
time and are inclusive (Binance spot API documentation). An answer without `limit` is cut at
500, so `limit` is always sent.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from candlevault import candles, windows
from candlevault.errors import BadPayload, GeoBlocked, ProviderError, RateLimited, UnknownSymbol
from candlevault.instruments import InstrumentFacts
from candlevault.provenance import Fetch
from candlevault.providers import binance_rows
from candlevault.providers.contract import Answer, Evidence, Page, Problem, page_of
from candlevault.providers.http import HttpClient, HttpResponse, message_of
from candlevault.series import Series
from candlevault.windows import Window

PAGE_SIZE = 1000
_INVALID_SYMBOL = -1121


class BinanceRest:
    """`/api/v3` of one base URL. `name` is what candles are labelled with."""

    def __init__(self, base_url: str, name: str, http: HttpClient, *, concurrency: int = 5) -> None:
        self.name = name
        self.traffic = http.traffic
        self._base_url = base_url.rstrip("/")
        self._http = http
        self._concurrency = concurrency

    def candles(self, series: Series, window: Window, closed_before_ms: int) -> Answer:
        """See CandleProvider. Pages are cut on a fixed grid of 1,000 candles.

        An answer that ends early is followed up from its last row, so that a venue that
        silently sends fewer rows than asked for is not taken to have no more.
        """
        answer = Answer()
        horizon = series.timeframe.floor(closed_before_ms)
        grid = windows.aligned(window, series.timeframe)
        if grid is None or grid.start_ms >= horizon:
            return answer
        asked = Window(grid.start_ms, min(grid.end_ms, horizon))
        pages = list(windows.chunks(asked, series.timeframe, PAGE_SIZE))
        with ThreadPoolExecutor(self._concurrency) as pool:
            futures = [pool.submit(self._pages, series, page, closed_before_ms) for page in pages]
        for part, future in zip(pages, futures, strict=True):
            try:
                answer.pages += future.result()
            except (UnknownSymbol, GeoBlocked, RateLimited):
                raise
            except ProviderError as error:
                answer.problems.append(Problem(part, error))
        return answer

    def server_time_ms(self) -> int:
        """`GET /api/v3/time`."""
        response = self._get("time")
        value = _json_object(response).get("serverTime")
        if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
            raise BadPayload("serverTime is not a positive integer", url=response.url)
        return value

    def instrument(self, symbol: str) -> InstrumentFacts:
        """`GET /api/v3/exchangeInfo?symbol=`; raises UnknownSymbol."""
        response = self._get("exchangeInfo", {"symbol": symbol}, symbol)
        listed = _json_object(response).get("symbols")
        if not isinstance(listed, list):
            raise BadPayload("exchangeInfo without symbols", url=response.url)
        for entry in listed:
            if isinstance(entry, dict) and entry.get("symbol") == symbol:
                status = str(entry.get("status", ""))
                return InstrumentFacts(
                    symbol=symbol,
                    venue_symbol=symbol,
                    base_asset=str(entry.get("baseAsset", "")),
                    quote_asset=str(entry.get("quoteAsset", "")),
                    status=status,
                    trading=status == "TRADING",
                )
        raise UnknownSymbol("the venue lists no such symbol", provider=self.name, symbol=symbol)

    def first_candle(self, series: Series, from_ms: int = 0) -> Evidence:
        """The first candle that opens at `from_ms` or later: `startTime=…&limit=1`."""
        return self._single(series, {"startTime": from_ms, "limit": 1})

    def last_candle(self, series: Series, before_ms: int | None = None) -> Evidence:
        """The newest candle, forming or not, that opens before `before_ms`: `limit=1`."""
        bound = {} if before_ms is None else {"endTime": before_ms - 1}
        return self._single(series, {**bound, "limit": 1})

    def _single(self, series: Series, bounds: dict[str, int]) -> Evidence:
        response = self._klines(series, bounds)
        table = binance_rows.from_json(response.body)
        times = candles.open_times(table).tolist()
        low, high = bounds.get("startTime", 0), bounds.get("endTime", 2**62)
        if len(times) > 1 or not all(low <= time <= high for time in times):
            raise BadPayload(
                "not the one row asked for",
                provider=self.name,
                symbol=series.symbol,
                url=response.url,
            )
        first = times[0] if times else None
        return Evidence(first, self._fetch(series, response, table.num_rows))

    def _pages(self, series: Series, part: Window, closed_before_ms: int) -> list[Page]:
        pages: list[Page] = []
        rest: Window | None = part
        while rest is not None:
            page, rest = self._page(series, rest, closed_before_ms)
            pages.append(page)
        return pages

    def _page(
        self, series: Series, part: Window, closed_before_ms: int
    ) -> tuple[Page, Window | None]:
        """The answer to one call, and the part of `part` that it may have left out."""
        bounds = {"startTime": part.start_ms, "endTime": part.end_ms - 1, "limit": PAGE_SIZE}
        response = self._klines(series, bounds)
        table = binance_rows.from_json(response.body)
        times = candles.open_times(table)
        if len(times) and not bool(np.all((times >= part.start_ms) & (times < part.end_ms))):
            raise BadPayload(
                f"rows outside the window {part} that was asked for",
                provider=self.name,
                symbol=series.symbol,
                url=response.url,
            )
        fetch = self._fetch(series, response, table.num_rows)
        step_ms = series.timeframe.step_ms
        kept = page_of(table, part, closed_before_ms, step_ms)
        following_ms = series.timeframe.floor(int(times.max())) + step_ms if len(times) else 0
        if not part.start_ms < following_ms < part.end_ms:
            return Page(part, kept, fetch), None
        covered = Window(part.start_ms, following_ms)
        return Page(covered, kept, fetch), Window(following_ms, part.end_ms)

    def _klines(self, series: Series, bounds: dict[str, int]) -> HttpResponse:
        params = {"symbol": series.symbol, "interval": series.timeframe.code, **bounds}
        return self._get("klines", params, series.symbol)

    def _get(
        self, path: str, params: dict[str, str | int] | None = None, symbol: str = ""
    ) -> HttpResponse:
        def interpret(status: int, body: bytes) -> ProviderError | None:
            if status == 400 and message_of(body).startswith(f"{_INVALID_SYMBOL} "):
                return UnknownSymbol(
                    "the venue knows no such symbol",
                    provider=self.name,
                    symbol=symbol,
                    status=status,
                )
            return None

        return self._http.get(f"{self._base_url}/api/v3/{path}", params, interpret=interpret)

    def _fetch(self, series: Series, response: HttpResponse, rows: int) -> Fetch:
        return Fetch(
            provider=self.name,
            symbol=series.symbol,
            timeframe=series.timeframe.code,
            url=response.url,
            sha256=response.sha256,
            bytes=len(response.body),
            rows=rows,
            fetched_at=response.fetched_at,
            duration_ms=response.duration_ms,
        )


def _json_object(response: HttpResponse) -> dict:
    try:
        parsed = json.loads(response.body)
    except (ValueError, RecursionError) as error:
        raise BadPayload("not JSON", url=response.url) from error
    if not isinstance(parsed, dict):
        raise BadPayload("not a JSON object", url=response.url)
    return parsed
