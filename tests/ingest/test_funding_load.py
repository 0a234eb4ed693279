"""Loads of funding: complete or said to be missing, whatever happens on the way."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime

import psycopg
import pytest

from candlevault import decimals, paths, timeframe
from candlevault.backtest.data.frame import build_frame
from candlevault.backtest.data.funding import needed, on_grid
from candlevault.errors import (
    BadPayload,
    InvalidRequest,
    LeaseLost,
    NotOffered,
    SeriesBusy,
    Unavailable,
    UnknownSymbol,
)
from candlevault.funding import FundingPage, silences
from candlevault.ingest import funding
from candlevault.ingest.load import load as load_candles
from candlevault.ingest.market import Market
from candlevault.series import Series, parse
from candlevault.simulator import build_exchange, running
from candlevault.storage import candle_reads, series_registry
from candlevault.storage import funding as store
from candlevault.storage.database import connector
from candlevault.storage.locks import begin_funding_write, funding_lock
from candlevault.windows import Window
from tests.support.market import (
    DAY,
    HOUR,
    ReplayFiles,
    SimulatedVenue,
    grid,
    ms,
    no_sleep,
    simulated,
    span,
    venue_at,
)

FIRST = ms("2023-01-01")
NOW = ms("2024-06-20T12:30")
EIGHT = 8 * HOUR
ALL = Window(FIRST, ms("2024-06-20"))
SILENT = Window(ms("2023-05-01T16:00"), ms("2023-05-03T08:00"))
SYMBOLS = [f"F{i:03}USDT" for i in range(60)]


def rates() -> list[tuple[int, str, str]]:
    """Every eight hours a few milliseconds late, but for one pause; a mark price but at first."""
    return [
        (t + t // HOUR % 13, f"{(t // HOUR % 2001 - 1000) / 1e7:.8f}", "" if t < FIRST + DAY
         else "61440.20000000")
        for t in range(FIRST, NOW + DAY, EIGHT)
        if not SILENT.start_ms < t < SILENT.end_ms
    ]  # fmt: skip


RATES = rates()


@pytest.fixture(scope="module")
def replay(tmp_path_factory) -> Iterator[SimulatedVenue]:
    files = ReplayFiles(tmp_path_factory.mktemp("replay"))
    files.write(SYMBOLS[0], grid(Window(FIRST, FIRST + 40 * DAY)), market="um")
    files.write_funding(SYMBOLS[0], RATES)
    first = files.root / "um_futures" / SYMBOLS[0]
    for symbol in (*SYMBOLS[1:], "GONEUSDT"):
        (files.root / "um_futures" / symbol).symlink_to(first)
    files.end("GONEUSDT", "2023-02-10T00:00:00Z", "um", forgotten=True)
    files.write("BTCUSDT", grid(Window(FIRST, FIRST + DAY)))
    with simulated(files.root, NOW) as running:
        yield running


@pytest.fixture
def venue(replay: SimulatedVenue) -> SimulatedVenue:
    replay.exchange.reset()
    return replay


@pytest.fixture
def series() -> Series:
    """A symbol that no other test uses, all with the same funding."""
    return parse("binance", "um", SYMBOLS.pop(), "1h")


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def market(database: str, venue: SimulatedVenue, said: list[str]) -> Market:
    at = venue_at(venue.base_url, "um")
    return Market(connector(database), at, say=said.append, sleep=no_sleep)


def stored(
    market: Market, series: Series, window: Window = ALL, as_of: datetime | None = None
) -> store.Funding:
    with market.connect() as connection:
        return store.read_series(connection, series, window, as_of)


def pairs(found: store.Funding) -> list[tuple[int, float]]:
    return list(zip(found.events.times.tolist(), found.events.rates.tolist(), strict=True))


def expected(window: Window = ALL) -> list[tuple[int, float]]:
    return [(t, float(rate)) for t, rate, _ in RATES if window.contains(t)]


def rows(market: Market, statement: str, *values: object) -> list[tuple]:
    with market.connect() as connection:
        return connection.execute(statement, values).fetchall()


def database_now(market: Market) -> datetime:
    return rows(market, "SELECT clock_timestamp()")[0][0]


def instrument_of(market: Market, series: Series) -> int | None:
    found = rows(
        market, "SELECT instrument_id FROM market.instruments WHERE symbol = %s", series.symbol
    )
    return found[0][0] if found else None


# -- what a load does ---------------------------------------------------------------------------


def test_a_load_stores_every_event_of_the_window_and_says_so(market, series, venue):
    report = funding.load(market, series, ALL)
    found = stored(market, series)
    assert pairs(found) == expected()
    assert found.missing == ()
    assert (report.events, report.events_added) == (len(expected()), len(expected()))
    assert (report.windows_loaded, report.retries) == (1, 0)
    assert (report.symbol, report.window) == (series.symbol, str(ALL))
    assert report.requests == sum(venue.asked().values())
    marks = rows(
        market,
        "SELECT count(*), count(mark_price) FROM market.funding WHERE symbol = %s",
        series.symbol,
    )
    assert marks == [(len(expected()), len(expected()) - 3)]


def test_what_is_loaded_is_never_asked_for_again(market, series, venue):
    funding.load(market, series, ALL)
    venue.forget()
    report = funding.load(market, series, Window(ALL.start_ms + DAY, ALL.end_ms - DAY))
    assert venue.asked() == {"um.time": 1}
    assert (report.events_added, report.windows_loaded) == (0, 0)
    assert report.events == len(expected()) - 6


def test_only_what_is_missing_is_asked_for(market, series, venue):
    funding.load(market, series, span("2023-03-01", "2023-03-11"))
    funding.load(market, series, span("2023-04-01", "2023-04-11"))
    report = funding.load(market, series, span("2023-02-20", "2023-04-21"))
    assert (report.windows_loaded, report.events_added) == (3, 30 + 63 + 27)
    assert pairs(stored(market, series, span("2023-02-20", "2023-04-21"))) == expected(
        span("2023-02-20", "2023-04-21")
    )


def test_a_window_in_which_nothing_was_settled_is_loaded_all_the_same(market, series, venue):
    for quiet in (span("2022-01-01", "2022-06-01"), span("2023-02-01T01:00", "2023-02-01T07:00")):
        assert stored(market, series, quiet).missing == (quiet,)
        report = funding.load(market, series, quiet)
        assert (report.events, report.windows_loaded) == (0, 1)
        assert stored(market, series, quiet).missing == ()
    venue.forget()
    funding.load(market, series, span("2022-01-01", "2022-06-01"))
    assert venue.asked() == {"um.time": 1}


def test_all_timeframes_of_a_symbol_share_its_funding(market, series, venue):
    funding.load(market, series, ALL)
    venue.forget()
    for code in ("1m", "1d", "1w"):
        funding.load(market, replace(series, timeframe=timeframe.parse(code)), ALL)
    assert venue.asked() == {"um.time": 3}


def test_an_instrument_is_the_one_that_its_candles_have(market, series):
    window = Window(FIRST, FIRST + 2 * DAY)
    funding.load(market, series, window)
    load_candles(market, series, window, purpose="load")
    funding.load(market, series, Window(FIRST, FIRST + 4 * DAY))
    found = rows(
        market,
        "SELECT i.instrument_id, i.status, count(DISTINCT s.series_id), count(DISTINCT f.*)"
        " FROM market.instruments i LEFT JOIN market.series s USING (instrument_id)"
        " LEFT JOIN market.funding f USING (instrument_id) WHERE i.symbol = %s GROUP BY 1, 2",
        series.symbol,
    )
    assert found == [(instrument_of(market, series), "TRADING", 1, 12)]


def test_windows_are_loaded_by_whole_minutes(market, series):
    """Or an event a few milliseconds late could lie in no window."""
    edge = FIRST + 2 * DAY + EIGHT
    late = next(t for t, _, _ in RATES if t >= edge)
    assert late > edge
    funding.load(market, series, Window(edge - DAY + 1, edge + 1))
    assert stored(market, series, Window(edge, edge + 60_000)).missing == ()
    assert pairs(stored(market, series, Window(edge, edge + 60_000)))[0][0] == late


def test_the_running_minute_is_not_loaded_and_the_last_one_is(market, series, venue):
    settled = ms("2024-06-20T08:00")
    venue.at(settled + 61_999)
    funding.load(market, series, Window(settled - HOUR, NOW))
    assert stored(market, series, Window(settled - HOUR, NOW)).missing == (Window(settled, NOW),)
    venue.at(settled + 62_000)
    report = funding.load(market, series, Window(settled - HOUR, NOW))
    assert report.events_added == 1
    assert stored(market, series, Window(settled - HOUR, NOW)).missing == (
        Window(settled + 60_000, NOW),
    )


def test_whatever_a_backtest_may_read_by_now_can_be_loaded_by_now(market, series, venue):
    """A candle counts as closed two seconds after its end; so does its funding."""
    for code in ("1m", "1h", "1d"):
        frame = timeframe.parse(code)
        end = frame.floor(NOW)
        venue.at(end + 2_000)
        wanted = needed(Window(end - 3 * frame.step_ms, end), frame)
        funding.load(market, series, wanted)
        assert stored(market, series, wanted).missing == ()


def test_pauses_longer_than_any_interval_are_told(market, series, said):
    report = funding.load(market, series, ALL)
    found = silences(stored(market, series).events.times)
    assert report.silences == [str(window) for window in found]
    assert [window.start_ms // 60_000 * 60_000 for window in found] == [SILENT.start_ms]
    assert any("tells no funding inside [2023-05-01T16:00" in line for line in said)


def test_what_was_done_is_said(market, series, said):
    funding.load(market, series, span("2023-03-01", "2023-03-02"))
    assert said == [
        f"{series}: 3 funding events of {span('2023-03-01', '2023-03-02')}, 3 of them new"
    ]


def test_the_report_is_made_of_plain_values(market, series):
    report = funding.load(market, series, span("2023-05-01", "2023-05-05")).as_dict()
    assert {type(value) for value in report.values()} == {str, int, float, list}


# -- what cannot be loaded ----------------------------------------------------------------------


def test_spot_has_no_funding_and_the_function_says_so(market, venue, database):
    spot = replace(market, venue=venue_at(venue.base_url))
    with pytest.raises(InvalidRequest, match="only positions in perpetual futures") as refused:
        funding.load(spot, parse("binance", "spot", "BTCUSDT", "1h"), ALL)
    assert refused.value.field == "market"
    assert venue.asked() == {}


def test_a_source_without_funding_says_so(market, series):
    without = replace(market, venue=replace(market.venue, funding=None))
    with pytest.raises(NotOffered, match="offers no funding rates"):
        funding.load(without, series, ALL)


def test_a_window_in_the_future_is_refused(market, series):
    for start in (NOW - 20_000, NOW + DAY):
        with pytest.raises(InvalidRequest, match="lies in the future"):
            funding.load(market, series, Window(start, NOW + 2 * DAY))
    assert instrument_of(market, series) is None


def test_an_unknown_symbol_leaves_nothing_behind(market):
    nobody = parse("binance", "um", "NOBODYUSDT", "1h")
    with pytest.raises(UnknownSymbol):
        funding.load(market, nobody, ALL)
    assert instrument_of(market, nobody) is None


def test_a_symbol_that_the_venue_has_forgotten_is_loaded_from_its_archive(market):
    gone = parse("binance", "um", "GONEUSDT", "1h")
    window = span("2023-01-01", "2023-02-01")
    report = funding.load(market, gone, window)
    assert pairs(stored(market, gone, window)) == expected(window)
    assert report.events == 93
    assert rows(
        market, "SELECT status FROM market.instruments WHERE symbol = 'GONEUSDT'"
    ) == [("ARCHIVED",)]  # fmt: skip


SECOND_PAGE = f"fundingRate.*startTime=(?!{FIRST}&)"


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("reversed", BadPayload),
        ("duplicate_rows", BadPayload),
        ("html", BadPayload),
        ("error200", BadPayload),
        ("cut_body", Unavailable),
        ("503", Unavailable),
    ],
)
def test_a_bad_page_refuses_the_whole_window(market, series, venue, kind, error):
    """The first page, of a thousand events, is good; nothing of it is kept."""
    venue.fault(kind, SECOND_PAGE)
    with pytest.raises(error):
        funding.load(market, series, ALL)
    assert venue.asked()["um.fundingRate"] >= 2
    found = stored(market, series)
    assert (pairs(found), found.missing) == ([], (ALL,))
    venue.heal()
    funding.load(market, series, ALL)
    assert pairs(stored(market, series)) == expected()


def test_a_part_that_failed_does_not_take_back_one_that_was_loaded(market, series, venue):
    known = span("2023-03-01", "2023-03-11")
    funding.load(market, series, known)
    venue.fault("503", f"startTime={known.end_ms}&")
    with pytest.raises(Unavailable):
        funding.load(market, series, span("2023-02-01", "2023-04-01"))
    assert stored(market, series, span("2023-02-01", "2023-04-01")).missing == (
        Window(known.end_ms, ms("2023-04-01")),
    )


# -- restated -----------------------------------------------------------------------------------


def test_a_rate_that_the_venue_tells_differently_is_read_as_of_before_and_after(
    market, series, venue
):
    window = span("2023-03-01", "2023-03-03")
    funding.load(market, series, window)
    before, known = database_now(market), expected(window)
    third = next(t for t, _, _ in RATES if t == known[2][0])
    venue.fault("restated", rows=[{"open_time": third, "funding_rate": "-0.00750000"}])
    # Loading again does not ask again; reading again does.
    assert funding.load(market, series, window).windows_loaded == 0
    report = funding.load(market, series, window, reread=span("2023-02-28", "2023-03-02T12:00"))
    assert (report.events_changed, report.events_unchanged) == (1, 4)
    changed = [(t, -0.0075 if t == third else rate) for t, rate in known]
    assert pairs(stored(market, series, window)) == changed
    assert pairs(stored(market, series, window, before)) == known
    assert pairs(stored(market, series, window, database_now(market))) == changed


def test_an_event_that_the_venue_has_taken_back_is_withdrawn(market, series, venue):
    window = span("2023-03-01", "2023-03-03")
    funding.load(market, series, window)
    before = database_now(market)
    gone = expected(window)[1][0]
    venue.fault("drop_rows", open_times=[gone])
    report = funding.load(market, series, window, reread=window)
    assert (report.events_withdrawn, report.events_unchanged, report.events) == (1, 5, 5)
    assert gone not in dict(pairs(stored(market, series, window)))
    assert gone in dict(pairs(stored(market, series, window, before)))


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


# -- from the venue to the rows of a backtest -----------------------------------------------------


def test_candles_and_funding_of_a_contract_come_together_on_a_grid(database):
    """The seeded venue, loaded like any other: each row pays what the venue settled there."""
    window = span("2024-02-01", "2024-02-11")
    with running(build_exchange("simulated", now="2024-03-01", symbols=("ETHUSDT",))) as venue:
        market = Market(connector(database), venue_at(venue.base_url, "um"), say=lambda line: None)
        series = parse("binance", "um", "ETHUSDT", "4h")
        load_candles(market, series, window, purpose="backtest")
        wanted = needed(window, series.timeframe)
        funding.load(market, series, wanted)
        told = venue.exchange.source.funding("um", "ETHUSDT")
        settled = told.between(wanted.start_ms, wanted.end_ms - 1, 1000)
    with market.connect() as connection:
        kept = series_registry.find(connection, series)
        table = candle_reads.read(connection, kept, window, kept.revision)
        found = store.read_series(connection, series, wanted)
    columns = {
        name: table[name].to_numpy() if name == "open_time" else decimals.floats(table[name])
        for name in ("open_time", "open", "high", "low", "close", "volume")
    }
    frame = build_frame(series.timeframe, window, columns)
    found_rates = on_grid(frame.open_time, series.timeframe.step_ms, frame.present, found.events)
    assert found.missing == ()
    assert len(settled) == 30
    assert found_rates[0::2].tolist() == [float(row.rate) for row in settled]
    assert set(found_rates[1::2].tolist()) == {0.0}
