"""One batch: ask the providers, judge what came, find evidence for what did not.

The first provider is asked for everything wanted, the second for what is still missing,
with one neighbour on each side. An archive file that differs from what is stored is not
believed before REST was asked as well, and where REST is silent the daily file. Where they
differ, REST is right, then the daily file, then the monthly one: REST is what the venue
answers today, and monthly files are known to be wrong at times. The row that lost is kept
in quarantine, and the disagreement is recorded.

An open_time becomes known absent only when every witness (the archive's file and REST's
answer, for a venue that has both) covers it, none has it, and the candles before and after
it were returned: those next to the hole, or, where the hole goes on beyond what was asked
for, the nearest ones that REST has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from candlevault import candles, windows
from candlevault.errors import GeoBlocked, ProviderError, RateLimited, UnknownSymbol
from candlevault.provenance import Fetch, Rejected
from candlevault.providers.contract import Answer, Evidence, Page, Problem, Venue
from candlevault.quality.judge import Judged
from candlevault.series import Series
from candlevault.storage.discrepancies import Disagreement
from candlevault.storage.publish import NewAbsence
from candlevault.windows import Window

ARCHIVE_FIRST = ("archive", "rest")
REST_FIRST = ("rest", "archive")
DAILY_FIRST = ("daily", "rest")


def without_rest(order: tuple[str, ...]) -> tuple[str, ...]:
    """The order for a symbol that the venue does not answer for any more: both kinds of files,
    so that neither's word alone makes a candle absent."""
    return ("daily", "archive") if order == DAILY_FIRST else ("archive", "daily")


_A_DAY_MS = 86_400_000

# A REST page: holes closer together than this are asked for in one call.
_COALESCE = 1000

Question = Callable[[Series, Window, int], Answer]
Judge = Callable[[pa.Table, list[Fetch], Series, Window, int], Judged]


