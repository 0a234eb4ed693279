"""Load a window of a series: only what is missing, batch by batch, resumable at any point.

The plan is made from the store, so nothing that is stored is fetched again, whatever
happened before. A failed batch does not stop the others; the load fails at its end.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

from candlevault import candles, windows
from candlevault.errors import (
    CandlevaultError,
    GeoBlocked,
    InvalidRequest,
    RateLimited,
    UnknownSymbol,
)
from candlevault.ingest import collect, gaps
from candlevault.ingest.life import facts_of, life_absences
from candlevault.instruments import InstrumentFacts
from candlevault.providers.contract import Venue
from candlevault.quality.judge import MAX_ROWS, judge
from candlevault.series import Series
from candlevault.storage import candle_reads, ledger, publish, series_registry
from candlevault.storage.database import Connect, retrying
from candlevault.storage.ledger import SyncTotals
from candlevault.storage.locks import series_lock
from candlevault.storage.series_registry import StoredSeries
from candlevault.timeframe import from_ms
from candlevault.windows import Window

SETTLING_MS = 2_000
"""A candle counts as closed this long after its end by the venue's clock: its data comes
from a database that may lag."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a load is: rows settled (stored or explained) of those wanted."""

    batch: int
    batches: int
    rows: int
    wanted: int
    elapsed_s: float

    def __str__(self) -> str:
        rate = self.rows / self.elapsed_s if self.elapsed_s > 0 else 0.0
        left = (self.wanted - self.rows) / rate if rate else 0.0
        share = 100 * self.rows / self.wanted if self.wanted else 100.0
        return (
            f"batch {self.batch}/{self.batches}: {self.rows:,} of {self.wanted:,} candles "
            f"({share:.0f} %), {rate:,.0f} candles/s, about {left:.0f} s left"
        )


@dataclass(slots=True)
class Market:
    """What a load works with: the database, the venue, and whom to tell."""

    connect: Connect
    venue: Venue
    say: Callable[[str], None] = print
    run_id: str | None = None
    sleep: Callable[[float], None] = time.sleep


@dataclass(slots=True)
class LoadReport:
    """What a load did. Plain values only, so that it can be handed between tasks."""

    symbol: str
    timeframe: str
    purpose: str
    window: str
    status: str = "completed"
    expected: int = 0
    stored: int = 0
    known_absent: int = 0
    lost: int = 0
    total_candles: int = 0
    candles_added: int = 0
    candles_changed: int = 0
    candles_unchanged: int = 0
    quarantined: int = 0
    total_batches: int = 0
    successful_batches: int = 0
    failed_batches: int = 0
    requests: int = 0
    retries: int = 0
    seconds: float = 0.0
    errors: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        """The report as JSON-able values."""
        return asdict(self)


class LoadFailed(CandlevaultError):
    """At least one batch failed; the report says which and why. The rest is stored."""

    def __init__(self, report: LoadReport, causes: list[CandlevaultError]) -> None:
        self.report = report
        self.transient = any(cause.transient for cause in causes)
        super().__init__(
            f"{report.symbol} {report.timeframe}: {report.failed_batches} of "
            f"{report.total_batches} batches failed: {report.errors[0]}"
        )


def load(
    market: Market,
    series: Series,
    window: Window,
    *,
    purpose: str,
    order: tuple[str, ...] = collect.ARCHIVE_FIRST,
    reread: Window | None = None,
    reexamine: bool = False,
    wait_s: float = 1800.0,
) -> LoadReport:
    """Bring `window` of `series` into the store, up to the venue's last closed candle.

    `reread` is fetched again even where it is stored (a sync's overlap); `reexamine` asks
    again for known absences that lie inside the series' life, and for those after its end
    if the venue trades it again. Waits while another run loads the same series and then
    finds its work done. Raises LoadFailed, UnknownSymbol, GeoBlocked, RateLimited, or
    InvalidRequest for a window in which no candle has closed, SeriesBusy when another run
    still loads the series after `wait_s` seconds.
    """
    started = time.monotonic()
    spent = _traffic(market.venue)
    facts = facts_of(market.venue, series.symbol, series)
    now_ms = market.venue.server_time_ms()
    window = closed_part(series, window, now_ms)
    stored = retrying(lambda: series_registry.register(market.connect, series, facts))
    report = LoadReport(series.symbol, series.timeframe.code, purpose, str(window))

    def waiting() -> None:
        market.say(f"{series}: another run is loading this series; waiting to share its work")

    with series_lock(
        market.connect, stored.series_id, wait_s=wait_s, waiting=waiting, sleep=market.sleep
    ):
        run = _Run(market, stored, facts, window, now_ms, purpose, order, report)
        run.go(reread, reexamine, started, spent)
    return report


