"""Binance's funding rates of perpetual futures: REST, and the archive where REST has forgotten.

Both bounds of a fundingRate call compare with the funding time and are inclusive; answers
ascend from startTime and hold 100 events unless `limit` says otherwise, at most 1,000. The
endpoint has a rate limit of its own: 500 calls in five minutes from one address, shared with
fundingInfo (Binance USDⓈ-M futures API documentation).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from candlevault.errors import BadPayload, ProviderError, UnknownSymbol
from candlevault.funding import FundingEvent, FundingPage
from candlevault.provenance import Fetch
from candlevault.providers.binance_dialects import UM, Dialect
from candlevault.providers.binance_funding_archive import WHAT, FundingArchive
from candlevault.providers.binance_funding_rows import from_json
from candlevault.providers.binance_rest import unknown_symbol
from candlevault.providers.http import HttpClient
from candlevault.windows import Window

CALLS_PER_MINUTE = 90
"""A little below the limit, which other processes may share."""

_LIMIT = 1000
_LEAST_CUT = 100
"""No answer is cut at fewer events than the documented default: a shorter one is whole."""

_FOREVER = Window(0, 2**53)


class BinanceFunding:
    """Funding rates of one market. `name` is what events of REST are labelled with; `turn` is
    called before every question to REST and may wait (a Pace)."""

    def __init__(
        self,
        base_url: str,
        name: str,
        http: HttpClient,
        archive: FundingArchive | None = None,
        *,
        dialect: Dialect = UM,
        turn: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.traffic = http.traffic
        self._url = f"{base_url.rstrip('/')}{dialect.rest_path}/fundingRate"
        self._http = http
        self._archive = archive
        self._market = dialect.market
        self._turn = turn

    def funding(self, symbol: str, window: Window, now_ms: int) -> list[FundingPage]:
        """See FundingProvider. The archive is asked for what REST does not know at all.

        An answer that may have been cut is followed up from its last event. A window without
        any event is only believed of a symbol that has had one at some time.
        """
        try:
            return self._rest(symbol, window)
        except UnknownSymbol:
            if self._archive is None:
                raise
            return self._archive.funding(self._market, symbol, window, now_ms)

    def _rest(self, symbol: str, window: Window) -> list[FundingPage]:
        pages: list[FundingPage] = []
        rest: Window | None = window
        while rest is not None:
            bounds = {"startTime": rest.start_ms, "endTime": rest.end_ms - 1, "limit": _LIMIT}
            events, fetch = self._ask(symbol, bounds, rest)
            following_ms = events[-1].time_ms + 1 if len(events) >= _LEAST_CUT else rest.end_ms
            pages.append(FundingPage(Window(rest.start_ms, following_ms), events, fetch))
            rest = Window(following_ms, rest.end_ms) if following_ms < rest.end_ms else None
        if not any(page.events for page in pages) and not self._has_any(symbol):
            raise UnknownSymbol(
                "the venue shows no funding of it at any time", provider=self.name, symbol=symbol
            )
        return pages

    def _has_any(self, symbol: str) -> bool:
        """Without bounds the newest event is answered."""
        return len(self._ask(symbol, {"limit": 1}, _FOREVER)[0]) > 0

    def _ask(
        self, symbol: str, bounds: Mapping[str, int], window: Window
    ) -> tuple[tuple[FundingEvent, ...], Fetch]:
        """The events of one answer, which must lie inside `window`."""

        def interpret(status: int, body: bytes) -> ProviderError | None:
            return unknown_symbol(status, body, self.name, symbol)

        self._turn()
        params = {"symbol": symbol, **bounds}
        response = self._http.get(self._url, params, interpret=interpret)
        try:
            events = from_json(response.body, symbol, window)
        except BadPayload as error:
            raise BadPayload(
                str(error), provider=self.name, symbol=symbol, url=response.url
            ) from error
        fetch = Fetch(
            provider=self.name,
            symbol=symbol,
            timeframe=WHAT,
            url=response.url,
            sha256=response.sha256,
            bytes=len(response.body),
            rows=len(events),
            fetched_at=response.fetched_at,
            duration_ms=response.duration_ms,
        )
        return events, fetch