@dataclass(slots=True)
class Collected:
    """What a batch brought; `candles.source` counts in `fetches`.

    `unanswered` are the problems that a later try may not meet and that left candles lost;
    `repeated` the open times of candles that one provider sent more than once, identical.
    """

    candles: pa.Table
    fetches: list[Fetch]
    absences: list[NewAbsence]
    rejected: list[Rejected]
    disagreements: list[Disagreement]
    problems: list[Problem]
    unanswered: list[Problem]
    repeated: tuple[int, ...] = ()


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
    """Collects one batch of one series.

    `refused` is set for a symbol that the venue does not answer for any more: what it said,
    and when. The archive is then the only witness.
    """

    def __init__(
        self,
        venue: Venue,
        series: Series,
        closed_before_ms: int,
        judge: Judge,
        refused: dict[str, str] | None = None,
    ) -> None:
        self._venue = venue
        self._series = series
        self._closed_before_ms = closed_before_ms
        self._judge = judge
        self._refused = refused
        self._witnesses = venue.witnesses if refused is None else ("archive",)
        self._fetches: list[Fetch] = []
        self._rejected: list[Rejected] = []
        self._disagreements: list[Disagreement] = []
        self._problems: list[Problem] = []
        self._repeated: list[int] = []

    def collect(
        self,
        wanted: list[Window],
        order: tuple[str, ...] = ARCHIVE_FIRST,
        held: pa.Table | None = None,
    ) -> Collected:
        """The candles of `wanted` and evidence for those that were never published.

        `held` are stored candles that the archive is not believed against without asking
        further. Raises UnknownSymbol, GeoBlocked and RateLimited; any other failure leaves
        its part of the window missing and is told in `problems`.
        """
        timeframe = self._series.timeframe
        horizon = timeframe.floor(self._closed_before_ms)
        limit = Window(0, horizon)
        asked = [part for w in wanted if (part := w.intersection(limit)) is not None]
        expected = windows.open_times_of(asked, timeframe)
        replies = {name: _Reply() for name in ("rest", "daily", "archive")}
        missing = self._joined(asked)
        for name in order:
            question = self._question(name)
            if question is not None and missing:
                replies[name] = self._ask(question, missing)
            have = np.concatenate([candles.open_times(r.candles) for r in replies.values()])
            absent_yet = np.setdiff1d(expected, have)
            if held is not None and name != "rest":
                contested = _differing(replies[name].candles, held)
                contested = np.intersect1d(contested, expected)
                absent_yet = np.union1d(absent_yet, contested)
            missing = self._padded(windows.runs(absent_yet, timeframe), limit)
        if held is not None and self._venue.archive is not None and "daily" not in order:
            replies["daily"] = self._ask_daily(replies, held, expected)
        undecided = self._undecided(replies, held)
        table = self._combine(replies)
        table = candles.take(table, ~np.isin(candles.open_times(table), undecided))
        table = candles.take(table, np.isin(candles.open_times(table), expected))
        lacking = np.setdiff1d(expected, candles.open_times(table))
        absences = self._absences(lacking, replies)
        explained = windows.open_times_of([a.window for a in absences], timeframe)
        unanswered = self._unanswered(np.setdiff1d(lacking, explained))
        return Collected(
            table,
            self._fetches,
            absences,
            self._rejected,
            self._disagreements,
            self._problems,
            unanswered,
            tuple(self._repeated),
        )

    def _undecided(self, replies: dict[str, _Reply], held: pa.Table | None) -> np.ndarray:
        """Open times that the archive contests and REST could not answer just now: what is
        stored stays until it can."""
        if held is None:
            return np.empty(0, dtype=np.int64)
        passing = [
            problem.window
            for problem in self._problems
            if problem.error.transient and problem.error.provider == self._venue.rest.name
        ]
        contested = np.union1d(
            _differing(replies["archive"].candles, held),
            _differing(replies["daily"].candles, held),
        )
        contested = np.setdiff1d(contested, candles.open_times(replies["rest"].candles))
        return np.intersect1d(contested, windows.open_times_of(passing, self._series.timeframe))

    def _question(self, name: str) -> Question | None:
        """What to ask of a provider of the order, None where the venue has none such."""
        if name == "rest":
            return self._venue.rest.candles
        archive = self._venue.archive
        if archive is None:
            return None
        return archive.daily if name == "daily" else archive.candles

    def _ask_daily(
        self, replies: dict[str, _Reply], held: pa.Table, expected: np.ndarray
    ) -> _Reply:
        """The daily files' word on what the archive contests and REST does not answer."""
        contested = _differing(replies["archive"].candles, held)
        contested = np.setdiff1d(
            np.intersect1d(contested, expected), candles.open_times(replies["rest"].candles)
        )
        parts = windows.runs(contested, self._series.timeframe)
        return self._ask(self._venue.archive.daily, parts) if parts else _Reply()

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

    def _ask(self, question: Question, parts: list[Window]) -> _Reply:
        pages: list[Page] = []
        for part in parts:
            answer = question(self._series, part, self._closed_before_ms)
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
            self._repeated += judged.repeated
            table = judged.accepted
        return _Reply(table, pages, sent)

    def _combine(self, replies: dict[str, _Reply]) -> pa.Table:
        """One candle per open_time, by the authority of who sent it: the order of `replies`."""
        table = candles.empty()
        for reply in replies.values():
            table = self._joined_tables(table, reply.candles)
        return candles.collapse(table)

    def _joined_tables(self, right: pa.Table, other: pa.Table) -> pa.Table:
        """Both, and `right` where they differ; what lost is recorded."""
        _, in_right, in_other = np.intersect1d(
            candles.open_times(right),
            candles.open_times(other),
            assume_unique=True,
            return_indices=True,
        )
        winners, losers = candles.take(right, in_right), candles.take(other, in_other)
        same = candles.same_values(winners, losers)
        for winner, loser in zip(
            candles.take(winners, ~same).to_pylist(),
            candles.take(losers, ~same).to_pylist(),
            strict=True,
        ):
            self._disagreed(winner, loser)
        # Where both agree the archive's row is kept: its file has a checksum.
        keep_right = np.ones(right.num_rows, dtype=bool)
        keep_right[in_right[same]] = False
        keep_other = np.ones(other.num_rows, dtype=bool)
        keep_other[in_other[~same]] = False
        return candles.concat([candles.take(right, keep_right), candles.take(other, keep_other)])

    def _disagreed(self, winner: dict, loser: dict) -> None:
        won, lost = self._fetches[winner.pop("source")], self._fetches[loser.pop("source")]
        said = "rest" if self._of_rest(won) else "daily_file"
        self._rejected.append(
            Rejected(
                open_time_ms=loser["open_time"],
                reasons=(f"archive_disagrees_with_{said}",),
                row={name: str(value) for name, value in loser.items()},
                url=lost.url,
            )
        )
        self._disagreements += [
            Disagreement(
                open_time_ms=winner["open_time"],
                other=lost.url.rsplit("/", 1)[-1],
                field=name,
                ours=winner[name],
                theirs=loser[name],
                explanation=f"{lost.url} differs from {won.url}, which is right by rule:"
                " REST, then daily files, then monthly ones",
            )
            for name in candles.VALUES
            if winner[name] != loser[name]
        ]

    def _of_rest(self, fetch: Fetch) -> bool:
        return fetch.provider == self._venue.rest.name

    def _absences(self, lacking: np.ndarray, replies: dict[str, _Reply]) -> list[NewAbsence]:
        timeframe = self._series.timeframe
        sent = np.unique(np.concatenate([reply.sent for reply in replies.values()]))
        # A row that came but was refused is not an absence.
        silent = np.setdiff1d(lacking, sent)
        for witness in self._witnesses:
            covered = windows.open_times_of(replies[witness].covers, timeframe)
            silent = np.intersect1d(silent, covered)
        found = []
        for run in windows.runs(silent, timeframe):
            neighbours, nearest = self._neighbours(
                run, sent if self._refused else replies["rest"].sent
            )
            if None in neighbours:
                continue
            evidence: dict[str, object] = {"neighbours_ms": neighbours}
            for witness in self._witnesses:
                evidence[witness] = _answers(replies[witness].pages, run)
            if self._refused is not None:
                evidence["rest"] = [self._refused]
            elif nearest:
                evidence["rest"] = [*evidence["rest"], *(_proof(n.fetch) for n in nearest)]
            found.append(NewAbsence(run, self._reason(run), evidence))
        return found

    def _reason(self, run: Window) -> str:
        """A hole that holds a whole UTC day is the instrument's pause; outages of the venue
        were shorter."""
        first_day = -(-run.start_ms // _A_DAY_MS) * _A_DAY_MS
        finer = self._series.timeframe.step_ms < _A_DAY_MS
        return "pause" if finer and first_day + _A_DAY_MS <= run.end_ms else "not_published"

    def _neighbours(self, run: Window, sent: np.ndarray) -> tuple[list[int | None], list[Evidence]]:
        """The candles before and after a run, None where there is none, and what showed
        those that do not lie next to it."""
        before: int | None = run.start_ms - self._series.timeframe.step_ms
        after: int | None = run.end_ms
        nearest: list[Evidence] = []
        if self._refused is not None or not self._venue.knows_life:
            # Nobody can be asked for the nearest ones: they must lie next to the hole.
            return [n if np.isin(n, sent) else None for n in (before, after)], nearest
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


def _differing(table: pa.Table, held: pa.Table) -> np.ndarray:
    """Open times of `table` whose values differ from those held."""
    _, ours, theirs = np.intersect1d(
        candles.open_times(table), candles.open_times(held), return_indices=True
    )
    part = candles.take(table, ours)
    return candles.open_times(part)[~candles.same_values(part, candles.take(held, theirs))]


def _answers(pages: list[Page], run: Window) -> list[dict[str, str]]:
    return [_proof(page.fetch) for page in pages if page.covers.intersection(run) is not None]


def _proof(fetch: Fetch) -> dict[str, str]:
    return {
        "url": fetch.url,
        "sha256": fetch.sha256,
        "fetched_at": fetch.fetched_at.isoformat(),
    }
