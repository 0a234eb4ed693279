"""Load a window of a series: only what is missing, batch by batch, resumable at any point.

The plan is made from the store, so nothing that is stored is fetched again, whatever
happened before. A failed batch does not stop the others; the load fails at its end.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager

from candlevault import identities
from candlevault.errors import CandlevaultError
from candlevault.identities import Share
from candlevault.ingest import collect
from candlevault.ingest.life import ARCHIVED, facts_in, facts_of
from candlevault.ingest.life_load import Asked, LifeLoad
from candlevault.ingest.market import SETTLING_MS, Market, closed_part, traffic_of
from candlevault.ingest.reports import LoadFailed, LoadReport
from candlevault.instruments import InstrumentFacts
from candlevault.series import Series
from candlevault.storage import instruments, series_registry
from candlevault.storage.corrections import Correction
from candlevault.storage.database import retrying
from candlevault.storage.locks import series_lock
from candlevault.storage.series_registry import StoredSeries
from candlevault.windows import Window

__all__ = ["SETTLING_MS", "LoadFailed", "LoadReport", "Market", "closed_part", "load"]


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
    started, spent = time.monotonic(), traffic_of(market.venue)
    archived = retrying(lambda: _archived(market, series))
    facts = facts_of(market.venue, series.symbol, series, archived=archived)
    now_ms = market.venue.server_time_ms()
    window = closed_part(series, window, now_ms)
    asked = Asked(purpose, order, reread, reexamine, correction)
    report = LoadReport.of(series, purpose, window)
    failures: list[CandlevaultError] = []
    for share in identities.shares(series):
        part = share.window.intersection(window)
        told = facts_in(share, facts)
        stored = None if part is None else _register(market, series, told, share)
        if asked.scheduled and not facts.trading and stored and stored.ended_ms is not None:
            # What has ended is not asked for over and over again.
            part = part and part.intersection(stored.life)
        if part is None or stored is None:
            continue
        with _locked(market, stored, wait_s):
            done, errors = LifeLoad(market, stored, share, told, part, now_ms, asked).go(spent)
        report.add(done)
        failures += errors
        spent = traffic_of(market.venue)
    report.seconds = round(time.monotonic() - started, 3)
    if failures:
        report.status = "failed"
        raise LoadFailed(report, failures)
    if report.lost:
        report.status = "incomplete"
    elif not facts.trading and report.total_batches == 0:
        report.status = "ended"
    return report


def _locked(market: Market, stored: StoredSeries, wait_s: float) -> AbstractContextManager[None]:
    def waiting() -> None:
        market.say(f"{stored}: another run is loading this series; waiting to share its work")

    return series_lock(
        market.connect, stored.series_id, wait_s=wait_s, waiting=waiting, sleep=market.sleep
    )


def _archived(market: Market, series: Series) -> bool:
    """Whether the venue had forgotten the symbol when it was asked last."""
    with market.connect() as connection:
        known = instruments.status(connection, series.venue, series.market, series.symbol)
    return known == ARCHIVED


def _register(market: Market, series: Series, facts: InstrumentFacts, share: Share) -> StoredSeries:
    return retrying(lambda: series_registry.register(market.connect, series, facts, share.lifetime))
