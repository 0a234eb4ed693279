"""Load a window of a series: only what is missing, batch by batch, resumable at any point.

The plan is made from the store, so nothing that is stored is fetched again, whatever
happened before. A failed batch does not stop the others; the load fails at its end.
"""

from __future__ import annotations

import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

import pyarrow as pa

from candlevault import candles, identities, windows
from candlevault.errors import (
    CandlevaultError,
    GeoBlocked,
    InvalidRequest,
    KeyMissing,
    RateLimited,
    UnknownSymbol,
)
from candlevault.identities import Share
from candlevault.ingest import collect, gaps
from candlevault.ingest.life import ARCHIVED, facts_in, facts_of, life_absences
from candlevault.ingest.retention import refreeze
from candlevault.instruments import InstrumentFacts
from candlevault.provenance import Rejected
from candlevault.providers.contract import Venue
from candlevault.quality.judge import MAX_ROWS, judge
from candlevault.series import Series
from candlevault.storage import candle_reads, instruments, ledger, publish, series_registry
from candlevault.storage.corrections import Correction
from candlevault.storage.database import Connect, retrying
from candlevault.storage.ledger import SyncTotals
from candlevault.storage.locks import series_lock
from candlevault.storage.series_registry import StoredSeries
from candlevault.timeframe import from_ms
from candlevault.windows import Window

SETTLING_MS = 2_000
"""A candle counts as closed this long after its end by the venue's clock: its data comes
from a database that may lag."""

_REPEATED = ("increment", "market_sync", "gap_fill")


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
    candles_removed: int = 0
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
    correction: Correction | None = None,
    wait_s: float = 1800.0,
) -> LoadReport:
    """Bring `window` of `series` into the store, up to the venue's last closed candle.

    `reread` is fetched again even where it is stored (a sync's overlap, a correction); what
    the venue shows to have taken back is then taken out. `reexamine` asks again for known
    absences that lie inside the series' life, and for those after its end if the venue
    trades it again. A window over two instruments of one symbol is loaded as two series.
    `correction` is what the correction log says of what changes. Waits while another run
    loads the same series and then finds its work done. Raises LoadFailed, UnknownSymbol,
    GeoBlocked, RateLimited, or InvalidRequest for a window in which no candle has closed,
    SeriesBusy when another run still loads the series after `wait_s` seconds.
    """
    started = time.monotonic()
    spent = _traffic(market.venue)
    archived = retrying(lambda: _archived(market, series))
    facts = facts_of(market.venue, series.symbol, series, archived=archived)
    now_ms = market.venue.server_time_ms()
    window = closed_part(series, window, now_ms)
    report = LoadReport(series.symbol, series.timeframe.code, purpose, str(window))
    failures: list[CandlevaultError] = []
    for share in identities.shares(series):
        part = share.window.intersection(window)
        if part is None:
            continue
        stored = _register(market, series, facts_in(share, facts), share)
        if purpose in _REPEATED and not facts.trading and stored.ended_ms is not None:
            # What has ended is not asked for over and over again.
            part = part.intersection(stored.life)
            if part is None:
                continue

        def waiting() -> None:
            market.say(f"{series}: another run is loading this series; waiting to share its work")

        with series_lock(
            market.connect, stored.series_id, wait_s=wait_s, waiting=waiting, sleep=market.sleep
        ):
            run = _Run(
                market, stored, share, facts_in(share, facts), part, now_ms, purpose, order, report
            )
            run.correction = correction
            failures += run.go(reread, reexamine, spent)
        spent = _traffic(market.venue)
    report.seconds = round(time.monotonic() - started, 3)
    if failures:
        report.status = "failed"
        raise LoadFailed(report, failures)
    if report.lost:
        report.status = "incomplete"
    elif not facts.trading and report.total_batches == 0:
        report.status = "ended"
    return report


def _archived(market: Market, series: Series) -> bool:
    """Whether the venue had forgotten the symbol when it was asked last."""
    with market.connect() as connection:
        known = instruments.status(connection, series.venue, series.market, series.symbol)
    return known == ARCHIVED


