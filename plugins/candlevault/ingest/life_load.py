"""One load of one instrument's series: planned from the store, batch by batch."""

from __future__ import annotations

import os
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa

from candlevault import candles, windows
from candlevault.errors import (
    CandlevaultError,
    GeoBlocked,
    KeyMissing,
    RateLimited,
    UnknownSymbol,
)
from candlevault.identities import Share
from candlevault.ingest import collect, gaps
from candlevault.ingest.life import ARCHIVED, life_absences
from candlevault.ingest.market import SETTLING_MS, Market, traffic_of
from candlevault.ingest.reports import LoadReport, Progress
from candlevault.ingest.retention import refreeze
from candlevault.instruments import InstrumentFacts
from candlevault.provenance import Rejected
from candlevault.quality.judge import MAX_ROWS, judge
from candlevault.storage import candle_reads, instruments, ledger, publish
from candlevault.storage.corrections import Correction
from candlevault.storage.database import retrying
from candlevault.storage.ledger import SyncTotals
from candlevault.storage.series_registry import StoredSeries
from candlevault.timeframe import from_ms
from candlevault.windows import Window

_SCHEDULED = ("increment", "market_sync", "gap_fill")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a load was asked for; see load."""

    purpose: str
    order: tuple[str, ...] = collect.ARCHIVE_FIRST
    reread: Window | None = None
    reexamine: bool = False
    correction: Correction | None = None

    @property
    def scheduled(self) -> bool:
        """Whether it comes again and again, so that what has ended is to be left alone."""
        return self.purpose in _SCHEDULED


class LifeLoad:
    """The load of a window that lies in the share of one instrument, under its series' lock."""

    def __init__(
        self,
        market: Market,
        stored: StoredSeries,
        share: Share,
        facts: InstrumentFacts,
        window: Window,
        now_ms: int,
        asked: Asked,
    ) -> None:
        self._market = market
        self._stored = stored
        self._share = share
        self._facts = facts
        self._window = window
        self._closed_before_ms = now_ms - SETTLING_MS
        self._asked = asked
        self._purpose = asked.purpose
        self._order = asked.order
        self._refused: dict[str, str] | None = None
        if facts.status == ARCHIVED:
            self._order = collect.without_rest(asked.order)
            asked_at = from_ms(now_ms).isoformat()
            self._refused = {"refused": "the venue knows no such symbol", "asked_at": asked_at}
        over = asked.scheduled and not facts.trading
        self._reread = None if over else asked.reread
        self._report = LoadReport.of(stored.series, asked.purpose, window)
        self._by = f"{socket.gethostname()}:{os.getpid()}:{market.run_id or '-'}"

    def go(self, spent: tuple[int, int]) -> tuple[LoadReport, list[CandlevaultError]]:
        """Do it; returns the report and the errors of the batches that failed.

        `spent` is the traffic before the first question that belongs to this load.
        """
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
            errors = self._batches(self._plan(), totals)
            error = errors[0] if errors else None
            refreeze(market.connect, self._stored)
        except BaseException as failure:
            error = failure
            raise
        finally:
            self._conclude(sync_id, totals, spent, error)
        return self._report, errors

    def _plan(self) -> list[tuple[Window, list[Window]]]:
        """The batches: (window of the batch, what is wanted of it), ascending."""
        account, known = retrying(self._take_stock)
        wanted = list(account.lost_windows)
        if self._reread is not None:
            part = self._reread.intersection(self._window)
            wanted += [] if part is None else [part]
        # What is known to lie outside the series' life is never asked for.
        over = ("before_listing",) if self._facts.trading else ("before_listing", "after_end")
        outside = [a.window for a in known if a.reason in over]
        if self._asked.reexamine:
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
        before = traffic_of(self._market.venue)
        with self._failing(claim):
            collected = collect.Collector(
                market.venue, stored.series, self._closed_before_ms, judge, self._refused
            ).collect(parts, self._order, self._held(chunk) if self._reread else None)
            after = traffic_of(self._market.venue)
            correction = self._asked.correction
            batch = publish.Batch(
                candles=collected.candles,
                fetches=collected.fetches,
                absences=collected.absences,
                rejected=collected.rejected,
                disagreements=collected.disagreements,
                expected=windows.expected_count(chunk, stored.series.timeframe),
                requests=after[0] - before[0],
                retries=after[1] - before[1],
                reason=self._purpose if correction is None else correction.reason,
                correction=correction,
                removes=self._reread is not None,
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
        after = traffic_of(market.venue)

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
