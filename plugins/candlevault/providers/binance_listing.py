"""What Binance's archive lists: files of candles or funding rates, and every symbol it ever held.

The listing is that of an S3 bucket (version 1): pages of 1,000 keys, in XML. It is only
believed where every entry of a file is complete.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.etree import ElementTree

from candlevault import windows
from candlevault.errors import BadPayload
from candlevault.provenance import ArchiveFile, Fetch
from candlevault.providers.binance_dialects import dialect_of
from candlevault.providers.http import HttpClient, HttpResponse
from candlevault.series import Series
from candlevault.timeframe import Timeframe, to_ms
from candlevault.windows import Window

MONTHLY, DAILY = "monthly", "daily"

_DAY_MS = 86_400_000
_MAX_PAGES = 200
_MONTHLY_ONLY = {"1w"}
_S3 = "{http://s3.amazonaws.com/doc/2006-03-01/}"
_DATES = {MONTHLY: r"(\d{4})-(\d\d)", DAILY: r"(\d{4})-(\d\d)-(\d\d)"}
_ETAG = re.compile(r'"([!#-~]{1,128})"|([!#-~]{1,128})', re.ASCII)
# No more digits than a 64-bit integer holds.
_SIZE = re.compile(r"[0-9]{1,18}", re.ASCII)
_MODIFIED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z", re.ASCII)


def granularities(timeframe: Timeframe) -> tuple[str, ...]:
    """The kinds of files that a timeframe has: weeks come in monthly files only."""
    return (MONTHLY,) if timeframe.code in _MONTHLY_ONLY else (MONTHLY, DAILY)


def stem(series: Series) -> str:
    """What the names of a series' files begin with."""
    return f"{series.symbol}-{series.timeframe.code}"


def folder(series: Series, granularity: str) -> str:
    """Where the files of a series lie, with a slash at the end."""
    parts = (_klines(series.market, granularity), series.symbol, "/", series.timeframe.code, "/")
    return "".join(parts)


def funding_stem(symbol: str) -> str:
    """What the names of a contract's files of funding rates begin with."""
    return f"{symbol}-fundingRate"


def funding_folder(market: str, symbol: str) -> str:
    """Where a contract's monthly files of funding rates lie, with a slash at the end."""
    return f"{dialect_of(market).archive_folder}/{MONTHLY}/fundingRate/{symbol}/"


def _klines(market: str, granularity: str) -> str:
    return f"{dialect_of(market).archive_folder}/{granularity}/klines/"


@dataclass(frozen=True, slots=True)
class Listing:
    """Files of one kind, ascending by period, and the answers that listed them."""

    files: tuple[ArchiveFile, ...]
    answers: tuple[HttpResponse, ...]

    def is_silent_about(self, period: Window) -> bool:
        """Whether files are listed before and after `period`, but none that touches it."""
        held = [file.window for file in self.files]
        return (
            any(window.end_ms <= period.start_ms for window in held)
            and any(window.start_ms >= period.end_ms for window in held)
            and all(window.intersection(period) is None for window in held)
        )

    def fetch(self, provider: str, symbol: str, timeframe: str) -> Fetch:
        """The listing as the source of what it says: the URL of its first page, and the hash
        and size of all its pages joined in the order they were asked for. It holds no rows."""
        body = b"".join(answer.body for answer in self.answers)
        return Fetch(
            provider=provider,
            symbol=symbol,
            timeframe=timeframe,
            url=self.answers[0].url,
            sha256=hashlib.sha256(body).hexdigest(),
            bytes=len(body),
            rows=0,
            fetched_at=self.answers[-1].fetched_at,
            duration_ms=sum(answer.duration_ms for answer in self.answers),
        )


