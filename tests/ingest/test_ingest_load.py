"""Loading: only what is missing, once, whoever else loads, and complete at the end."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from candlevault.errors import CandlevaultError, InvalidRequest, UnknownSymbol
from candlevault.ingest.load import LoadFailed, load
from candlevault.windows import Window
from tests.support.candles import series
from tests.support.market import (
    DAY,
    HOUR,
    SMALL_BATCH,
    ReplayFiles,
    SimulatedVenue,
    Store,
    grid,
    load_in_small_batches,
    made,
    market_at,
    ms,
    plain,
    simulated,
    span,
)

FIRST, LAST = ms("2024-01-01"), ms("2024-04-10T10:00")
NOW = LAST + 20 * 60_000
BATCH_CUT = next(t for t in range(ms("2024-02-05"), LAST, HOUR) if t % (SMALL_BATCH * HOUR) == 0)
HOLE = span("2024-01-15T04:00", "2024-01-15T09:00")
OVER_BATCHES = Window(BATCH_CUT - 2 * HOUR, BATCH_CUT + 3 * HOUR)
EVERYTHING = Window(FIRST, LAST)
SYMBOLS = [f"L{i:02}USDT" for i in range(20)]


def published(window: Window) -> list[int]:
    return [t for t in grid(window) if not (HOLE.contains(t) or OVER_BATCHES.contains(t))]


@pytest.fixture(scope="module")
def replay(tmp_path_factory):
    files = ReplayFiles(tmp_path_factory.mktemp("replay"))
    for symbol in SYMBOLS:
        files.write(symbol, published(Window(FIRST, LAST + HOUR)))
    with simulated(files.root, NOW) as venue:
        yield venue


@pytest.fixture
def venue(replay: SimulatedVenue) -> SimulatedVenue:
    replay.heal()
    replay.at(NOW)
    replay.forget()
    return replay


@pytest.fixture
def symbol() -> str:
    """A symbol that no other test of this module has loaded."""
    return SYMBOLS.pop()


def backfill(database: str, venue: SimulatedVenue, symbol: str, window: Window, **more):
    return load(
        market_at(database, venue.base_url),
        series("1h", symbol),
        window,
        purpose="backfill",
        **more,
    )


def test_a_load_brings_every_candle_and_explains_every_hole(database, venue, symbol):
    report = backfill(database, venue, symbol, EVERYTHING)
    store = Store(database, symbol)
    assert store.read(EVERYTHING) == plain(made(published(EVERYTHING)))
    assert store.absences(EVERYTHING) == [HOLE, OVER_BATCHES]
    assert (report.status, report.lost, report.known_absent) == ("completed", 0, 10)
    assert report.stored == report.candles_added == report.total_candles
    assert report.stored + 10 == report.expected == len(grid(EVERYTHING))
    assert (report.total_batches, report.failed_batches, report.errors) == (1, 0, [])
    assert report.requests == sum(venue.asked().values())


def test_a_second_load_asks_for_no_candle_and_touches_no_row(database, venue, symbol):
    backfill(database, venue, symbol, EVERYTHING)
    store = Store(database, symbol)
    before, revision = store.touched(), store.revision
    venue.forget()
    report = backfill(database, venue, symbol, EVERYTHING)
    assert venue.asked_for_candles() == 0
    assert venue.asked() == {"spot.exchangeInfo": 1, "spot.time": 1}
    assert (report.status, report.candles_added, report.total_batches) == ("completed", 0, 0)
    assert (store.touched(), store.revision) == (before, revision)


def test_only_the_missing_part_of_a_wider_window_is_asked_for(database, venue, symbol):
    backfill(database, venue, symbol, span("2024-01-01", "2024-03-01"))
    venue.forget()
    report = backfill(database, venue, symbol, span("2024-01-01", "2024-04-01"))
    assert report.candles_added == 31 * 24
    assert venue.asked()["archive.zip"] == 1
    assert "spot.klines" not in venue.asked()


def test_candles_deleted_from_the_middle_are_all_that_is_fetched_again(database, venue, symbol):
    backfill(database, venue, symbol, EVERYTHING)
    store = Store(database, symbol)
    with store.connect() as connection:
        connection.execute(
            "DELETE FROM market.candles_1h WHERE series_id = %s"
            " AND open_time >= '2024-03-01' AND open_time < '2024-03-03'",
            (store.stored.series_id,),
        )
    venue.forget()
    report = backfill(database, venue, symbol, EVERYTHING)
    assert report.candles_added == 48
    assert venue.asked()["archive.zip"] == 1
    assert store.read(EVERYTHING) == plain(made(published(EVERYTHING)))


def test_a_hole_across_the_boundary_of_two_batches_is_explained(database, venue, symbol):
    report = load_in_small_batches(database, venue.base_url, symbol, "1h", EVERYTHING)
    assert report.total_batches > 3
    assert (report.lost, report.known_absent) == (0, 10)
    found = Store(database, symbol).absences(EVERYTHING)
    assert [(a.start_ms, a.end_ms) for a in found] == [
        (HOLE.start_ms, HOLE.end_ms),
        (OVER_BATCHES.start_ms, BATCH_CUT),
        (BATCH_CUT, OVER_BATCHES.end_ms),
    ]


def test_a_load_in_small_batches_stores_the_same_content(database, venue, symbol):
    other = SYMBOLS.pop()
    backfill(database, venue, symbol, EVERYTHING)
    load_in_small_batches(database, venue.base_url, other, "1h", EVERYTHING)
    whole, cut = Store(database, symbol), Store(database, other)
    assert whole.fingerprint(EVERYTHING) == cut.fingerprint(EVERYTHING)


def test_what_a_provider_failed_to_answer_fails_the_load_and_is_loaded_next_time(
    database, venue, symbol
):
    venue.fault("503", match="2024-02|klines.*endTime")
    with pytest.raises(LoadFailed) as raised:
        backfill(database, venue, symbol, span("2024-01-20", "2024-03-10"))
    report = raised.value.report
    assert raised.value.transient
    assert (report.status, report.lost) == ("failed", 29 * 24)
    assert report.stored == report.expected - report.lost
    assert any("HTTP 503" in problem for problem in report.problems)
    store = Store(database, symbol)
    [(status, message)] = store.rows(
        "SELECT sync_status, error_message FROM market.series_status WHERE series_id = %(id)s"
    )
    assert status == "error"
    assert "HTTP 503" in message
    venue.heal()
    venue.forget()
    report = backfill(database, venue, symbol, span("2024-01-20", "2024-03-10"))
    assert (report.status, report.lost) == ("completed", 0)
    assert venue.asked()["archive.zip"] == 1


def test_a_batch_that_the_store_refuses_does_not_stop_the_others(database, venue, symbol):
    store = Store(database, symbol)
    table = "ALTER TABLE market.candles_1h"
    with store.connect() as connection:
        connection.execute(
            f"{table} ADD CONSTRAINT no_such_hour CHECK (series_id <> {store.stored.series_id}"
            " OR open_time <> '2024-02-20 12:00Z') NOT VALID"
        )
    with pytest.raises(LoadFailed) as raised:
        load_in_small_batches(database, venue.base_url, symbol, "1h", EVERYTHING)
    report = raised.value.report
    assert (report.failed_batches, report.status) == (1, "failed")
    assert report.successful_batches == report.total_batches - 1
    assert "StorageError" in report.errors[0]
    assert "no_such_hour" in report.errors[0]
    assert not raised.value.transient
    assert {row["open_time"] for row in store.read(EVERYTHING)} > set(
        grid(span("2024-03-05", "2024-04-10"))
    )
    states = store.rows("SELECT DISTINCT state FROM market.batches WHERE series_id = %(id)s")
    assert sorted(states) == [("done",), ("failed",)]
    with store.connect() as connection:
        connection.execute(f"{table} DROP CONSTRAINT no_such_hour")
    report = load_in_small_batches(database, venue.base_url, symbol, "1h", EVERYTHING)
    assert (report.lost, report.total_batches) == (0, 1)


def test_a_rejected_row_is_quarantined_with_its_reason_and_its_candle_is_lost(
    database, venue, symbol
):
    noon = ms("2024-03-05T12:00")
    venue.fault("restated", symbol=symbol, rows=[{"open_time": noon, "volume": "-1.00000000"}])
    report = backfill(database, venue, symbol, span("2024-03-05", "2024-03-06"))
    assert (report.lost, report.quarantined, report.status) == (1, 2, "incomplete")
    rows = Store(database, symbol).rows(
        "SELECT reasons, row ->> 'volume' FROM market.quarantine WHERE series_id = %(id)s"
    )
    assert [volume for _, volume in rows] == ["-1.00000000"] * 2
    assert all("volume_not_negative" in reasons for reasons, _ in rows)


def test_two_loads_of_one_series_at_once_share_one_fetch(database, venue, symbol):
    window = span("2024-01-01", "2024-04-01")
    alone = SYMBOLS.pop()
    backfill(database, venue, alone, window)
    asked_alone = venue.asked_for_candles()
    venue.forget()
    venue.fault("latency", match="archive/", ms=100)
    told: list[str] = []
    start = threading.Barrier(2)

    def work(_: int):
        start.wait()
        market = market_at(database, venue.base_url, told.append)
        return load(market, series("1h", symbol), window, purpose="backfill")

    with ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(work, range(2)))
    assert venue.asked_for_candles() == asked_alone
    assert sorted(report.candles_added for report in reports) == [0, len(published(window))]
    assert [report.status for report in reports] == ["completed"] * 2
    assert sum("waiting to share" in line for line in told) == 1


def test_an_unknown_symbol_leaves_nothing_behind(database, venue):
    with pytest.raises(UnknownSymbol):
        backfill(database, venue, "NOSUCHUSDT", EVERYTHING)
    with market_at(database, venue.base_url).connect() as connection:
        assert not connection.execute(
            "SELECT 1 FROM market.instruments WHERE symbol = 'NOSUCHUSDT'"
        ).fetchall()


@pytest.mark.parametrize(
    "window",
    [Window(LAST, LAST + DAY), Window(NOW + DAY, NOW + 2 * DAY), Window(FIRST + 1, FIRST + 2)],
    ids=["forming", "future", "between two open times"],
)
def test_a_window_without_a_closed_candle_is_refused(database, venue, symbol, window):
    SYMBOLS.append(symbol)
    with pytest.raises(InvalidRequest, match="window"):
        backfill(database, venue, symbol, window)
    assert venue.asked_for_candles() == 0


def test_a_candle_is_not_closed_until_the_venue_has_settled(database, venue, symbol):
    venue.at(LAST + 1_999)
    report = backfill(database, venue, symbol, Window(LAST - 3 * HOUR, LAST))
    assert report.stored == report.expected == 2
    venue.at(LAST + 2_000)
    assert backfill(database, venue, symbol, Window(LAST - 3 * HOUR, LAST)).stored == 3


def test_a_load_is_logged_with_what_it_did(database, venue, symbol):
    report = backfill(database, venue, symbol, span("2024-01-10", "2024-01-20"))
    store = Store(database, symbol)
    [row] = store.rows(
        "SELECT purpose, outcome, providers, batches, inserted, absent, lost, requests,"
        " finished_at IS NOT NULL FROM market.sync_log WHERE series_id = %(id)s"
    )
    assert row == (
        "backfill", "completed", ["binance_archive", "binance_rest"], 1,
        report.candles_added, 5, 0, report.requests, True,
    )  # fmt: skip


def test_a_load_that_fails_is_logged_and_its_status_says_why(database, venue, symbol):
    venue.fault("451", match="archive/")
    with pytest.raises(CandlevaultError):
        backfill(database, venue, symbol, EVERYTHING)
    store = Store(database, symbol)
    [(outcome, error)] = store.rows(
        "SELECT outcome, error FROM market.sync_log WHERE series_id = %(id)s"
    )
    assert outcome == "failed"
    assert error.startswith("GeoBlocked")
    [(status,)] = store.rows(
        "SELECT sync_status FROM market.series_status WHERE series_id = %(id)s"
    )
    assert status == "error"
    [(state,)] = store.rows("SELECT state FROM market.batches WHERE series_id = %(id)s")
    assert state == "failed"
