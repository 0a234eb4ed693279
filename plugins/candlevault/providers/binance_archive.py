"""Binance's bulk archive: monthly and daily zips with SHA-256 checksums.

Monthly files answer whole past months, daily files the days since; a file that is not
published (yet), damaged or disagrees with its checksum leaves its part of the window
unanswered, for the next provider to answer. Layout: the public-data repository.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from xml.etree import ElementTree

from candlevault import candles, windows
from candlevault.errors import BadPayload, GeoBlocked, ProviderError, RateLimited
from candlevault.provenance import Fetch
from candlevault.providers import binance_rows
from candlevault.providers.contract import Answer, Page, Problem, page_of
from candlevault.providers.http import HttpClient, HttpResponse
from candlevault.series import Series
from candlevault.timeframe import to_ms
from candlevault.windows import Window

_DAY_MS = 86_400_000
_MAX_CSV_BYTES = 64 * 1024 * 1024
_MAX_RATIO = 200
_MONTHLY_ONLY = {"1w"}
_ZIP_ERRORS = (
    zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, ValueError,
    struct.error, OverflowError,
)  # fmt: skip
"""What zipfile raises for damaged files: seen by feeding it files with bytes changed."""
_S3 = "{http://s3.amazonaws.com/doc/2006-03-01/}"
_FOLDERS = {"spot": "data/spot", "um": "data/futures/um"}


class BinanceArchive:
    """The archive below one base URL, with its S3 listing."""

    def __init__(
        self,
        base_url: str,
        listing_url: str,
        name: str,
        http: HttpClient,
        *,
        concurrency: int = 5,
    ) -> None:
        self.name = name
        self.traffic = http.traffic
        self._base_url = base_url.rstrip("/")
        self._listing_url = listing_url.rstrip("/")
        self._http = http
        self._concurrency = concurrency

    def candles(self, series: Series, window: Window, closed_before_ms: int) -> Answer:
        """See CandleProvider. A month without a usable monthly file is asked by days."""
        answer = Answer()
        past_months, days = [], []
        for month in windows.months(window):
            if month.end_ms <= closed_before_ms:
                past_months.append(month)
            else:
                days.extend(_days(month, window, closed_before_ms))
        with ThreadPoolExecutor(self._concurrency) as pool:
            failed = self._ask(pool, series, window, past_months, "monthly", answer)
            for month in failed:
                days.extend(_days(month, window, closed_before_ms))
            if series.timeframe.code not in _MONTHLY_ONLY:
                self._ask(pool, series, window, days, "daily", answer)
        answer.pages.sort(key=lambda page: page.covers)
        return answer

    def newest_file_end_ms(self, series: Series) -> int | None:
        """The end of the newest month or day the archive lists for the series, ms UTC.

        None when it lists nothing: the symbol was never archived.
        """
        ends = []
        for granularity in ("monthly", "daily"):
            prefix = self._folder(series, granularity)
            pattern = re.compile(
                re.escape(prefix + _stem(series)) + r"-(\d{4})-(\d\d)(?:-(\d\d))?\.zip", re.ASCII
            )
            for key in self._list(prefix):
                if (match := pattern.fullmatch(key)) is None:
                    continue
                try:
                    ends.append(_period_end_ms(*match.groups()))
                except ValueError as error:
                    raise BadPayload(f"no such day: {key[:80]}", provider=self.name) from error
        return max(ends, default=None)

    def _ask(
        self,
        pool: ThreadPoolExecutor,
        series: Series,
        window: Window,
        periods: list[Window],
        granularity: str,
        answer: Answer,
    ) -> list[Window]:
        """Fetch the files of `periods` into `answer`; returns the periods that failed."""
        wanted = [(period, period.intersection(window)) for period in periods]
        futures = [
            (period, part, pool.submit(self._file, series, period, part, granularity))
            for period, part in wanted
            if part is not None
        ]
        failed = []
        for period, part, future in futures:
            try:
                answer.pages.append(future.result())
            except (GeoBlocked, RateLimited):
                raise
            except ProviderError as error:
                failed.append(period)
                answer.problems.append(Problem(part, error))
        return failed

    def _file(self, series: Series, period: Window, part: Window, granularity: str) -> Page:
        form = "%Y-%m" if granularity == "monthly" else "%Y-%m-%d"
        stem = f"{_stem(series)}-{period.start.strftime(form)}"
        url = f"{self._base_url}/{self._folder(series, granularity)}{stem}.zip"
        response = self._verified(url, f"{stem}.zip", series.symbol)
        table = binance_rows.from_csv(_only_member(response, f"{stem}.csv"))
        fetch = Fetch(
            provider=self.name,
            symbol=series.symbol,
            timeframe=series.timeframe.code,
            url=url,
            sha256=response.sha256,
            bytes=len(response.body),
            rows=table.num_rows,
            fetched_at=response.fetched_at,
            duration_ms=response.duration_ms,
            etag=response.headers.get("ETag"),
            last_modified=response.headers.get("Last-Modified"),
        )
        times = candles.open_times(table)
        if len(times) and (times.min() < period.start_ms or times.max() >= period.end_ms):
            raise BadPayload(
                f"rows outside {period}, which the file is named for",
                provider=self.name,
                symbol=series.symbol,
                url=url,
            )
        # A file holds whole past periods, so every candle in it has closed.
        return Page(part, page_of(table, part, period.end_ms, series.timeframe.step_ms), fetch)

    def _verified(self, url: str, file_name: str, symbol: str) -> HttpResponse:
        """The zip, its checksum verified; fetched a second time when it does not agree."""
        for last_try in (False, True):
            response = self._http.get(url)
            stated = self._http.get(f"{url}.CHECKSUM").body
            match = re.fullmatch(rb"([0-9a-fA-F]{64}) [ *](\S+)\s*", stated)
            named = match is not None and match[2].decode("ascii", "replace") == file_name
            if named and match[1].decode().lower() == response.sha256:
                return response
            if not last_try:
                self._http.traffic.retries += 1
        raise BadPayload(
            "file does not agree with its CHECKSUM, twice",
            provider=self.name,
            symbol=symbol,
            url=url,
        )

    def _folder(self, series: Series, granularity: str) -> str:
        kind = _FOLDERS[series.market]
        return f"{kind}/{granularity}/klines/{series.symbol}/{series.timeframe.code}/"

    def _list(self, prefix: str) -> list[str]:
        keys: list[str] = []
        marker = ""
        while True:
            params = {"delimiter": "/", "prefix": prefix} | ({"marker": marker} if marker else {})
            root = _xml(self._http.get(self._listing_url, params))
            page = [key.text or "" for key in root.iterfind(f"{_S3}Contents/{_S3}Key")]
            keys.extend(page)
            if root.findtext(f"{_S3}IsTruncated") != "true":
                return keys
            following = root.findtext(f"{_S3}NextMarker") or (page[-1] if page else "")
            if following <= marker:
                raise BadPayload("archive listing makes no progress", provider=self.name)
            marker = following


def _stem(series: Series) -> str:
    return f"{series.symbol}-{series.timeframe.code}"


def _days(month: Window, window: Window, closed_before_ms: int) -> list[Window]:
    part = month.intersection(window)
    if part is None:
        return []
    first = part.start_ms - part.start_ms % _DAY_MS
    starts = range(first, min(part.end_ms, closed_before_ms - _DAY_MS + 1), _DAY_MS)
    return [Window(start, start + _DAY_MS) for start in starts]


def _period_end_ms(year: str, month: str, day: str | None) -> int:
    start = datetime(int(year), int(month), int(day or 1), tzinfo=UTC)
    if day is not None:
        return to_ms(start) + _DAY_MS
    return next(windows.months(Window(to_ms(start), to_ms(start) + 1))).end_ms


def _only_member(response: HttpResponse, name: str) -> bytes:
    """The bytes of the one member `name`, read to its end so that its CRC is checked."""
    try:
        with zipfile.ZipFile(io.BytesIO(response.body)) as archive:
            members = archive.infolist()
            if len(members) != 1 or members[0].filename != name or members[0].flag_bits & 1:
                raise BadPayload(f"zip must hold exactly {name}", url=response.url)
            if members[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise BadPayload("zip is compressed in an unusual way", url=response.url)
            with archive.open(members[0]) as member:
                # Counted while reading: sizes in headers are only claims.
                body = member.read(_MAX_CSV_BYTES + 1)
    except _ZIP_ERRORS as error:
        raise BadPayload(f"damaged zip: {error}", url=response.url) from error
    if len(body) > _MAX_CSV_BYTES or len(body) > _MAX_RATIO * max(len(response.body), 1024):
        raise BadPayload("zip expands beyond reason", url=response.url)
    return body


def _xml(response: HttpResponse) -> ElementTree.Element:
    # A NUL means an encoding in which a document type would not be seen.
    if b"<!" in response.body or b"\0" in response.body:
        raise BadPayload("XML with a document type is refused", url=response.url)
    try:
        return ElementTree.fromstring(response.body)
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise BadPayload(f"listing is not XML: {error}", url=response.url) from error
