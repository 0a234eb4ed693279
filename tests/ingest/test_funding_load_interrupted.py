"""Loads of funding that others overtake or that are killed: in the end complete."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest

from candlevault import paths
from candlevault.errors import LeaseLost, SeriesBusy
from candlevault.funding import FundingPage
from candlevault.ingest import funding
from candlevault.ingest.market import Market
from candlevault.series import Series
from candlevault.storage import funding as store
from candlevault.storage.database import connector
from candlevault.storage.locks import begin_funding_write, funding_lock
from candlevault.windows import Window
from tests.support.funding_loads import (
    ALL,
    FIRST,
    SECOND_PAGE,
    expected,
    instrument_of,
    market,
    pairs,
    replay,
    rows,
    said,
    series,
    stored,
    venue,
)
from tests.support.market import DAY, SimulatedVenue, no_sleep, span, venue_at

__all__ = ["market", "replay", "said", "series", "venue"]

# -- others at work -----------------------------------------------------------------------------


def test_of_two_loaders_at_once_one_works_and_the_other_waits(market, series, venue, database):
    """Both also find the instrument unknown, and make it once."""
    venue.fault("latency", "fundingRate", times=1, ms=300)
    gate = threading.Barrier(2)
    lines: list[str] = []

    def work(number: int) -> funding.FundingReport:
        mine = Market(connector(database), venue_at(venue.base_url, "um"), say=lines.append)
        gate.wait()
        return funding.load(mine, series, ALL)

    with ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(work, range(2)))
    assert sorted(report.windows_loaded for report in reports) == [0, 1]
    assert {report.events for report in reports} == {len(expected())}
    assert venue.asked()["um.fundingRate"] == 3
    assert sum("waiting to share its work" in line for line in lines) == 1
    assert pairs(stored(market, series)) == expected()
    assert rows(
        market,
        "SELECT count(*) FROM market.funding_rates WHERE instrument_id = %s",
        instrument_of(market, series),
    ) == [(len(expected()),)]


def test_a_loader_does_not_wait_for_ever(market, series):
    funding.load(market, series, span("2023-03-01", "2023-03-02"))
    with (
        funding_lock(market.connect, instrument_of(market, series)),
        pytest.raises(SeriesBusy, match=r"funding of instrument \d+ is still being loaded"),
    ):
        funding.load(market, series, ALL, wait_s=0)


class Meddling:
    """A provider during whose answers somebody else writes, so many times."""

    def __init__(self, market: Market, series: Series, times: int) -> None:
        self.traffic = market.venue.funding.traffic
        self._real = market.venue.funding
        self._market, self._series, self._left = market, series, times

    def funding(self, symbol: str, window: Window, now_ms: int) -> list[FundingPage]:
        pages = self._real.funding(symbol, window, now_ms)
        if self._left:
            self._left -= 1
            part = Window(FIRST, FIRST + DAY)
            instrument_id = instrument_of(self._market, self._series)
            with self._market.connect() as connection:
                after = store.newest_load(connection, instrument_id)
            wrong = [
                replace(page, events=page.events[:1])
                for page in self._real.funding(symbol, part, now_ms)
            ]
            store.write(self._market.connect, instrument_id, wrong, after=after)
        return pages


def test_a_loader_that_was_overtaken_asks_again(market, series):
    """Its lock was lost: what it has fetched may be older than what is stored by now."""
    meddled = replace(market, venue=replace(market.venue, funding=Meddling(market, series, 2)))
    report = funding.load(meddled, series, ALL)
    assert (report.events_added, report.events_unchanged) == (len(expected()) - 1, 1)
    assert pairs(stored(market, series)) == expected()


def test_a_loader_that_is_overtaken_every_time_gives_up_for_now(market, series):
    meddled = replace(market, venue=replace(market.venue, funding=Meddling(market, series, 3)))
    with pytest.raises(LeaseLost) as lost:
        funding.load(meddled, series, ALL)
    assert lost.value.transient


def test_a_commit_whose_answer_was_lost_is_found_done(market, series, monkeypatch):
    """The write is tried again, finds somebody's work (its own) and ends with the same rows."""
    real, answers = store.write, ["lost", "lost"]

    def write(*arguments, **options):
        done = real(*arguments, **options)
        if answers:
            answers.pop()
            raise psycopg.OperationalError("the server closed the connection")
        return done

    monkeypatch.setattr(store, "write", write)
    monkeypatch.setattr("candlevault.storage.database.time.sleep", no_sleep)
    report = funding.load(market, series, ALL)
    assert answers == []
    assert (report.events_added, report.events_unchanged) == (0, len(expected()))
    assert pairs(stored(market, series)) == expected()


# -- killed -------------------------------------------------------------------------------------

LOADING = """
import sys
from candlevault.ingest import funding
from candlevault.ingest.market import Market
from candlevault.series import parse
from candlevault.storage.database import connector
from candlevault.windows import Window
from tests.support.market import venue_at

url, base, symbol, start, end = sys.argv[1:]
market = Market(connector(url), venue_at(base, "um"))
series = parse("binance", "um", symbol, "1h")
funding.load(market, series, Window(int(start), int(end)))
"""


@pytest.fixture
def start(database: str, venue: SimulatedVenue, series: Series):
    """Starts loads in processes of their own; they end with the test."""
    started: list[subprocess.Popen] = []

    def process() -> subprocess.Popen:
        path = f"{paths.PLUGINS}{os.pathsep}{paths.PROJECT}"
        arguments = [database, venue.base_url, series.symbol, ALL.start_ms, ALL.end_ms]
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", LOADING, *map(str, arguments)],
                env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
            )
        )
        return started[-1]

    yield process
    for one in started:
        one.kill()
        one.wait(10)


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.02)


def test_killed_between_two_pages_a_load_leaves_nothing_and_the_next_does_all(
    market, series, venue, start
):
    venue.fault("latency", SECOND_PAGE, times=1, ms=30_000)
    loading = start()
    wait_until(lambda: venue.asked().get("um.fundingRate", 0) == 2)
    loading.kill()
    assert loading.wait(10) != 0
    found = stored(market, series)
    assert (pairs(found), found.missing) == ([], (ALL,))
    venue.heal()
    assert start().wait(60) == 0
    assert pairs(stored(market, series)) == expected()


def test_killed_inside_its_transaction_a_load_leaves_nothing_and_the_next_does_all(
    market, series, start
):
    """Held up before its first row by another transaction, and killed there."""
    funding.load(market, series, span("2022-01-01", "2022-01-02"))
    instrument_id = instrument_of(market, series)
    waiting = (
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        f" AND objid = {instrument_id}"
    )
    with market.connect() as other, other.transaction():
        begin_funding_write(other, instrument_id)
        loading = start()
        wait_until(lambda: rows(market, waiting) == [(1,)])
        loading.kill()
        assert loading.wait(10) != 0
    wait_until(lambda: rows(market, waiting) == [(0,)])
    found = stored(market, series)
    assert (pairs(found), found.missing) == ([], (ALL,))
    assert start().wait(60) == 0
    assert pairs(stored(market, series)) == expected()
