"""How an answer is made up of pages: pure functions shared by all single sources."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np

from candlevault import candles, windows
from candlevault.errors import (
    BadPayload,
    GeoBlocked,
    KeyMissing,
    NotOffered,
    ProviderError,
    RateLimited,
    Unavailable,
    UnknownSymbol,
)
from candlevault.provenance import Fetch
from candlevault.providers.contract import Answer, Page, Problem, page_of
from candlevault.providers.http import HttpResponse
from candlevault.providers.quotes import Quote, to_table
from candlevault.series import Series
from candlevault.windows import Window

DAY_MS = 86_400_000
_BACKOFF_S = (0.5, 1.0, 2.0)

T = TypeVar("T")


def question(series: Series, window: Window, closed_before_ms: int) -> Window | None:
    """The part of a window to ask for: grid points, up to the last closed candle."""
    frame = series.timeframe
    grid = windows.aligned(window, frame)
    return grid and grid.intersection(Window(0, max(1, frame.floor(closed_before_ms))))


def within_reach(
    name: str, series: Series, asked: Window, days: int | None, now_ms: int
) -> tuple[Window | None, list[Problem]]:
    """The part of a question that a source reaches back to, and the rest as a Problem."""
    if days is None:
        return asked, []
    earliest_ms = series.timeframe.ceil(now_ms - days * DAY_MS)
    beyond = asked.intersection(Window(0, earliest_ms))
    if beyond is None:
        return asked, []
    error = NotOffered(
        f"{name} reaches back {days} days for {series.timeframe} candles, not to {beyond}",
        provider=name,
        symbol=series.symbol,
    )
    near = Window(earliest_ms, asked.end_ms) if earliest_ms < asked.end_ms else None
    return near, [Problem(beyond, error)]


def gather(parts: Iterable[Window], ask: Callable[[Window], Answer]) -> Answer:
    """The answers to all parts as one.

    Raises what concerns the whole source (UnknownSymbol, GeoBlocked, RateLimited,
    KeyMissing); any other ProviderError becomes a Problem of its part.
    """
    answer = Answer()
    for part in parts:
        try:
            one = ask(part)
        except (UnknownSymbol, GeoBlocked, RateLimited, KeyMissing):
            raise
        except ProviderError as error:
            answer.problems.append(Problem(part, error))
        else:
            answer.pages += one.pages
            answer.problems += one.problems
    return answer


def make_page(
    quotes: Iterable[Quote],
    covers: Window,
    series: Series,
    closed_before_ms: int,
    fetch: Fetch,
) -> Page:
    """The page of one answer: its closed rows inside `covers`, ascending.

    Raises BadPayload for a row off the timeframe's grid: a source whose day begins
    elsewhere has no candles of this series.
    """
    frame = series.timeframe
    table = page_of(to_table(quotes, frame), covers, closed_before_ms, frame.step_ms)
    times = candles.open_times(table)
    strays = times[(times - frame.origin_ms) % frame.step_ms != 0]
    if len(strays):
        raise BadPayload(f"{len(strays)} candles do not start on the {frame} grid")
    return Page(covers, table, fetch)


def fetch_of(name: str, series: Series, response: HttpResponse, rows: int) -> Fetch:
    """Where the candles of a page came from; `rows` counts all rows of the answer."""
    return Fetch(
        provider=name,
        symbol=series.symbol,
        timeframe=series.timeframe.code,
        url=response.url,
        sha256=response.sha256,
        bytes=len(response.body),
        rows=rows,
        fetched_at=response.fetched_at,
        duration_ms=response.duration_ms,
    )


def smallest_step_ms(open_times_ms: Iterable[int]) -> int | None:
    """The least distance between two different instants; None for fewer than two."""
    times = np.unique(np.fromiter(open_times_ms, dtype=np.int64))
    return int(np.diff(times).min()) if len(times) > 1 else None


@contextlib.contextmanager
def reading(name: str, symbol: str, url: str) -> Iterator[None]:
    """Says of a BadPayload raised inside where the answer came from."""
    try:
        yield
    except BadPayload as error:
        if error.provider:
            raise
        raise BadPayload(str(error), provider=name, symbol=symbol, url=url) from None


def patiently(
    call: Callable[[], T],
    on_retry: Callable[[], None],
    *,
    sleep: Callable[[float], None] = time.sleep,
    jitter: Callable[[], float] = random.random,
) -> T:
    """The result of `call`, tried again up to three times while it raises Unavailable.

    For libraries that bring their own HTTP client; ours does the same by itself.
    """
    for pause_s in _BACKOFF_S:
        try:
            return call()
        except Unavailable:
            on_retry()
            sleep(pause_s * (0.5 + jitter()))
    return call()
