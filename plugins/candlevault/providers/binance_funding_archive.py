"""Funding rates from Binance's archive: monthly files with SHA-256 checksums.

For contracts that REST has forgotten. The listing tells which months there are; a month that
it does not hold is only believed to be without funding where nothing can come any more.
"""

from __future__ import annotations

from candlevault import windows
from candlevault.errors import BadPayload, NotPublished, UnknownSymbol
from candlevault.funding import FundingPage
from candlevault.provenance import ArchiveFile, Fetch
from candlevault.providers.binance_archive import LATE_MS
from candlevault.providers.binance_funding_rows import from_csv
from candlevault.providers.binance_listing import ArchiveListing
from candlevault.providers.binance_zip import only_member, verified
from candlevault.providers.http import HttpClient
from candlevault.windows import Window

WHAT = "funding"
"""What stands in place of a timeframe where an answer holds funding rates."""


class FundingArchive:
    """The files of funding rates below one base URL. `name` is what events are labelled with."""

    def __init__(self, base_url: str, listing_url: str, name: str, http: HttpClient) -> None:
        self.name = name
        self._base_url = base_url.rstrip("/")
        self._listing = ArchiveListing(listing_url, name, http)
        self._http = http

    def funding(self, market: str, symbol: str, window: Window, now_ms: int) -> list[FundingPage]:
        """See FundingProvider: a page for each month that `window` touches.

        Months before the first listed file and, once they ended LATE_MS before `now_ms`,
        those after the last one are empty pages whose fetch is the listing. Raises
        UnknownSymbol where nothing is listed, NotPublished for a month that may still come or
        that lies between others.
        """
        listing = self._listing.funding(market, symbol)
        if not listing.files:
            raise UnknownSymbol("no funding was ever published", provider=self.name, symbol=symbol)
        files = {file.window: file for file in listing.files}
        first, last = listing.files[0].window, listing.files[-1].window
        pages = []
        for month in windows.months(window):
            part = month.intersection(window)
            assert part is not None
            if file := files.get(month):
                pages.append(self._page(symbol, file, part))
                continue
            gone = month.start_ms >= last.end_ms and month.end_ms + LATE_MS < now_ms
            if not gone and month.end_ms > first.start_ms:
                raise NotPublished(
                    f"the archive holds no funding of {month.start:%Y-%m}",
                    provider=self.name,
                    symbol=symbol,
                    url=listing.answers[0].url,
                )
            pages.append(FundingPage(part, (), listing.fetch(self.name, symbol, WHAT)))
        return pages

    def _page(self, symbol: str, file: ArchiveFile, part: Window) -> FundingPage:
        url = f"{self._base_url}/{file.key}"
        response = verified(self._http, url, self.name, symbol)
        name = url.rpartition("/")[2].removesuffix(".zip")
        try:
            events = from_csv(only_member(response, f"{name}.csv"), file.window)
        except BadPayload as error:
            raise BadPayload(str(error), provider=self.name, symbol=symbol, url=url) from error
        fetch = Fetch(
            provider=self.name,
            symbol=symbol,
            timeframe=WHAT,
            url=url,
            sha256=response.sha256,
            bytes=len(response.body),
            rows=len(events),
            fetched_at=response.fetched_at,
            duration_ms=response.duration_ms,
            etag=response.headers.get("ETag"),
            last_modified=response.headers.get("Last-Modified"),
        )
        return FundingPage(part, tuple(e for e in events if part.contains(e.time_ms)), fetch)
