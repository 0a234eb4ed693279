"""What every provider of candles offers, and the plain records it answers with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import pyarrow as pa

from candlevault import candles
from candlevault.errors import ProviderError
from candlevault.funding import FundingPage
from candlevault.instruments import InstrumentFacts
from candlevault.provenance import ArchiveFile, Fetch
from candlevault.series import Series
from candlevault.windows import Window


@dataclass(frozen=True, slots=True)
class Page:
    """One answer: the closed candles that opened in `covers`, which it answers completely.

    An open_time inside `covers` without a row was not published by this provider.
    """

    covers: Window
    candles: pa.Table
    fetch: Fetch


@dataclass(frozen=True, slots=True)
class Problem:
    """A part of the window that this provider could not answer, and why."""

    window: Window
    error: ProviderError


@dataclass(slots=True)
class Answer:
    """All pages of one question, ascending, and what stayed unanswered."""

    pages: list[Page] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Evidence:
    """A fact with the answer that shows it: first or last open_time, or None for no candle."""

    open_time_ms: int | None
    fetch: Fetch


@dataclass(slots=True)
class Traffic:
    """What a provider's calls have cost so far in this process."""

    requests: int = 0
    retries: int = 0
    used_weight: int = 0


class CandleProvider(Protocol):
    """One way to get candles of a venue's series."""

    name: str
    traffic: Traffic

    def candles(self, series: Series, window: Window, closed_before_ms: int) -> Answer:
        """Candles of `series` that open in `window` and closed before `closed_before_ms`.

        Ascending within a page, aligned as the provider sent them, never forming. Raises
        UnknownSymbol, GeoBlocked and RateLimited; every other failure becomes a Problem of
        its part of the window.
        """
        ...


class Archive(CandleProvider, Protocol):
    """A provider of files, which also lists them."""

    def daily(self, series: Series, window: Window, closed_before_ms: int) -> Answer:
        """As candles, from daily files only."""
        ...

    def files(self, series: Series) -> list[ArchiveFile]:
        """Every file listed for the series, ascending by period."""
        ...

    def newest_file_end_ms(self, series: Series) -> int | None:
        """The end of the newest month or day listed, ms UTC; None when nothing is listed."""
        ...

    def first_candle(self, series: Series) -> Evidence | None:
        """The first candle of the oldest file; None when nothing is listed."""
        ...

    def last_candle(self, series: Series) -> Evidence | None:
        """The last candle of the newest file; None when nothing is listed."""
        ...


class FundingProvider(Protocol):
    """One way to get the funding rates of a venue's perpetual futures."""

    traffic: Traffic

    def funding(self, symbol: str, window: Window, now_ms: int) -> list[FundingPage]:
        """All events of `window`: pages, ascending, which follow each other without a hole.

        `now_ms` is the venue's clock; the window must lie before it. Raises a ProviderError
        where any part of the window stays unanswered: there is no half answer.
        """
        ...


class Venue(Protocol):
    """A venue and market: its clock, its instruments, its providers in order of priority.

    `witnesses` names the providers that must all be silent about an open_time before it can
    be known absent. `knows_life` is false where the venue's first and last candle do not
    tell when an instrument was listed and ended (a source that only reaches back a year).
    `funding` is None where no funding rates are to be had.
    """

    venue: str
    market: str
    archive: Archive | None
    rest: CandleProvider
    witnesses: tuple[str, ...]
    knows_life: bool
    funding: FundingProvider | None

    def server_time_ms(self) -> int:
        """The venue's clock, ms UTC."""
        ...

    def instrument(self, symbol: str) -> InstrumentFacts:
        """What the venue says of a symbol; raises UnknownSymbol."""
        ...

    def first_candle(self, series: Series, from_ms: int = 0) -> Evidence:
        """The first open_time published for the series at `from_ms` or later."""
        ...

    def last_candle(self, series: Series, before_ms: int | None = None) -> Evidence:
        """The newest open_time published for the series (before `before_ms`), forming or not."""
        ...


def page_of(table: pa.Table, covers: Window, closed_before_ms: int, step_ms: int) -> pa.Table:
    """The rows of `table` that belong to a page: inside `covers` and closed."""
    times = candles.open_times(table)
    keep = (times >= covers.start_ms) & (times < covers.end_ms)
    keep &= times + step_ms <= closed_before_ms
    return table if bool(np.all(keep)) else candles.take(table, keep)
