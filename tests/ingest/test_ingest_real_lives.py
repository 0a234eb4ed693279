"""Real instruments over time: listed late, ended, renamed, and a ticker used twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from candlevault.backtest import jobs
from candlevault.errors import InvalidRequest
from candlevault.ingest.load import load
from candlevault.ingest.syncs import gap_fill, increment
from candlevault.quality import check
from candlevault.simulator import build_exchange, running
from candlevault.storage import candle_reads, series_registry
from candlevault.storage.database import connector
from tests.support.candles import series
from tests.support.market import HOUR, SimulatedVenue, market_at, ms, span, venue_at

SYMBOLS = ("SOLUSDT", "ARBUSDT", "LUNAUSDT", "MATICUSDT", "NANOUSDT", "USTUSDT")
NOW = ms("2023-12-30T20:01")
WINDOW = span("2020-01-01", "2023-12-30T20:00")
OUTAGES = {
    # symbol: outage hours inside its life, by the data's own account
    "SOLUSDT": 20, "ARBUSDT": 1, "MATICUSDT": 32, "NANOUSDT": 11, "USTUSDT": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def venue(shared_data: Path, tmp_path_factory):
    root = tmp_path_factory.mktemp("lives")
    (root / "spot").mkdir()
    for symbol in SYMBOLS:
        folder = root / "spot" / symbol
        folder.mkdir()
        source = shared_data / "klines" / "spot" / symbol / "1h.csv.gz"
        (folder / "1h.csv.gz").symlink_to(source.resolve())
    ended = {
        "spot/NANOUSDT": {"ended": True},
        # REST has forgotten this one: only the archive still knows it.
        "spot/USTUSDT": {"ended": True, "forgotten": True},
    }
    (root / "manifest.json").write_text(json.dumps(ended))
    with running(build_exchange(f"replay:{root}", now=NOW)) as simulator:
        yield SimulatedVenue(simulator.base_url, simulator.exchange)


@pytest.fixture(scope="module")
def loaded(database, venue):
    market = market_at(database, venue.base_url)
    return {s: load(market, series("1h", s), WINDOW, purpose="backfill") for s in SYMBOLS}


def lives(database: str, symbol: str) -> list[series_registry.StoredSeries]:
    with connector(database)() as connection:
        return series_registry.lives(connection, series("1h", symbol))


@pytest.mark.parametrize(
    ("symbol", "first", "end"),
    [
        ("SOLUSDT", "2020-08-11T06:00", None),
        ("ARBUSDT", "2023-03-23T15:00", None),
        ("MATICUSDT", None, None),
        ("NANOUSDT", "2021-04-04T21:00", "2022-01-24T04:00"),
        ("USTUSDT", "2021-12-24T08:00", "2022-05-13T01:00"),
    ],
)
def test_coverage_counts_only_the_life(loaded, database, symbol, first, end):
    assert (loaded[symbol].status, loaded[symbol].lost) == ("completed", 0)
    [stored] = lives(database, symbol)
    life = stored.life.intersection(WINDOW)
    assert life.start_ms == (WINDOW.start_ms if first is None else ms(first))
    assert life.end_ms == (WINDOW.end_ms if end is None else ms(end))
    report = check.check(connector(database), stored, life, NOW)
    assert report.expected == (life.end_ms - life.start_ms) // HOUR
    assert (report.known_absent, report.lost) == (OUTAGES[symbol], 0)
    assert report.stored == report.expected - OUTAGES[symbol]
    assert report.completeness_percentage == 100
    assert report.failures == []


def test_luna_is_two_instruments_each_with_its_life(loaded, database):
    assert (loaded["LUNAUSDT"].status, loaded["LUNAUSDT"].lost) == ("completed", 0)
    old, new = lives(database, "LUNAUSDT")
    assert (old.lifetime, new.lifetime) == (1, 2)
    assert (old.life.start_ms, old.life.end_ms) == (ms("2020-08-21T10:00"), ms("2022-05-13T01:00"))
    assert new.life.start_ms == ms("2022-05-31T06:00")
    total = 0
    for stored in (old, new):
        report = check.check(connector(database), stored, stored.life.intersection(WINDOW), NOW)
        assert (report.lost, report.completeness_percentage, report.failures) == (0, 100, [])
        total += report.stored
    assert total == 28_978


def test_a_read_over_both_lunas_is_refused_with_the_reason(loaded, database):
    with (
        connector(database)() as connection,
        pytest.raises(InvalidRequest, match=r"LUNAUSDT is 2 instruments here .*Terra"),
    ):
        series_registry.resolve(
            connection, series("1h", "LUNAUSDT"), span("2022-05-01", "2022-07-01")
        )


def test_a_read_of_one_luna_finds_it(loaded, database):
    for window, price in (
        (span("2022-04-01", "2022-04-02"), 100),
        (span("2022-06-10", "2022-06-11"), 3),
    ):
        with connector(database)() as connection:
            stored = series_registry.resolve(connection, series("1h", "LUNAUSDT"), window)
            table = candle_reads.read(connection, stored, window, stored.revision)
        assert table.num_rows == 24
        close = float(table["close"][0].as_py())
        assert price / 2 < close < price * 2


def payload(symbol: str, start: str, end: str, **data) -> dict:
    return {
        "symbol": symbol,
        "timeframe": "1h",
        "start_time": start,
        "end_time": end,
        "strategy": {"name": "sma_cross", "params": {"fast": 10, "slow": 30}},
        "data": data,
    }


def accept(database, venue, run: str, conf: dict):
    return jobs.accept(
        connector(database),
        lambda *_: venue_at(venue.base_url),
        run,
        conf,
        default_venue="binance",
    )


def test_a_backtest_across_the_break_is_refused_with_the_reason(loaded, database, venue):
    conf = payload("LUNAUSDT", "2022-05-01T00:00:00Z", "2022-07-01T00:00:00Z")
    with pytest.raises(InvalidRequest, match="2 instruments here") as refusal:
        accept(database, venue, "across", conf)
    assert refusal.value.field == "start_time"
    with connector(database)() as connection:
        row = connection.execute(
            "SELECT status, failed_field, message FROM market.backtests WHERE dag_run_id = 'across'"
        ).fetchone()
    assert row[:2] == ("failed", "start_time")
    assert "Terra 2.0" in row[2]


def test_a_backtest_across_the_break_runs_when_asked_for(loaded, database, venue):
    connect = connector(database)
    conf = payload(
        "LUNAUSDT", "2022-05-01T00:00:00Z", "2022-07-01T00:00:00Z", across_identities=True
    )
    request = accept(database, venue, "asked", conf)
    gathered = jobs.gather(connect, "asked", request, lambda *_: pytest.fail("nothing to fetch"))
    assert gathered.lost == 0
    done = jobs.execute(connect, "asked", request)
    with connect() as connection:
        reads = connection.execute(
            "SELECT window_start, window_end FROM market.backtest_reads WHERE backtest_id = %s"
            " ORDER BY window_start",
            (done["backtest_id"],),
        ).fetchall()
    assert [(int(a.timestamp() * 1000), int(b.timestamp() * 1000)) for a, b in reads] == [
        (ms("2022-05-01"), ms("2022-05-28")),
        (ms("2022-05-28"), ms("2022-07-01")),
    ]


def test_a_backtest_inside_one_life_is_as_ever(loaded, database, venue):
    connect = connector(database)
    conf = payload("LUNAUSDT", "2022-06-05T00:00:00Z", "2022-07-01T00:00:00Z")
    request = accept(database, venue, "inside", conf)
    jobs.gather(connect, "inside", request, lambda *_: pytest.fail("nothing to fetch"))
    assert jobs.execute(connect, "inside", request)["trade_count"] > 0


@pytest.mark.parametrize("symbol", ["NANOUSDT", "USTUSDT"])
def test_what_has_ended_is_asked_for_no_more(loaded, database, venue, symbol):
    market = market_at(database, venue.base_url)
    venue.forget()
    for sync in (increment, gap_fill):
        report = sync(market, series("1h", symbol))
        assert (report.status, report.lost, report.total_batches) == ("ended", 0, 0)
    assert venue.asked_for_candles() == 0


def test_names_are_known(loaded, database):
    with connector(database)() as connection:
        rows = dict(
            connection.execute(
                "SELECT symbol, name FROM market.instruments"
                " WHERE symbol IN ('MATICUSDT', 'NANOUSDT')"
            ).fetchall()
        )
    assert rows == {"MATICUSDT": "Polygon", "NANOUSDT": "Nano"}
