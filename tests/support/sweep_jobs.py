"""Sweeps against a real store and a simulated venue: the fixtures and the payload.

A file of tests imports all the fixtures that those it uses need; venue and database are its own.
"""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest

from candlevault.backtest.search import concluding, jobs
from candlevault.ingest import funding
from candlevault.ingest.load import Market, load
from candlevault.storage import sweeps
from candlevault.storage.database import connector
from tests.support.market import HOUR, ReplayFiles, ms, simulated, venue_at

NOW = ms("2024-04-20T00:20")
START, END = "2024-02-05T00:00:00Z", "2024-03-01T00:00:00Z"


def wave(open_times) -> dict[int, dict[str, object]]:
    """Prices that rise and fall in two rhythms, so that averages cross."""
    changes = {}
    before = 100.0
    for time in open_times:
        step = time // HOUR
        close = round(100.0 + 8.0 * np.sin(step / 9.0) + 5.0 * np.sin(step / 31.0), 4)
        high, low = max(before, close) + 0.5, min(before, close) - 0.5
        prices = {"open": before, "high": high, "low": low, "close": close}
        changes[time] = {name: Decimal(str(round(value, 4))) for name, value in prices.items()}
        before = close
    return changes


@pytest.fixture(scope="module")
def venue(tmp_path_factory):
    files = ReplayFiles(tmp_path_factory.mktemp("replay"))
    hours = range(ms("2024-02-01"), NOW, HOUR)
    files.write("WAVEUSDT", hours, changes=wave(hours))
    files.write("WAVEUSDT", hours, changes=wave(hours), market="um")
    files.write_funding(
        "WAVEUSDT", [(time, "0.00030000", "100") for time in hours if time % (8 * HOUR) == 0]
    )
    closed = range(ms("2024-02-14"), ms("2024-02-18"), HOUR)
    files.write("HOLEUSDT", [time for time in hours if time not in closed])
    with simulated(files.root, NOW) as running:
        yield running


@pytest.fixture(scope="module")
def url(postgres_server, market_template):
    """A database of the module; sweeps of different runs do not touch each other."""
    with postgres_server.database(market_template) as given:
        yield given


@pytest.fixture
def connect(url):
    return connector(url)


def conf(search=None, *, backtest=None, **more) -> dict:
    """The payload of a sweep of averages; `backtest` changes the payload of one backtest."""
    return {
        "backtest": {
            "symbol": "WAVEUSDT",
            "timeframe": "1h",
            "start_time": START,
            "end_time": END,
            "strategy": {"name": "sma_cross"},
        }
        | (backtest or {}),
        "search": search or {"params": {"fast": {"from": 2, "to": 11}, "slow": [12, 18, 24]}},
    } | more


WALK = {"in_sample_days": 9, "out_of_sample_days": 4}


@pytest.fixture
def begin(connect, url, venue):
    """Accepts, gathers and plans; gives the batches."""

    def work(run_id: str, given: dict):
        there = venue_at(venue.base_url, given["backtest"].get("market", "spot"))
        market = Market(connect, there)
        jobs.accept(connect, lambda *_: there, run_id, given, default_venue="binance")
        jobs.gather(
            connect,
            run_id,
            lambda series, window: load(market, series, window, purpose="backtest"),
            lambda series, window: funding.load(market, series, window),
        )
        return jobs.plan(connect, run_id)

    return work


@pytest.fixture
def run(begin, connect):
    """The whole sweep, one batch after the other; gives the headline figures."""

    def work(run_id: str, given: dict | None = None) -> dict:
        for batch in begin(run_id, given or conf()):
            jobs.run_batch(connect, run_id, batch.number)
        return concluding.conclude(connect, run_id)

    return work


def record(connect, run_id: str):
    """What is kept of the sweep of a run."""
    return sweeps.get(connect, run_id)


def rows(connect, statement: str, run_id: str) -> list[tuple]:
    """The rows of a statement about the sweep of a run, whose id is its one parameter."""
    with connect() as connection:
        return connection.execute(statement, (record(connect, run_id).sweep_id,)).fetchall()
