"""The scheduled syncs: increment, gap fill and market sync, by the venue's clock."""

from __future__ import annotations

import pytest

from candlevault.errors import InvalidRequest, PartlyFailed
from candlevault.ingest.load import load
from candlevault.ingest.many import each
from candlevault.ingest.syncs import OVERLAP_MS, gap_fill, increment, market_sync
from candlevault.timeframe import from_ms
from candlevault.windows import Window
from tests.support.candles import series
from tests.support.market import (
    HOUR,
    ReplayFiles,
    SimulatedVenue,
    Store,
    grid,
    made,
    market_at,
    ms,
    plain,
    simulated,
    span,
    values_at,
)

FIRST, END = ms("2024-01-01"), ms("2024-05-01")
HOLE = span("2024-03-01T04:00", "2024-03-01T09:00")
NOW = ms("2024-04-10T10:20")
SYMBOLS = [f"S{i:02}USDT" for i in range(20)]


@pytest.fixture(scope="module")
def replay(tmp_path_factory):
    files = ReplayFiles(tmp_path_factory.mktemp("replay"))
    for symbol in SYMBOLS:
        files.write(symbol, [t for t in range(FIRST, END, HOUR) if not HOLE.contains(t)])
    with simulated(files.root, NOW) as venue:
        yield venue


@pytest.fixture
def venue(replay: SimulatedVenue) -> SimulatedVenue:
    replay.heal()
    replay.at(NOW)
    replay.forget()
    return replay


@pytest.fixture
def store(database) -> Store:
    """A series that no other test of this module has touched."""
    return Store(database, SYMBOLS.pop())


@pytest.fixture
def market(database, venue):
    return market_at(database, venue.base_url)


def backfill(market, store, window: Window):
    return load(market, store.series, window, purpose="backfill")


def opened(store: Store, window: Window) -> list[int]:
    return [row["open_time"] for row in store.read(window)]


# -- increment ---------------------------------------------------------------------------------


def test_an_increment_reaches_the_last_candle_closed_by_the_venues_clock(market, venue, store):
    backfill(market, store, span("2024-04-01", "2024-04-08"))
    report = increment(market, store.series)
    window = Window(ms("2024-04-01"), ms("2024-04-10T10:00"))
    assert opened(store, span("2024-04-01", "2024-05-01")) == grid(window)
    assert (report.status, report.candles_added, report.candles_changed) == ("completed", 58, 0)
    # The next hour has not closed until the venue says so, whatever this machine's clock says.
    venue.at("2024-04-10T11:00:01")
    assert increment(market, store.series).candles_added == 0
    venue.at("2024-04-10T11:00:02")
    assert increment(market, store.series).candles_added == 1


def test_an_increment_after_a_long_pause_leaves_no_gap(market, venue, store):
    backfill(market, store, span("2024-01-01", "2024-01-10"))
    report = increment(market, store.series)
    assert (report.status, report.lost) == ("completed", 0)
    assert len(opened(store, span("2024-01-01", "2024-05-01"))) == (
        len(grid(Window(FIRST, ms("2024-04-10T10:00")))) - 5
    )


def test_an_increment_rereads_three_days_and_keeps_the_old_version_of_a_restated_candle(
    market, venue, store
):
    backfill(market, store, span("2024-04-01", "2024-04-10T10:00"))
    restated = ms("2024-04-08T12:00")
    venue.fault("restated", rows=[{"open_time": restated, "volume": "77777.00000000"}])
    before = dict((row[3], row[:3]) for row in store.touched())
    report = increment(market, store.series)
    assert (report.candles_added, report.candles_changed) == (0, 1)
    assert report.candles_unchanged == OVERLAP_MS // HOUR - 1
    after = dict((row[3], row[:3]) for row in store.touched())
    assert [moment for moment in after if after[moment] != before[moment]] == [from_ms(restated)]
    one = Window(restated, restated + HOUR)
    assert store.read(one)[0]["volume"] == 77777
    assert store.read(one, revision=1) == plain(made([restated]))


def test_a_candle_restated_before_the_overlap_is_not_noticed_by_an_increment(market, venue, store):
    backfill(market, store, span("2024-04-01", "2024-04-10T10:00"))
    venue.fault(
        "restated", rows=[{"open_time": ms("2024-04-05"), "volume": "77777.00000000"}]
    )  # fmt: skip
    assert increment(market, store.series).candles_changed == 0


def test_a_series_without_history_gets_three_days(market, store):
    report = increment(market, store.series)
    assert report.stored == 3 * 24
    assert opened(store, span("2024-01-01", "2024-05-01"))[0] == ms("2024-04-07T10:00")


def test_a_forming_candle_is_never_stored_by_any_sync(market, venue, store):
    increment(market, store.series)
    market_sync(market, [store.series], count=10)
    gap_fill(market, store.series, days=5)
    assert opened(store, span("2024-01-01", "2024-05-01"))[-1] == ms("2024-04-10T09:00")


# -- gap fill ----------------------------------------------------------------------------------


