"""Binance's candles and facts over REST, without a key: spot and USDT-margined futures.

Both bounds of a klines call compare with the open time and are inclusive (Binance API
documentation). An answer without `limit` is cut at 500, so `limit` is always sent. What
differs between the markets stands in binance_dialects.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from candlevault import candles, windows
from candlevault.errors import BadPayload, GeoBlocked, ProviderError, RateLimited, UnknownSymbol
from candlevault.instruments import InstrumentFacts
from candlevault.provenance import Fetch
from candlevault.providers import binance_instruments, binance_rows
from candlevault.providers.binance_dialects import SPOT, Dialect
from candlevault.providers.contract import Answer, Evidence, Page, Problem, page_of
from candlevault.providers.http import HttpClient, HttpResponse, message_of
from candlevault.series import Series
from candlevault.windows import Window

_INVALID_SYMBOL = -1121


def unknown_symbol(status: int, body: bytes, provider: str, symbol: str) -> UnknownSymbol | None:
    """The error of an answer that says so; None for any other answer."""
    if status == 400 and message_of(body).startswith(f"{_INVALID_SYMBOL} "):
        return UnknownSymbol(
            "the venue knows no such symbol", provider=provider, symbol=symbol, status=status
        )
    return None


class BinanceRest:
    """One market's REST API below a base URL. `name` is what candles are labelled with.

    `skipped` counts the entries that the last instruments() could not use.
    """

    def __init__(
        self,
        base_url: str,
        name: str,
        http: HttpClient,
        *,
        dialect: Dialect = SPOT,
        concurrency: int = 5,
    ) -> None:
        self.name = name
        self.traffic = http.traffic
        self.skipped = 0
        self._base_url = base_url.rstrip("/") + dialect.rest_path
        self._dialect = dialect
        self._http = http
        self._concurrency = concurrency

    def candles(self, series: Series, window: Window, closed_before_ms: int) -> Answer:
        """See CandleProvider. Pages are cut on a fixed grid of full pages.

        An answer that ends early is followed up from its last row, so that a venue that
        silently sends fewer rows than asked for is not taken to have no more.
        """
        answer = Answer()
        horizon = series.timeframe.floor(closed_before_ms)
        grid = windows.aligned(window, series.timeframe)
        if grid is None or grid.start_ms >= horizon:
            return answer
        asked = Window(grid.start_ms, min(grid.end_ms, horizon))
        pages = list(windows.chunks(asked, series.timeframe, self._dialect.page_size))
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
        """The venue's clock (`time`), ms UTC."""
        response = self._get("time")
        value = binance_instruments.json_object(response).get("serverTime")
        if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
            raise BadPayload("serverTime is not a positive integer", url=response.url)
        return value

    def instrument(self, symbol: str) -> InstrumentFacts:
        """What `exchangeInfo` says of a symbol; raises UnknownSymbol."""
        only = {"symbol": symbol} if self._dialect.takes_symbol else self._dialect.everything
        response = self._get("exchangeInfo", only, symbol)
        return binance_instruments.one_of(response, symbol, self._dialect, self.name)

    def instruments(self) -> list[InstrumentFacts]:
        """Every instrument of the market (`exchangeInfo`), trading or not, by symbol.

        Entries without a usable name are left out and counted in `skipped`.
        """
        response = self._get("exchangeInfo", self._dialect.everything)
        found = binance_instruments.all_of(response, self._dialect)
        self.skipped = found.skipped
        return found.facts

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
        limit = self._dialect.page_size
        bounds = {"startTime": part.start_ms, "endTime": part.end_ms - 1, "limit": limit}
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
        self, path: str, params: Mapping[str, str | int] | None = None, symbol: str = ""
    ) -> HttpResponse:
        def interpret(status: int, body: bytes) -> ProviderError | None:
            return unknown_symbol(status, body, self.name, symbol)

        return self._http.get(f"{self._base_url}/{path}", params, interpret=interpret)

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