class ArchiveListing:
    """The S3 listing at one URL."""

    def __init__(self, url: str, name: str, http: HttpClient) -> None:
        self._url = url.rstrip("/")
        self._name = name
        self._http = http

    def of(self, series: Series) -> Listing:
        """What is listed of a series; raises BadPayload for entries that are not complete."""
        kinds = granularities(series.timeframe)
        return self._listed({kind: (folder(series, kind), stem(series)) for kind in kinds})

    def funding(self, market: str, symbol: str) -> Listing:
        """What is listed of a contract's funding rates: months only; otherwise as of()."""
        place = (funding_folder(market, symbol), funding_stem(symbol))
        return self._listed({MONTHLY: place})

    def _listed(self, places: Mapping[str, tuple[str, str]]) -> Listing:
        """The files in `places`: granularity to folder and what the names begin with."""
        files: dict[str, ArchiveFile] = {}
        answers = []
        for granularity, (prefix, begin) in places.items():
            name = re.compile(
                re.escape(prefix + begin) + "-" + _DATES[granularity] + r"\.zip", re.ASCII
            )
            for response, page in self._pages(prefix):
                answers.append(response)
                for entry in page.iterfind(f"{_S3}Contents"):
                    key = entry.findtext(f"{_S3}Key", "")
                    if match := name.fullmatch(key):
                        file = self._file(entry, key, granularity, match.groups())
                        if files.setdefault(key, file) != file:
                            raise self._bad(f"listed twice, differently: {key[:120]}")
        ascending = sorted(files.values(), key=lambda file: (file.window, file.key))
        return Listing(tuple(ascending), tuple(answers))

    def symbols(self, market: str) -> list[str]:
        """Every symbol that ever had candles in `market`, ascending; delisted ones too.

        Names that are not ASCII capitals and digits (delivery contracts) are left out.
        """
        found = set()
        for granularity in (MONTHLY, DAILY):
            prefix = _klines(market, granularity)
            name = re.compile(re.escape(prefix) + r"([A-Z0-9]{2,20})/", re.ASCII)
            for _, page in self._pages(prefix):
                for place in _prefixes(page):
                    if match := name.fullmatch(place):
                        found.add(match[1])
        return sorted(found)

    def _pages(self, prefix: str) -> Iterator[tuple[HttpResponse, ElementTree.Element]]:
        """All pages below a prefix; raises BadPayload when they do not come to an end."""
        marker = ""
        for _ in range(_MAX_PAGES):
            params = {"delimiter": "/", "prefix": prefix} | ({"marker": marker} if marker else {})
            response = self._http.get(self._url, params)
            page = _xml(response)
            yield response, page
            if page.findtext(f"{_S3}IsTruncated") != "true":
                return
            # Where no next marker is named it is the last entry.
            keys = [key.text or "" for key in page.iterfind(f"{_S3}Contents/{_S3}Key")]
            last = max([*keys, *_prefixes(page)], default="")
            following = page.findtext(f"{_S3}NextMarker") or last
            if following <= marker:
                raise self._bad("makes no progress")
            marker = following
        raise self._bad(f"does not end after {_MAX_PAGES} pages")

    def _file(
        self, entry: ElementTree.Element, key: str, granularity: str, date: tuple[str, ...]
    ) -> ArchiveFile:
        etag = _ETAG.fullmatch(entry.findtext(f"{_S3}ETag", ""))
        size = _SIZE.fullmatch(entry.findtext(f"{_S3}Size", ""))
        modified = _MODIFIED.fullmatch(entry.findtext(f"{_S3}LastModified", ""))
        if etag is None or size is None or modified is None:
            raise self._bad(f"has no usable ETag, Size and LastModified of {key[:120]}")
        try:
            period = _period(date)
        except ValueError as error:
            raise self._bad(f"names a day that does not exist: {key[:120]}") from error
        return ArchiveFile(key, granularity, period, etag[1] or etag[2], int(size[0]), modified[0])

    def _bad(self, what: str) -> BadPayload:
        return BadPayload(f"archive listing {what}", provider=self._name, url=self._url)


def _period(date: tuple[str, ...]) -> Window:
    """The month of (year, month) or the day of (year, month, day)."""
    numbers = [int(part) for part in date]
    if len(numbers) == 3:
        start_ms = to_ms(datetime(*numbers, tzinfo=UTC))
        return Window(start_ms, start_ms + _DAY_MS)
    start_ms = to_ms(datetime(*numbers, 1, tzinfo=UTC))
    return next(windows.months(Window(start_ms, start_ms + 1)))


def _prefixes(page: ElementTree.Element) -> list[str]:
    return [place.text or "" for place in page.iterfind(f"{_S3}CommonPrefixes/{_S3}Prefix")]


def _xml(response: HttpResponse) -> ElementTree.Element:
    # A NUL means an encoding in which a document type would not be seen.
    if b"<!" in response.body or b"\0" in response.body:
        raise BadPayload("XML with a document type is refused", url=response.url)
    try:
        return ElementTree.fromstring(response.body)
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise BadPayload(f"listing is not XML: {error}", url=response.url) from error
