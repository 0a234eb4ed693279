"""Finer candles of bars in doubt: one revision a series, however often more had to be loaded."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from candlevault import timeframe
from candlevault.backtest.data import reading
from candlevault.backtest.data.finer import FinerCandles
from candlevault.backtest.data.gate import database_now
from candlevault.backtest.data.preparation import prepare
from candlevault.backtest.data.reading import Revisions
from candlevault.backtest.payload import parse
from candlevault.errors import CandlevaultError, DataMissing
from candlevault.ingest.load import load
from candlevault.storage.database import connector
from candlevault.windows import Window
from tests.support.market import HOUR, ReplayFiles, market_at, ms, simulated

START, END = ms("2024-02-01"), ms("2024-02-05")
QUARTER = HOUR // 4
FAR = 60
"""Hours that are never loaded together with the first ones: see finer._PAGE in the fixture."""


@pytest.fixture(scope="module")
def venue(tmp_path_factory):
    files = ReplayFiles(tmp_path_factory.mktemp("replay"))
    files.write("FINEUSDT", range(START, END + 6 * HOUR, QUARTER), "15m")
    with simulated(files.root, END + HOUR) as running:
        yield running


@pytest.fixture
def connect(market_db):
    return connector(market_db)


@pytest.fixture
def market(market_db, venue):
    return market_at(market_db, venue.base_url)


@pytest.fixture
def asked():
    return []


@pytest.fixture
def fetch(market, asked):
    def work(series, window):
        asked.append(window)
        return load(market, series, window, purpose="backtest")

    return work


@pytest.fixture(autouse=True)
def small_pages(monkeypatch):
    monkeypatch.setattr("candlevault.backtest.data.finer._PAGE", 4)


def request(**more):
    return parse(
        {
            "symbol": "FINEUSDT",
            "timeframe": "1h",
            "start_time": "2024-02-01T00:00:00Z",
            "end_time": "2024-02-05T00:00:00Z",
            "strategy": {"name": "sma_cross"},
            "intrabar": {"mode": "resolved", "timeframe": "15m"},
            **more,
        }
    )


def doubting(*rows: int):
    """A simulation with doubts in these hours."""
    questions = np.zeros(len(rows), dtype=[("symbol", np.int64), ("row", np.int64)])
    questions["row"] = rows
    times = np.arange(START, END, HOUR)
    return SimpleNamespace(questions=questions, log=SimpleNamespace(open_time=times))


def quarter_series():
    return dataclasses.replace(request().series, timeframe=timeframe.parse("15m"))


def hour(row: int) -> Window:
    return Window(START + row * HOUR, START + (row + 1) * HOUR)


def test_what_was_read_before_a_further_load_is_read_again_after_it(connect, fetch, asked):
    finer = FinerCandles(connect, request(), Revisions(), fetch)
    assert finer.look(doubting(3))
    (first,) = {one.revision for one in finer.reads}
    assert finer.look(doubting(3, FAR))
    assert asked == [hour(3), hour(FAR)]
    assert {one.window for one in finer.reads} == {hour(3), hour(FAR)}
    (last,) = {one.revision for one in finer.reads}
    assert last > first > 0
    assert finer.summary()["bars_with_candles"] == 2
    assert not finer.look(doubting(FAR))
    # And it is what whoever verifies it reads.
    stored = SimpleNamespace(reads=finer.reads, trust=None)
    again = FinerCandles(connect, request(), Revisions.as_read(stored, None))
    again.look(doubting(3))
    again.look(doubting(3, FAR))
    assert again.summary() == finer.summary()


def test_candles_that_changed_while_more_were_loaded_begin_anew(connect, market, fetch, venue):
    series = quarter_series()

    def restating(wanted, window):
        if window == hour(FAR):
            venue.fault("restated", rows=[{"open_time": hour(3).start_ms, "high": "999.0"}])
            try:
                load(market, series, hour(3), purpose="reread", reread=hour(3))
            finally:
                venue.heal()
        return fetch(wanted, window)

    finer = FinerCandles(connect, request(), Revisions(), restating)
    finer.look(doubting(3))
    assert 999.0 not in finer.at_hand().high
    assert finer.look(doubting(3, FAR))
    # Whether there is a doubt in the later hour was decided by what is no longer so.
    assert finer.at_hand() is None
    assert finer.look(doubting(3))
    assert 999.0 in finer.at_hand().high
    assert finer.summary()["bars"] == 1
    assert len({one.revision for one in finer.reads}) == 1


def test_a_publication_in_between_changes_nothing(connect, market, fetch, venue):
    series = quarter_series()
    load(market, series, Window(START, END), purpose="backtest")
    finer = FinerCandles(connect, request(), Revisions(), fetch)
    finer.look(doubting(3))
    venue.fault("restated", rows=[{"open_time": hour(FAR).start_ms, "high": "999.0"}])
    try:
        report = load(market, series, hour(FAR), purpose="reread", reread=hour(FAR))
    finally:
        venue.heal()
    assert report.candles_changed == 1
    finer.look(doubting(3, FAR))
    assert 999.0 not in finer.at_hand().high
    assert len({one.revision for one in finer.reads}) == 1


def test_window_and_warm_up_are_read_at_one_revision(connect, market, venue, monkeypatch):
    series = quarter_series()
    load(market, series, Window(START, END), purpose="backtest")
    given = request(
        timeframe="15m",
        start_time="2024-02-02T00:00:00Z",
        intrabar={},
        data={"warmup_bars": 8},
    )
    read, readings = reading.read, []

    def publishing(*asked):
        readings.append(read(*asked))
        if len(readings) == 1:
            venue.fault("restated", rows=[{"open_time": hour(23).start_ms, "high": "999.0"}])
            try:
                load(market, series, hour(23), purpose="reread", reread=hour(23))
            finally:
                venue.heal()
        return readings[-1]

    monkeypatch.setattr(reading, "read", publishing)
    prepared = prepare(connect, given)
    assert len(readings) == 2
    assert 999.0 not in prepared.inputs.seen[0].high
    assert len({one.revision for one in prepared.reads}) == 1


def test_as_of_a_past_time_nothing_is_loaded_and_the_report_says_why(connect, fetch, asked):
    request_then = request(data={"as_of": database_now(connect).isoformat()})
    finer = FinerCandles(connect, request_then, Revisions(request_then.data.as_of), fetch)
    assert finer.look(doubting(3, 4))
    assert asked == []
    report = finer.report()
    assert (report["timeframe"], report["bars"], report["bars_with_candles"]) == ("15m", 2, 0)
    assert "data.as_of" in report["reason"]
    assert report["problems"] == []


def test_what_was_stored_then_is_read_as_of_a_past_time(connect, market, fetch, asked):
    load(market, quarter_series(), Window(START, END), purpose="backtest")
    finer = FinerCandles(connect, request(), Revisions(database_now(connect)), fetch)
    finer.look(doubting(3))
    assert asked == []
    report = finer.report()
    assert (report["bars_with_candles"], report["reason"]) == (1, None)


def test_what_could_not_be_loaded_is_reported_once_and_briefly(connect):
    asked = []

    def refused(series, window):
        asked.append(window)
        raise DataMissing("gone " * 500)

    finer = FinerCandles(connect, request(), Revisions(), refused)
    rows = list(range(0, 90, 5))
    finer.look(doubting(*rows))
    finer.look(doubting(*rows, 91))
    assert len(asked) == len(rows) + 1
    report = finer.report()
    assert report["reason"] is None
    assert report["problems"][0].startswith("binance")
    assert "gone" in report["problems"][0]
    assert len(report["problems"]) == 11 and report["problems"][-1] == "and 9 more"
    assert max(map(len, report["problems"])) <= 500


def test_a_venue_that_is_away_is_not_a_problem_of_the_candles(connect):
    class Away(CandlevaultError):
        transient = True

    def away(series, window):
        raise Away("not now")

    with pytest.raises(Away):
        FinerCandles(connect, request(), Revisions(), away).look(doubting(3))


def test_whoever_verifies_reads_nothing_of_series_that_were_not_read(connect, market):
    load(market, quarter_series(), Window(START, END), purpose="backtest")
    stored = SimpleNamespace(reads=[], trust=None)
    finer = FinerCandles(connect, request(), Revisions.as_read(stored, None))
    finer.look(doubting(3))
    assert finer.summary()["bars_with_candles"] == 0
