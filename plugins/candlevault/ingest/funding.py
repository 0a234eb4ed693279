"""Load the funding rates of a perpetual future: what is missing of a window, all or nothing.

Each missing part is fetched page by page and written in one transaction with its ledger
rows. Killed at any moment, the next load finds what is missing and ends with the same rows.
Funding is kept by instrument: all timeframes of a symbol share it.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from datetime import datetime

from candlevault import funding, windows
from candlevault.errors import InvalidRequest, LeaseLost, NotOffered
from candlevault.funding import FundingPage
from candlevault.identities import Share
from candlevault.ingest.life import facts_in, facts_of
from candlevault.ingest.market import SETTLING_MS, Market, traffic_of
from candlevault.providers.contract import FundingProvider
from candlevault.series import Series
from candlevault.storage import funding as store
from candlevault.storage import instruments
from candlevault.storage.database import retrying
from candlevault.storage.funding import Written
from candlevault.storage.locks import funding_lock
from candlevault.windows import Window

_ROUNDS = 3


@dataclass(slots=True)
class FundingReport:
    """What a load of funding did. Plain values only, so that it can be handed between tasks.

    `events` are stored in `window` now; `silences` are the pauses in it that are longer than
    any contract's interval: the venue answered, and told no event between two others.
    """

    symbol: str
    window: str
    events: int = 0
    events_added: int = 0
    events_changed: int = 0
    events_unchanged: int = 0
    events_withdrawn: int = 0
    windows_loaded: int = 0
    requests: int = 0
    retries: int = 0
    seconds: float = 0.0
    silences: list[str] = field(default_factory=list)

    def add(self, done: Written) -> None:
        """Count in what one write did."""
        self.windows_loaded += 1
        self.events_added += done.inserted
        self.events_changed += done.changed
        self.events_unchanged += done.unchanged
        self.events_withdrawn += done.withdrawn

    def as_dict(self) -> dict[str, object]:
        """The report as JSON-able values."""
        return asdict(self)


def load(
    market: Market,
    series: Series,
    window: Window,
    *,
    reread: Window | None = None,
    wait_s: float = 1800.0,
) -> FundingReport:
    """Bring the funding of `window` into the store, up to the venue's last settled minute.

    What is loaded already is not asked for again, but for `reread`: there a rate that the
    venue tells differently now becomes the newest version, and an event that it tells no more
    is withdrawn. Windows are widened to whole minutes. Waits while another run loads the same
    instrument's funding and then finds its work done.

    Raises InvalidRequest for a market without funding or a window that lies in the future,
    NotOffered for a source that has no funding rates, what a candle load raises when the
    provider fails (nothing of that part is stored then), SeriesBusy when another run still
    holds it after `wait_s` seconds.
    """
    if not funding.is_paid(series.market):
        raise InvalidRequest(
            "market", "has no funding: only positions in perpetual futures pay it", series.market
        )
    provider = market.venue.funding
    if provider is None:
        raise NotOffered(f"{series.venue} offers no funding rates", symbol=series.symbol)
    started, spent = time.monotonic(), traffic_of(market.venue)
    now_ms = market.venue.server_time_ms()
    asked = _settled_part(window, now_ms)
    again = None if reread is None else funding.whole_minutes(reread).intersection(asked)
    report = FundingReport(series.symbol, str(asked))
    for share in funding.shares(series):
        part = share.window.intersection(asked)
        if part is None:
            continue
        instrument_id = _instrument(market, series, share)

        def waiting() -> None:
            market.say(f"{series}: another run is loading its funding; waiting to share its work")

        with funding_lock(
            market.connect, instrument_id, wait_s=wait_s, waiting=waiting, sleep=market.sleep
        ):
            for piece in _wanted(market, instrument_id, part, again):
                report.add(_load(market, provider, series, instrument_id, piece, now_ms))
    _conclude(market, series, asked, report)
    requests, retries = traffic_of(market.venue)
    report.requests, report.retries = requests - spent[0], retries - spent[1]
    report.seconds = round(time.monotonic() - started, 3)
    return report


def _settled_part(window: Window, now_ms: int) -> Window:
    """The window in whole minutes, up to the last one whose events have surely happened.

    A minute is over as a one-minute candle is: an event at an open time that a backtest can
    read by now is never beyond it.
    """
    horizon = now_ms - SETTLING_MS
    horizon -= horizon % funding.MINUTE_MS
    whole = funding.whole_minutes(window)
    if whole.start_ms >= horizon:
        raise InvalidRequest("window", "lies in the future: no minute of it is over", str(window))
    return Window(whole.start_ms, min(whole.end_ms, horizon))


def _instrument(market: Market, series: Series, share: Share) -> int:
    """The id of the share's instrument; the venue is asked of one that is not known yet."""
    place = (series.venue, series.market, series.symbol, share.lifetime.number)

    def known() -> int | None:
        with market.connect() as connection:
            return instruments.find(connection, *place)

    found = retrying(known)
    if found is not None:
        return found
    facts = facts_in(share, facts_of(market.venue, series.symbol, series))

    def record() -> int:
        with market.connect() as connection:
            return instruments.record(
                connection, series.venue, series.market, facts, share.lifetime
            )

    return retrying(record)


def _wanted(market: Market, instrument_id: int, part: Window, again: Window | None) -> list[Window]:
    """What to ask for, ascending: what is missing, and what is to be read again."""

    def missing() -> list[Window]:
        with market.connect() as connection:
            return store.missing(connection, instrument_id, part)

    wanted = retrying(missing)
    reread = None if again is None else again.intersection(part)
    return windows.merge([*wanted, *([] if reread is None else [reread])])


def _load(
    market: Market,
    provider: FundingProvider,
    series: Series,
    instrument_id: int,
    piece: Window,
    now_ms: int,
) -> Written:
    """Fetch one window and write it; anew if somebody else has written meanwhile."""

    def newest() -> datetime | None:
        with market.connect() as connection:
            return store.newest_load(connection, instrument_id)

    for turn in range(1, _ROUNDS + 1):
        after = retrying(newest)
        pages = provider.funding(series.symbol, piece, now_ms)

        def write(pages: list[FundingPage] = pages, after: datetime | None = after) -> Written:
            return store.write(market.connect, instrument_id, pages, after=after)

        try:
            done = retrying(write)
        except LeaseLost:
            if turn == _ROUNDS:
                raise
            continue
        count = sum(len(page.events) for page in pages)
        market.say(f"{series}: {count} funding events of {piece}, {done.inserted} of them new")
        return done
    raise AssertionError("unreachable")


def _conclude(market: Market, series: Series, asked: Window, report: FundingReport) -> None:
    """Count what is stored now, and say where the venue tells nothing for too long."""

    def read() -> store.Funding:
        with market.connect() as connection:
            return store.read_series(connection, series, asked)

    times = retrying(read).events.times
    report.events = len(times)
    report.silences = [str(window) for window in funding.silences(times)]
    for window in report.silences:
        market.say(f"{series}: the venue tells no funding inside {window}")
