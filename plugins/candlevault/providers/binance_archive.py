"""Binance's bulk archive: monthly and daily zips with SHA-256 checksums.

Monthly files answer whole past months, daily files the days since; a file that is not
published (yet), damaged or disagrees with its checksum leaves its part of the window
unanswered, for the next provider to answer. Layout: the public-data repository.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

import pyarrow as pa

from candlevault import candles, windows
from candlevault.errors import BadPayload, GeoBlocked, NotPublished, ProviderError, RateLimited
from candlevault.provenance import ArchiveFile, Fetch
from candlevault.providers import binance_rows
from candlevault.providers.binance_listing import (
    DAILY,
    MONTHLY,
    ArchiveListing,
    folder,
    granularities,
    stem,
)
from candlevault.providers.binance_zip import only_member, verified
from candlevault.providers.contract import Answer, Evidence, Page, Problem, page_of
from candlevault.providers.http import HttpClient
from candlevault.series import Series
from candlevault.timeframe import to_ms
from candlevault.windows import Window

_DAY_MS = 86_400_000
LATE_MS = 45 * _DAY_MS
"""How long after its end a month may still be published. Monthly files have come up to two
weeks late, and runs of daily ones were missing for a week (reports in the public-data
repository); what is silent for longer than this was never published."""


@dataclass(frozen=True, slots=True)
class _Question:
    """What candles() and daily() were asked."""

    series: Series
    window: Window
    closed_before_ms: int


@dataclass(frozen=True, slots=True)
class _Miss:
    """A month or day whose file was not had, and the part of the window it would answer."""

    period: Window
    part: Window
    error: ProviderError


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
        self._listing = ArchiveListing(listing_url, name, http)
        self._http = http
        self._concurrency = concurrency

    def candles(self, series: Series, window: Window, closed_before_ms: int) -> Answer:
        """See CandleProvider. A month without a usable monthly file is asked by days.

        Days (weeks: months) that have no file, neither of their own nor of their month, are
        answered by an empty page once the listing shows files on both sides of them and the
        month has ended LATE_MS ago: the page's fetch is the listing.
        """
        answer = Answer()
        question = _Question(series, window, closed_before_ms)
        past_months, days = [], []
        for month in windows.months(window):
            if month.end_ms <= closed_before_ms:
                past_months.append(month)
            else:
                days += _days(window.intersection(month), closed_before_ms)
        has_days = DAILY in granularities(series.timeframe)
        day_misses: list[_Miss] = []
        with ThreadPoolExecutor(self._concurrency) as pool:
            misses = self._ask(pool, question, past_months, MONTHLY, answer)
            if has_days:
                for miss in misses:
                    days += _days(miss.part, closed_before_ms)
                day_misses = self._ask(pool, question, days, DAILY, answer)
        old = [
            miss
            for miss in misses
            if isinstance(miss.error, NotPublished)
            and miss.period.end_ms + LATE_MS < closed_before_ms
        ]
        silent = _within(day_misses, old) if has_days else old
        explained = self._pauses(series, silent, answer)
        answer.problems += [
            Problem(miss.part, miss.error)
            for miss in (*misses, *day_misses)
            if windows.subtract(miss.part, explained)
        ]
        answer.pages.sort(key=lambda page: page.covers)
        return answer

    def daily(self, series: Series, window: Window, closed_before_ms: int) -> Answer:
        """What the daily files alone say, as candles() answers: for a second opinion on a
        month whose file is doubted. Days that are not over are not asked for."""
        answer = Answer()
        if DAILY not in granularities(series.timeframe):
            error = NotPublished("no daily files of weeks", provider=self.name)
            return Answer(problems=[Problem(window, error)])
        question = _Question(series, window, closed_before_ms)
        days = _days(window, closed_before_ms)
        with ThreadPoolExecutor(self._concurrency) as pool:
            misses = self._ask(pool, question, days, DAILY, answer)
        answer.problems += [Problem(miss.part, miss.error) for miss in misses]
        return answer

    def files(self, series: Series) -> list[ArchiveFile]:
        """Every zip that the archive lists for the series, ascending by period (a day before
        the month that begins with it)."""
        return list(self._listing.of(series).files)

    def newest_file_end_ms(self, series: Series) -> int | None:
        """The end of the newest month or day the archive lists for the series, ms UTC.

        None when it lists nothing: the symbol was never archived.
        """
        return max((file.window.end_ms for file in self.files(series)), default=None)

    def symbols(self, market: str = "spot") -> list[str]:
        """Every symbol whose candles were ever archived, ascending; delisted ones too."""
        return self._listing.symbols(market)

    def first_candle(self, series: Series) -> Evidence | None:
        """The first candle of the oldest file, for symbols that REST has forgotten.

        The evidence is that file. None when nothing is listed.
        """
        return self._outermost(series, newest=False)

    def last_candle(self, series: Series) -> Evidence | None:
        """The last candle of the newest file; otherwise like first_candle."""
        return self._outermost(series, newest=True)

    def _outermost(self, series: Series, *, newest: bool) -> Evidence | None:
        """Files are read from the outside in, until no other can hold a candle further out:
        a monthly file may lack days that a daily one has, and the other way round."""
        files = sorted(
            self.files(series),
            key=lambda file: -file.window.end_ms if newest else file.window.start_ms,
        )
        edge_ms: int | None = None
        fetch: Fetch | None = None
        for file in files:
            if edge_ms is not None and (
                file.window.end_ms <= edge_ms + series.timeframe.step_ms
                if newest
                else file.window.start_ms >= edge_ms
            ):
                break
            table, of_file = self._file(series, file.window, file.granularity)
            times = candles.open_times(table)
            if not len(times):
                continue
            found_ms = int(times.max() if newest else times.min())
            if edge_ms is None or (found_ms > edge_ms if newest else found_ms < edge_ms):
                edge_ms, fetch = found_ms, of_file
        return None if fetch is None else Evidence(edge_ms, fetch)

    def _pauses(self, series: Series, misses: list[_Miss], answer: Answer) -> list[Window]:
        """The parts of `misses` in which, by its listing, the archive has published nothing;
        they are added to `answer` as empty pages. Asks for the listing only if need be."""
        if not misses:
            return []
        try:
            listing = self._listing.of(series)
        except RateLimited:
            raise
        except ProviderError as error:
            # The listing has an address of its own: one that is refused there may still
            # be served the files.
            parts = windows.merge(miss.part for miss in misses)
            answer.problems += [Problem(part, error) for part in parts]
            return []
        silent = windows.merge(miss.part for miss in misses if listing.is_silent_about(miss.period))
        fetch = listing.fetch(self.name, series.symbol, series.timeframe.code)
        answer.pages += [Page(part, candles.empty(), fetch) for part in silent]
        return silent

    def _ask(
        self,
        pool: ThreadPoolExecutor,
        question: _Question,
        periods: list[Window],
        granularity: str,
        answer: Answer,
    ) -> list[_Miss]:
        """Fetch the files of `periods` into `answer`; returns those that were not had."""
        wanted = [(period, period.intersection(question.window)) for period in periods]
        futures = [
            (period, part, pool.submit(self._page, question, period, part, granularity))
            for period, part in wanted
            if part is not None
        ]
        misses = []
        for period, part, future in futures:
            try:
                answer.pages.append(future.result())
            except (GeoBlocked, RateLimited):
                raise
            except ProviderError as error:
                misses.append(_Miss(period, part, error))
        return misses

    def _page(self, question: _Question, period: Window, part: Window, granularity: str) -> Page:
        table, fetch = self._file(question.series, period, granularity)
        timeframe = question.series.timeframe
        # A week may run on into the next month: a file that was written before its end holds
        # it in part or not at all, and either way says nothing of it.
        written_ms = max(period.end_ms, _instant_ms(fetch.last_modified))
        last_ms = timeframe.floor(period.end_ms - 1)
        if last_ms + timeframe.step_ms > written_ms:
            before = Window(period.start_ms, last_ms).intersection(part)
            if before is None:
                raise NotPublished(
                    "the file was written before its last candle was over",
                    provider=self.name,
                    symbol=question.series.symbol,
                    url=fetch.url,
                )
            part = before
        kept = page_of(table, part, question.closed_before_ms, timeframe.step_ms)
        return Page(part, kept, fetch)

    def _file(self, series: Series, period: Window, granularity: str) -> tuple[pa.Table, Fetch]:
        """All candles of one file, verified."""
        form = "%Y-%m" if granularity == MONTHLY else "%Y-%m-%d"
        name = f"{stem(series)}-{period.start.strftime(form)}"
        url = f"{self._base_url}/{folder(series, granularity)}{name}.zip"
        response = verified(self._http, url, self.name, series.symbol)
        table = binance_rows.from_csv(only_member(response, f"{name}.csv"))
        times = candles.open_times(table)
        if len(times) and (times.min() < period.start_ms or times.max() >= period.end_ms):
            raise BadPayload(
                f"rows outside {period}, which the file is named for",
                provider=self.name,
                symbol=series.symbol,
                url=url,
            )
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
        return table, fetch


def _instant_ms(header: str | None) -> int:
    """The instant of a Last-Modified header, ms UTC; 0 when it tells none."""
    try:
        moment = parsedate_to_datetime(header or "")
        return to_ms(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    except (ValueError, TypeError, OverflowError):
        return 0


def _days(part: Window | None, closed_before_ms: int) -> list[Window]:
    """The days that `part` touches and that were over before `closed_before_ms`."""
    if part is None:
        return []
    first = part.start_ms - part.start_ms % _DAY_MS
    starts = range(first, min(part.end_ms, closed_before_ms - _DAY_MS + 1), _DAY_MS)
    return [Window(start, start + _DAY_MS) for start in starts]


def _within(days: list[_Miss], months: list[_Miss]) -> list[_Miss]:
    """The unpublished days of unpublished months."""
    return [
        day
        for day in days
        if isinstance(day.error, NotPublished)
        and any(month.period.contains(day.period.start_ms) for month in months)
    ]