def test_a_gap_fill_fills_what_is_missing_at_the_start_inside_and_at_the_end(market, venue, store):
    backfill(market, store, span("2024-04-03", "2024-04-09"))
    with store.connect() as connection:
        connection.execute(
            "DELETE FROM market.candles_1h WHERE series_id = %s"
            " AND open_time = '2024-04-05 12:00Z'",
            (store.stored.series_id,),
        )
    report = gap_fill(market, store.series, days=10)
    assert (report.status, report.lost) == ("completed", 0)
    expected = grid(Window(ms("2024-03-31T11:00"), ms("2024-04-10T10:00")))
    assert opened(store, span("2024-01-01", "2024-05-01")) == expected


def test_a_gap_fill_asks_again_for_known_absences_and_leaves_them_as_they_are(market, venue, store):
    backfill(market, store, span("2024-02-25", "2024-04-10T10:00"))
    seen = "SELECT examined_at FROM market.known_absences WHERE series_id = %(id)s"
    [(before,)] = store.rows(seen)
    revision = store.revision
    venue.forget()
    report = gap_fill(market, store.series, days=41)
    assert venue.asked_for_candles() == 2
    assert (report.lost, report.known_absent, report.candles_added) == (0, 5, 0)
    assert store.rows(seen)[0][0] > before
    assert store.revision == revision


def test_candles_that_the_venue_publishes_later_replace_the_absence(
    database, market, venue, store, tmp_path
):
    backfill(market, store, span("2024-02-25", "2024-04-10T10:00"))
    files = ReplayFiles(tmp_path)
    files.write(store.series.symbol, range(FIRST, END, HOUR))
    with simulated(tmp_path, NOW) as repaired:
        report = gap_fill(market_at(database, repaired.base_url), store.series, days=41)
    assert (report.candles_added, report.known_absent) == (5, 0)
    assert store.absences(span("2024-01-01", "2024-05-01")) == []
    verdicts = store.rows(
        "SELECT verdict FROM market.gap_log WHERE series_id = %(id)s AND missing_candles = 5"
    )
    assert verdicts == [("filled",)]


def test_a_gap_fill_tries_as_often_as_it_is_told(market, venue, store):
    backfill(market, store, span("2024-04-01", "2024-04-05"))
    venue.fault("drop_rows", start="2024-04-09T00:00:00Z", end="2024-04-10T10:00:00Z")
    said: list[str] = []
    market.say = said.append
    report = gap_fill(market, store.series, days=5, max_rounds=3)
    assert report.lost == 34
    assert [line.rpartition(", ")[2] for line in said if "still lost" in line] == [
        "round 2",
        "round 3",
    ]


def test_a_gap_fill_of_nothing_is_refused(market, store):
    with pytest.raises(InvalidRequest, match="backfill it first"):
        gap_fill(market, store.series)
    with pytest.raises(InvalidRequest, match="days"):
        gap_fill(market, store.series, days=0)


# -- market sync -------------------------------------------------------------------------------


def test_a_market_sync_reads_the_last_candles_of_each_symbol(market, venue, store, database):
    other = Store(database, SYMBOLS.pop())
    results = market_sync(market, [store.series, other.series], count=100)
    # A hundred open times, of which the newest is still forming.
    assert results == [
        {
            "symbol": one.series.symbol, "status": "completed", "candles_added": 100,
            "total_candles": 100, "error": None, "transient": False,
        }
        for one in (store, other)
    ]  # fmt: skip
    assert venue.asked()["spot.klines"] <= 2 * 2 + 2


def test_one_failing_symbol_does_not_stop_the_others(market, venue, store, database):
    other = Store(database, SYMBOLS.pop())
    venue.fault("503", match=f"klines.*{store.series.symbol}")
    venue.fault("503", match=f"exchangeInfo.*{store.series.symbol}")
    unknown = series("1h", "NOSUCHUSDT")
    results = market_sync(market, [store.series, unknown, other.series], count=10)
    assert [(r["symbol"], r["status"]) for r in results] == [
        (store.series.symbol, "failed"),
        ("NOSUCHUSDT", "failed"),
        (other.series.symbol, "completed"),
    ]
    assert "Unavailable" in results[0]["error"]
    assert "UnknownSymbol" in results[1]["error"]
    assert results[2]["candles_added"] == 10


def test_the_count_of_a_market_sync_is_bounded(market, store):
    for count in (0, 1001):
        with pytest.raises(InvalidRequest, match="candles"):
            market_sync(market, [store.series], count=count)


def test_the_initial_load_goes_on_after_a_failure_and_reports_each(market, store):
    window, reports = span("2024-04-01", "2024-04-03"), []
    with pytest.raises(PartlyFailed, match=r"1 of 2 series failed: .*NOSUCHUSDT.*UnknownSymbol"):
        each(
            [series("1h", "NOSUCHUSDT"), store.series],
            lambda one: reports.append(load(market, one, window, purpose="backfill")),
            market.say,
        )
    assert [report.stored for report in reports] == [48]


def test_a_market_sync_changes_what_the_venue_restated(market, venue, store):
    backfill(market, store, span("2024-04-08", "2024-04-10T10:00"))
    time = ms("2024-04-10T08:00")
    low = f"{values_at(time)['low'] / 2:.8f}"
    venue.fault("restated", rows=[{"open_time": time, "low": low}])
    [result] = market_sync(market, [store.series], count=5)
    assert result["candles_added"] == 0
    assert store.read(Window(time, time + HOUR))[0]["low"] == values_at(time)["low"] / 2
    assert store.rows("SELECT count(*) FROM market.candle_revisions WHERE series_id = %(id)s") == [
        (1,)
    ]
