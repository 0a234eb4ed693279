"""One batch: ask the providers, judge what came, find evidence for what did not.

The first provider is asked for everything wanted, the second for what is still missing,
with one neighbour on each side. Where both have a candle and differ, REST is right: it is
what the venue answers today, and archive files are known to be wrong at times. The
archive's row is kept in quarantine.

An open_time becomes known absent only when the archive's file and REST's answer both cover
it, neither has it, and REST returned the candles before and after it: those next to the
hole, or, where the hole goes on beyond what was asked for, the nearest ones that REST has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from candlevault import candles, windows
from candlevault.errors import GeoBlocked, ProviderError, RateLimited, UnknownSymbol
from candlevault.provenance import Fetch, Rejected
from candlevault.providers.contract import CandleProvider, Evidence, Page, Problem, Venue
from candlevault.quality.judge import Judged
from candlevault.series import Series
from candlevault.storage.publish import NewAbsence
from candlevault.windows import Window

ARCHIVE_FIRST = ("archive", "rest")
REST_FIRST = ("rest", "archive")
ARCHIVE_ONLY = ("archive",)
"""For symbols that the venue itself does not answer for any more."""

# A REST page: holes closer together than this are asked for in one call.
_COALESCE = 1000

Judge = Callable[[pa.Table, list[Fetch], Series, Window, int], Judged]


@dataclass(slots=True)
class Collected:
    """What a batch brought; `candles.source` counts in `fetches`.

    `unanswered` are the problems that a later try may not meet and that left candles lost.
    """

    candles: pa.Table
    fetches: list[Fetch]
    absences: list[NewAbsence]
    rejected: list[Rejected]
    problems: list[Problem]
    unanswered: list[Problem]


@dataclass(slots=True)
class _Reply:
    """What one provider said: accepted candles, all pages, and every open_time it sent a row
    for, accepted or not."""

    candles: pa.Table = field(default_factory=candles.empty)
    pages: list[Page] = field(default_factory=list)
    sent: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    @property
    def covers(self) -> list[Window]:
        return windows.merge(page.covers for page in self.pages)


class Collector:
    """Collects one batch of one series."""

    def __init__(self, venue: Venue, series: Series, closed_before_ms: int, judge: Judge) -> None:
        self._venue = venue
        self._series = series
        self._closed_before_ms = closed_before_ms
        self._judge = judge
        self._fetches: list[Fetch] = []
        self._rejected: list[Rejected] = []
        self._problems: list[Problem] = []

    def collect(self, wanted: list[Window], order: tuple[str, ...] = ARCHIVE_FIRST) -> Collected:
        """The candles of `wanted` and evidence for those that were never published.

        Raises UnknownSymbol, GeoBlocked and RateLimited; any other failure leaves its part
        of the window missing and is told in `problems`.
        """
        timeframe = self._series.timeframe
        horizon = timeframe.floor(self._closed_before_ms)
        limit = Window(0, horizon)
        asked = [part for w in wanted if (part := w.intersection(limit)) is not None]
        expected = windows.open_times_of(asked, timeframe)
        replies = {name: _Reply() for name in order}
        missing = self._joined(asked)
        for name in order:
            provider: CandleProvider | None = getattr(self._venue, name)
            if provider is not None and missing:
                replies[name] = self._ask(provider, missing)
            have = np.concatenate([candles.open_times(r.candles) for r in replies.values()])
            absent_yet = np.setdiff1d(expected, have)
            missing = self._padded(windows.runs(absent_yet, timeframe), limit)
        archive, rest = replies.get("archive", _Reply()), replies.get("rest", _Reply())
        table = self._combine(archive.candles, rest.candles)
        table = candles.take(table, np.isin(candles.open_times(table), expected))
        lacking = np.setdiff1d(expected, candles.open_times(table))
        absences = self._absences(lacking, archive, rest)
        explained = windows.open_times_of([a.window for a in absences], timeframe)
        unanswered = self._unanswered(np.setdiff1d(lacking, explained))
        return Collected(table, self._fetches, absences, self._rejected, self._problems, unanswered)

    def _unanswered(self, lost: np.ndarray) -> list[Problem]:
        """The problems that may pass and kept a lost candle from being asked for."""
        return [
            problem
            for problem in self._problems
            if problem.error.transient
            and ((lost >= problem.window.start_ms) & (lost < problem.window.end_ms)).any()
        ]

    def _padded(self, runs: list[Window], limit: Window) -> list[Window]:
        """The runs with a neighbour on each side."""
        step = self._series.timeframe.step_ms
        wide = [
            Window(max(0, run.start_ms - step), min(limit.end_ms, run.end_ms + step))
            for run in runs
        ]
        return self._joined(wide)

    def _joined(self, parts: list[Window]) -> list[Window]:
        """Near parts as one question: many small holes must not be as many calls."""
        joined: list[Window] = []
        for part in windows.merge(parts):
            within = _COALESCE * self._series.timeframe.step_ms
            if joined and part.end_ms - joined[-1].start_ms <= within:
                joined[-1] = Window(joined[-1].start_ms, part.end_ms)
            else:
                joined.append(part)
        return joined

    def _ask(self, provider: CandleProvider, parts: list[Window]) -> _Reply:
        pages: list[Page] = []
        for part in parts:
            answer = provider.candles(self._series, part, self._closed_before_ms)
            pages += answer.pages
            self._problems += answer.problems
        tables = []
        for page in pages:
            tables.append(candles.with_source(page.candles, len(self._fetches)))
            self._fetches.append(page.fetch)
        table = candles.concat(tables)
        times = candles.open_times(table)
        # A row off the grid was sent for the open_time before it, however wrong it is.
        frame = self._series.timeframe
        sent = np.unique(times - (times - frame.origin_ms) % frame.step_ms)
        if table.num_rows:
            hull = Window(parts[0].start_ms, parts[-1].end_ms)
            judged = self._judge(table, self._fetches, self._series, hull, self._closed_before_ms)
            self._rejected += judged.rejected
            table = judged.accepted
        return _Reply(table, pages, sent)

    def _combine(self, archive: pa.Table, rest: pa.Table) -> pa.Table:
        archive_times, rest_times = candles.open_times(archive), candles.open_times(rest)
        _, in_archive, in_rest = np.intersect1d(
            archive_times, rest_times, assume_unique=True, return_indices=True
        )
        ours, theirs = candles.take(archive, in_archive), candles.take(rest, in_rest)
        same = candles.same_values(ours, theirs)
        for record in candles.take(ours, ~same).to_pylist():
            source = record.pop("source")
            self._rejected.append(
                Rejected(
                    open_time_ms=record["open_time"],
                    reasons=("archive_disagrees_with_rest",),
                    row={name: str(value) for name, value in record.items()},
                    url=self._fetches[source].url,
                )
            )
        # Where both agree the archive's row is kept: its file has a checksum.
        keep_rest = np.ones(rest.num_rows, dtype=bool)
        keep_rest[in_rest[same]] = False
        keep_archive = np.ones(archive.num_rows, dtype=bool)
        keep_archive[in_archive[~same]] = False
        return candles.collapse(
            candles.concat([candles.take(archive, keep_archive), candles.take(rest, keep_rest)])
        )

    def _absences(self, lacking: np.ndarray, archive: _Reply, rest: _Reply) -> list[NewAbsence]:
        timeframe = self._series.timeframe
        sent = np.union1d(archive.sent, rest.sent)
        # A row that came but was refused is not an absence.
        silent = np.setdiff1d(lacking, sent)
        both = [
            part
            for a in archive.covers
            for r in rest.covers
            if (part := a.intersection(r)) is not None
        ]
        silent = np.intersect1d(silent, windows.open_times_of(both, timeframe))
        found = []
        for run in windows.runs(silent, timeframe):
            neighbours, nearest = self._neighbours(run, rest.sent)
            if None in neighbours:
                continue
            evidence = {
                "neighbours_ms": neighbours,
                "archive": _answers(archive.pages, run),
                "rest": _answers(rest.pages, run) + [_proof(seen.fetch) for seen in nearest],
            }
            found.append(NewAbsence(run, "not_published", evidence))
        return found

    def _neighbours(self, run: Window, sent: np.ndarray) -> tuple[list[int | None], list[Evidence]]:
        """REST's candles before and after a run, None where it has none, and what showed
        those that do not lie next to it."""
        before: int | None = run.start_ms - self._series.timeframe.step_ms
        after: int | None = run.end_ms
        nearest: list[Evidence] = []
        try:
            if not np.isin(before, sent):
                nearest.append(self._venue.last_candle(self._series, run.start_ms))
                before = nearest[-1].open_time_ms
            if not np.isin(after, sent) and before is not None:
                nearest.append(self._venue.first_candle(self._series, run.end_ms))
                after = nearest[-1].open_time_ms
        except (UnknownSymbol, GeoBlocked, RateLimited):
            raise
        except ProviderError as error:
            self._problems.append(Problem(run, error))
            return [None, None], []
        self._fetches += [seen.fetch for seen in nearest]
        return [before, after], nearest


def _answers(pages: list[Page], run: Window) -> list[dict[str, str]]:
    return [_proof(page.fetch) for page in pages if page.covers.intersection(run) is not None]


def _proof(fetch: Fetch) -> dict[str, str]:
    return {
        "url": fetch.url,
        "sha256": fetch.sha256,
        "fetched_at": fetch.fetched_at.isoformat(),
    }