def closed_part(series: Series, window: Window, now_ms: int) -> Window:
    """The part of `window` whose candles have closed by the venue's clock, on the grid."""
    horizon = series.timeframe.floor(now_ms - SETTLING_MS)
    grid = windows.aligned(window, series.timeframe)
    if grid is None:
        raise InvalidRequest("window", f"holds no open_time of {series.timeframe}", str(window))
    if grid.start_ms >= horizon:
        raise InvalidRequest(
            "window", "lies in the future: no candle of it has closed", str(window)
        )
    return Window(grid.start_ms, min(grid.end_ms, horizon))


class _Run:
    """One load under the series' lock."""

    def __init__(
        self,
        market: Market,
        stored: StoredSeries,
        facts: InstrumentFacts,
        window: Window,
        now_ms: int,
        purpose: str,
        order: tuple[str, ...],
        report: LoadReport,
    ) -> None:
        self._market = market
        self._stored = stored
        self._facts = facts
        self._window = window
        self._closed_before_ms = now_ms - SETTLING_MS
        self._purpose = purpose
        self._order = collect.ARCHIVE_ONLY if facts.status == "ARCHIVED" else order
        self._report = report
        self._by = f"{socket.gethostname()}:{os.getpid()}:{market.run_id or '-'}"

    def go(
        self, reread: Window | None, reexamine: bool, started: float, spent: tuple[int, int]
    ) -> None:
        report, market = self._report, self._market
        totals = SyncTotals()
        sync_id = retrying(
            lambda: ledger.start_sync(
                market.connect, self._stored.series_id, self._purpose, self._window, market.run_id
            )
        )
        error: BaseException | None = None
        errors: list[CandlevaultError] = []
        try:
            self._record_life()
            plan = self._plan(reread, reexamine)
            errors = self._batches(plan, totals, started)
            error = errors[0] if errors else None
        except BaseException as failure:
            error = failure
            raise
        finally:
            self._conclude(sync_id, totals, spent, error, started)
        if errors:
            report.status = "failed"
            raise LoadFailed(report, errors)

    def _plan(self, reread: Window | None, reexamine: bool) -> list[tuple[Window, list[Window]]]:
        """The batches: (window of the batch, what is wanted of it), ascending."""
        account, known = retrying(self._take_stock)
        wanted = list(account.lost_windows)
        if reread is not None and (part := reread.intersection(self._window)) is not None:
            wanted.append(part)
        # What is known to lie outside the series' life is never asked for.
        over = ("before_listing",) if self._facts.trading else ("before_listing", "after_end")
        outside = [a.window for a in known if a.reason in over]
        if reexamine:
            wanted += [
                part
                for absence in known
                if absence.reason not in over
                and (part := absence.window.intersection(self._window)) is not None
            ]
        wanted = [
            rest for part in windows.merge(wanted) for rest in windows.subtract(part, outside)
        ]
        plan: list[tuple[Window, list[Window]]] = []
        for chunk in windows.chunks(self._window, self._stored.series.timeframe, MAX_ROWS):
            parts = [part for w in wanted if (part := w.intersection(chunk)) is not None]
            if parts:
                plan.append((chunk, parts))
        return plan

    def _account(self) -> windows.Account:
        with self._market.connect() as connection:
            return candle_reads.account(connection, self._stored, self._window)

    def _take_stock(self) -> tuple[windows.Account, list[candle_reads.Absence]]:
        with self._market.connect() as connection:
            account = candle_reads.account(connection, self._stored, self._window)
            if self._purpose == "gap_fill":
                # What a gap fill finds is worth a line even if it fills it; what any other
                # sync fetches for the first time is no gap.
                gaps.record(connection, self._stored, account)
            return account, candle_reads.absences(connection, self._stored, self._window)

    def _batches(
        self, plan: list[tuple[Window, list[Window]]], totals: SyncTotals, started: float
    ) -> list[CandlevaultError]:
        """Work the plan; returns the errors of the batches that failed."""
        report = self._report
        timeframe = self._stored.series.timeframe
        sizes = [
            sum(windows.expected_count(part, timeframe) for part in parts) for _, parts in plan
        ]
        report.total_batches = totals.batches = len(plan)
        errors: list[CandlevaultError] = []
        done = 0
        for number, (chunk, parts) in enumerate(plan, start=1):
            try:
                self._one(chunk, parts, totals)
                report.successful_batches += 1
            except (UnknownSymbol, GeoBlocked, RateLimited):
                raise
            except CandlevaultError as error:
                report.failed_batches += 1
                report.errors.append(f"{chunk}: {type(error).__name__}: {error}"[:500])
                errors.append(error)
                self._market.say(f"{self._stored.series}: batch {chunk} failed: {error}")
            done += sizes[number - 1]
            elapsed = time.monotonic() - started
            progress = Progress(number, len(plan), done, sum(sizes), elapsed)
            self._market.say(f"{self._stored.series}: {progress}")
        return errors

    def _one(self, chunk: Window, parts: list[Window], totals: SyncTotals) -> None:
        market, stored = self._market, self._stored
        claim = retrying(
            lambda: ledger.claim(market.connect, stored.series_id, chunk, self._purpose, self._by)
        )
        before = _traffic(self._market.venue)
        with self._failing(claim):
            collected = collect.Collector(
                market.venue, stored.series, self._closed_before_ms, judge
            ).collect(parts, self._order)
            after = _traffic(self._market.venue)
            batch = publish.Batch(
                candles=collected.candles,
                fetches=collected.fetches,
                absences=collected.absences,
                rejected=collected.rejected,
                expected=windows.expected_count(chunk, stored.series.timeframe),
                requests=after[0] - before[0],
                retries=after[1] - before[1],
                reason=self._purpose,
            )
            done = retrying(lambda: publish.publish(market.connect, stored, claim, batch))
        totals.inserted += done.inserted
        totals.changed += done.changed
        totals.unchanged += done.unchanged
        totals.absent += done.absent
        totals.quarantined += done.quarantined
        for problem in collected.problems:
            self._report.problems.append(f"{problem.window}: {problem.error}"[:300])
        if collected.unanswered:
            # What came is published; what a later try may bring is that try's work.
            raise collected.unanswered[0].error

    @contextmanager
    def _failing(self, claim: ledger.Claim) -> Iterator[None]:
        """Mark the batch failed when its work raises."""
        try:
            yield
        except BaseException as error:
            failure = error
            retrying(lambda: ledger.fail(self._market.connect, claim, failure))
            raise

    def _record_life(self) -> None:
        """Record what lies before the listing and after the end, before anything is planned."""
        market, stored = self._market, self._stored
        account = retrying(self._account)
        absences, evidence = life_absences(market.venue, stored.series, self._facts, account)
        if not absences:
            return
        claim = retrying(
            lambda: ledger.claim(market.connect, stored.series_id, self._window, "life", self._by)
        )
        batch = publish.Batch(
            candles=candles.empty(),
            fetches=[item.fetch for item in evidence],
            absences=absences,
            expected=len(account.expected),
            requests=len(evidence),
            reason="life",
        )
        first = [a.evidence["first_open_time_ms"] for a in absences if a.reason == "before_listing"]
        last = [a.evidence["last_open_time_ms"] for a in absences if a.reason == "after_end"]
        step_ms = stored.series.timeframe.step_ms
        with self._failing(claim):
            retrying(
                lambda: series_registry.record_life(
                    market.connect,
                    stored,
                    from_ms(first[0]) if first else None,
                    from_ms(last[0] + step_ms) if last else None,
                )
            )
            retrying(lambda: publish.publish(market.connect, stored, claim, batch))

    def _conclude(
        self,
        sync_id: int,
        totals: SyncTotals,
        spent: tuple[int, int],
        error: BaseException | None,
        started: float,
    ) -> None:
        report, market, stored = self._report, self._market, self._stored
        after = _traffic(market.venue)

        def settle():
            with market.connect() as connection:
                account = candle_reads.account(connection, stored, self._window)
                gaps.record(connection, stored, account)
                total = connection.execute(
                    "SELECT total_candles FROM market.series_status WHERE series_id = %s",
                    (stored.series_id,),
                ).fetchone()[0]
            return account, total

        account, report.total_candles = retrying(settle)
        totals.failed_batches = report.failed_batches
        totals.lost = len(account.lost)
        totals.requests, totals.retries = after[0] - spent[0], after[1] - spent[1]
        report.expected = len(account.expected)
        report.stored = len(account.stored)
        report.known_absent = len(account.absent)
        report.lost = len(account.lost)
        report.candles_added = totals.inserted
        report.candles_changed = totals.changed
        report.candles_unchanged = totals.unchanged
        report.quarantined = totals.quarantined
        report.requests, report.retries = totals.requests, totals.retries
        report.seconds = round(time.monotonic() - started, 3)
        if report.lost and report.status == "completed":
            report.status = "incomplete"
        providers = sorted(
            {p.name for p in (market.venue.archive, market.venue.rest) if p is not None}
        )
        message = None if error is None else f"{type(error).__name__}: {error}"[:1000]
        retrying(
            lambda: ledger.finish_sync(
                market.connect, sync_id, stored.series_id, totals, providers, message
            )
        )


def _traffic(venue: Venue) -> tuple[int, int]:
    """Requests and retries of the venue's providers so far."""
    used = [provider.traffic for provider in (venue.archive, venue.rest) if provider is not None]
    return sum(t.requests for t in used), sum(t.retries for t in used)