def _register(market: Market, series: Series, facts: InstrumentFacts, share: Share) -> StoredSeries:
    return retrying(lambda: series_registry.register(market.connect, series, facts, share.lifetime))


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
        share: Share,
        facts: InstrumentFacts,
        window: Window,
        now_ms: int,
        purpose: str,
        order: tuple[str, ...],
        report: LoadReport,
    ) -> None:
        self._market = market
        self._stored = stored
        self._share = share
        self._facts = facts
        self._window = window
        self._closed_before_ms = now_ms - SETTLING_MS
        self._purpose = purpose
        self._order = collect.without_rest(order) if facts.status == ARCHIVED else order
        self._refused: dict[str, str] | None = None
        if facts.status == ARCHIVED:
            asked_at = from_ms(now_ms).isoformat()
            self._refused = {"refused": "the venue knows no such symbol", "asked_at": asked_at}
        self._removes = False
        self.correction: Correction | None = None
        self._report = report
        self._by = f"{socket.gethostname()}:{os.getpid()}:{market.run_id or '-'}"

    def go(
        self, reread: Window | None, reexamine: bool, spent: tuple[int, int]
    ) -> list[CandlevaultError]:
        """Do it; returns the errors of the batches that failed."""
        market = self._market
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
            if not self._facts.trading and self._purpose in _REPEATED:
                reread = None
            self._removes = reread is not None
            plan = self._plan(reread, reexamine)
            errors = self._batches(plan, totals)
            error = errors[0] if errors else None
            refreeze(market.connect, self._stored)
        except BaseException as failure:
            error = failure
            raise
        finally:
            self._conclude(sync_id, totals, spent, error)
        return errors

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
        self, plan: list[tuple[Window, list[Window]]], totals: SyncTotals
    ) -> list[CandlevaultError]:
        """Work the plan; returns the errors of the batches that failed."""
        report = self._report
        started = time.monotonic()
        timeframe = self._stored.series.timeframe
        sizes = [
            sum(windows.expected_count(part, timeframe) for part in parts) for _, parts in plan
        ]
        totals.batches = len(plan)
        report.total_batches += len(plan)
        errors: list[CandlevaultError] = []
        done = 0
        for number, (chunk, parts) in enumerate(plan, start=1):
            try:
                self._one(chunk, parts, totals)
                report.successful_batches += 1
            except (UnknownSymbol, GeoBlocked, RateLimited, KeyMissing):
                raise
            except CandlevaultError as error:
                report.failed_batches += 1
                totals.failed_batches += 1
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
                market.venue, stored.series, self._closed_before_ms, judge, self._refused
            ).collect(parts, self._order, self._held(chunk) if self._removes else None)
            after = _traffic(self._market.venue)
            batch = publish.Batch(
                candles=collected.candles,
                fetches=collected.fetches,
                absences=collected.absences,
                rejected=collected.rejected,
                disagreements=collected.disagreements,
                expected=windows.expected_count(chunk, stored.series.timeframe),
                requests=after[0] - before[0],
                retries=after[1] - before[1],
                reason=self._purpose if self.correction is None else self.correction.reason,
                correction=self.correction,
                removes=self._removes,
            )
            done = retrying(lambda: publish.publish(market.connect, stored, claim, batch))
        totals.inserted += done.inserted
        totals.changed += done.changed
        totals.unchanged += done.unchanged
        totals.removed += done.removed
        totals.absent += done.absent
        totals.quarantined += done.quarantined
        for problem in collected.problems:
            self._report.problems.append(f"{problem.window}: {problem.error}"[:300])
        if collected.repeated:
            first = from_ms(collected.repeated[0])
            self._tell(
                f"{chunk}: {len(collected.repeated)} candles came more than once, identical,"
                f" and were taken once (the first: {first:%Y-%m-%dT%H:%M}Z)"
            )
        for reason, count in _reasons(collected.rejected).items():
            self._tell(f"{chunk}: {count} candles refused: {reason} (see market.quarantine)")
        if collected.unanswered:
            # What came is published; what a later try may bring is that try's work.
            raise collected.unanswered[0].error

    def _tell(self, what: str) -> None:
        self._report.problems.append(what[:300])
        self._market.say(f"{self._stored}: {what}")

    def _held(self, chunk: Window) -> pa.Table:
        """What is stored of a batch's window now."""

        def read() -> pa.Table:
            with self._market.connect() as connection:
                revision = candle_reads.current_revision(connection, self._stored)
                return candle_reads.read(connection, self._stored, chunk, revision)

        return retrying(read)

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
        absences, evidence = life_absences(
            market.venue, stored.series, self._share, self._facts, account
        )
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
                lambda: instruments.record_life(
                    market.connect,
                    stored.series_id,
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

        account, total = retrying(settle)
        totals.lost = len(account.lost)
        totals.requests, totals.retries = after[0] - spent[0], after[1] - spent[1]
        report.total_candles += total
        report.expected += len(account.expected)
        report.stored += len(account.stored)
        report.known_absent += len(account.absent)
        report.lost += len(account.lost)
        report.candles_added += totals.inserted
        report.candles_changed += totals.changed
        report.candles_unchanged += totals.unchanged
        report.candles_removed += totals.removed
        report.quarantined += totals.quarantined
        report.requests += totals.requests
        report.retries += totals.retries
        providers = sorted(
            {p.name for p in (market.venue.archive, market.venue.rest) if p is not None}
        )
        message = None if error is None else f"{type(error).__name__}: {error}"[:1000]
        retrying(
            lambda: ledger.finish_sync(
                market.connect, sync_id, stored.series_id, totals, providers, message
            )
        )


def _reasons(rejected: list[Rejected]) -> dict[str, int]:
    """How many rows were refused for which reasons."""
    return Counter(", ".join(row.reasons) for row in rejected)


def _traffic(venue: Venue) -> tuple[int, int]:
    """Requests and retries of the venue's providers so far."""
    used = [provider.traffic for provider in (venue.archive, venue.rest) if provider is not None]
    return sum(t.requests for t in used), sum(t.retries for t in used)
