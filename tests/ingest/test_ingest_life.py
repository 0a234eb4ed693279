"""The life of an instrument: nothing is expected before its listing or after its end."""

from __future__ import annotations

import pytest

from candlevault.errors import UnknownSymbol
from candlevault.ingest.load import load
from candlevault.ingest.syncs import gap_fill
from candlevault.quality import months
from candlevault.windows import Window
from tests.support.candles import series
from tests.support.market import (
    DAY,
    HOUR,
    ReplayFiles,
    SimulatedVenue,
    Store,
    grid,
    market_at,
    ms,
    simulated,
    span,
)

LISTED, ENDED, NOW = ms("2024-02-10T06:00"), ms("2024-03-20T03:00"), ms("2024-04-20T00:20")
YEAR = span("2024-01-01", "2024-04-20")


@pytest.fixture(scope="module")
def replay(tmp_path_factory):
    files = ReplayFiles(tmp_path_factory.mktemp("replay"))
    files.write("YOUNGUSDT", range(LISTED, NOW, HOUR))
    files.write("YOUNGUSDT", range(ms("2024-02-10"), NOW, DAY), "1d")
    for symbol in ("GONEUSDT", "BACKUSDT"):
        files.write(symbol, range(ms("2024-01-01"), ENDED, HOUR))
        files.end(symbol, "2024-03-20T03:00:00Z")
    with simulated(files.root, NOW) as venue:
        yield venue


@pytest.fixture
def venue(replay: SimulatedVenue) -> SimulatedVenue:
    replay.heal()
    replay.at(NOW)
    replay.forget()
    return replay


def backfill(database, venue, symbol: str, window: Window, code: str = "1h"):
    market = market_at(database, venue.base_url)
    return load(market, series(code, symbol), window, purpose="backfill")


def life(store: Store) -> list[tuple]:
    return store.rows(
        "SELECT reason, (extract(epoch FROM window_start) * 1000)::bigint,"
        " (extract(epoch FROM window_end) * 1000)::bigint FROM market.known_absences"
        " WHERE series_id = %(id)s AND withdrawn_revision IS NULL ORDER BY window_start"
    )


def lifetime(store: Store) -> tuple:
    [row] = store.rows(
        "SELECT listed_time, ended_time FROM market.instruments WHERE symbol = %(symbol)s",
        symbol=store.series.symbol,
    )
    return tuple(moment and int(moment.timestamp() * 1000) for moment in row)


def test_nothing_is_expected_before_the_listing(market_db, venue):
    report = backfill(market_db, venue, "YOUNGUSDT", YEAR)
    store = Store(market_db, "YOUNGUSDT")
    assert (report.status, report.lost) == ("completed", 0)
    assert report.stored == len(grid(Window(LISTED, YEAR.end_ms)))
    assert life(store) == [("before_listing", YEAR.start_ms, LISTED)]
    assert lifetime(store) == (LISTED, None)
    [(evidence,)] = store.rows(
        "SELECT evidence FROM market.known_absences WHERE series_id = %(id)s"
    )
    assert evidence["first_open_time_ms"] == LISTED
    assert "startTime=0&limit=1" in evidence["rest"][0]["url"]


def test_no_file_or_page_from_before_the_listing_is_asked_for(market_db, venue):
    backfill(market_db, venue, "YOUNGUSDT", YEAR)
    # February, March, and the first nineteen days of April.
    assert venue.asked()["archive.zip"] == 2 + 19


def test_a_window_wholly_before_the_listing_is_complete_and_empty(market_db, venue):
    report = backfill(market_db, venue, "YOUNGUSDT", span("2024-01-01", "2024-02-01"))
    assert (report.status, report.stored, report.known_absent) == ("completed", 0, 31 * 24)
    assert "archive.zip" not in venue.asked()


def test_a_coarse_candle_begins_before_the_listing_that_it_holds(market_db, venue):
    backfill(market_db, venue, "YOUNGUSDT", YEAR, "1d")
    backfill(market_db, venue, "YOUNGUSDT", YEAR)
    days = Store(market_db, "YOUNGUSDT", "1d")
    assert life(days) == [("before_listing", YEAR.start_ms, ms("2024-02-10"))]
    assert lifetime(days) == (LISTED, None)


def test_nothing_is_expected_after_the_end_of_a_delisted_instrument(market_db, venue):
    report = backfill(market_db, venue, "GONEUSDT", YEAR)
    store = Store(market_db, "GONEUSDT")
    assert (report.status, report.lost) == ("completed", 0)
    assert report.stored == len(grid(Window(YEAR.start_ms, ENDED)))
    assert life(store) == [("after_end", ENDED, YEAR.end_ms)]
    assert lifetime(store) == (None, ENDED)


def test_a_silence_of_a_trading_instrument_is_not_its_end(market_db, venue):
    """The last days are missing, but the venue says that it trades: they are lost."""
    venue.fault("drop_rows", start="2024-04-18T00:00:00Z", end="2024-04-20T01:00:00Z")
    report = backfill(market_db, venue, "YOUNGUSDT", span("2024-04-01", "2024-04-20"))
    assert report.lost == 48
    assert life(Store(market_db, "YOUNGUSDT")) == []


def test_a_later_load_adds_only_the_new_part_after_the_end(market_db, venue):
    backfill(market_db, venue, "GONEUSDT", span("2024-03-01", "2024-04-01"))
    report = backfill(market_db, venue, "GONEUSDT", span("2024-03-01", "2024-04-20"))
    assert (report.lost, report.candles_added) == (0, 0)
    assert life(Store(market_db, "GONEUSDT")) == [
        ("after_end", ENDED, ms("2024-04-01")),
        ("after_end", ms("2024-04-01"), ms("2024-04-20")),
    ]


def test_an_instrument_that_trades_again_is_asked_for_what_was_after_its_end(
    market_db, venue, tmp_path
):
    backfill(market_db, venue, "BACKUSDT", YEAR)
    store = Store(market_db, "BACKUSDT")
    assert life(store) == [("after_end", ENDED, YEAR.end_ms)]
    files = ReplayFiles(tmp_path)
    again = ms("2024-04-05")
    times = [*range(YEAR.start_ms, ENDED, HOUR), *range(again, NOW, HOUR)]
    files.write("BACKUSDT", times)
    with simulated(tmp_path, NOW) as relisted:
        report = gap_fill(market_at(market_db, relisted.base_url), store.series)
    assert report.lost == 0
    assert [row["open_time"] for row in store.read(YEAR)] == times[: len(store.read(YEAR))]
    assert store.read(YEAR)[-1]["open_time"] == YEAR.end_ms - HOUR
    assert life(store) == [("pause", ENDED, again)]
    assert lifetime(store) == (None, None)


def test_a_symbol_that_rest_has_forgotten_is_loaded_from_the_archive(market_db, venue):
    refusal = '{"code":-1121,"msg":"Invalid symbol."}'
    venue.fault("html", match="api/v3/.*GONEUSDT", status=400, body=refusal)
    report = backfill(market_db, venue, "GONEUSDT", span("2024-01-01", "2024-03-20"))
    assert (report.stored, report.lost) == (79 * 24, 0)
    with market_at(market_db, venue.base_url).connect() as connection:
        [(status,)] = connection.execute("SELECT status FROM market.instruments").fetchall()
    assert status == "ARCHIVED"


def test_a_symbol_that_neither_knows_is_unknown(market_db, venue):
    with pytest.raises(UnknownSymbol):
        backfill(market_db, venue, "NEVERUSDT", YEAR)


def test_what_is_stored_from_before_the_venues_first_candle_stays_stored(market_db, venue):
    """A venue may forget its old candles; they were published once."""
    store = Store(market_db, "YOUNGUSDT")
    store.publish_made(span("2024-01-10", "2024-01-12"))
    report = backfill(market_db, venue, "YOUNGUSDT", span("2024-01-01", "2024-02-20"))
    assert store.read(span("2024-01-10", "2024-01-12"))
    assert life(store)[0] == ("before_listing", YEAR.start_ms, ms("2024-01-10"))
    assert report.stored + report.known_absent + report.lost == report.expected
    assert (
        store.rows(
            "SELECT 1 FROM market.candles_1h c JOIN market.known_absences a USING (series_id)"
            " WHERE c.series_id = %(id)s AND open_time >= window_start AND open_time < window_end"
        )
        == []
    )


def test_a_halt_that_looked_like_an_end_is_a_pause_when_trading_goes_on(market_db, tmp_path):
    """A sync in the middle of a halt; no candle ever lies in what it took for the end."""
    halt = span("2024-02-10T10:00", "2024-02-10T13:00")
    times = [t for t in range(ms("2024-02-01"), NOW, HOUR) if not halt.contains(t)]
    halted = ReplayFiles(tmp_path / "halted")
    halted.write("HALTUSDT", [t for t in times if t < halt.start_ms])
    halted.end("HALTUSDT", "2024-02-10T10:00:00Z")
    resumed = ReplayFiles(tmp_path / "resumed")
    resumed.write("HALTUSDT", times)
    asked = span("2024-02-01", "2024-02-10T12:20")
    with simulated(halted.root, "2024-02-10T12:20") as venue:
        load(market_at(market_db, venue.base_url), series("1h", "HALTUSDT"), asked, purpose="x")
    store = Store(market_db, "HALTUSDT")
    assert store.stored.life.end_ms == halt.start_ms
    with simulated(resumed.root, NOW) as venue:
        market = market_at(market_db, venue.base_url)
        whole = span("2024-02-01", "2024-04-20")
        report = load(market, series("1h", "HALTUSDT"), whole, purpose="x")
    assert report.lost == 0
    again = Store(market_db, "HALTUSDT")
    assert again.stored.ended_ms is None
    assert again.stored.life.end_ms > NOW
    assert {reason for reason, *_ in life(again)} <= {"pause", "not_published"}
    assert [row["open_time"] for row in again.read(whole)] == [t for t in times if t < whole.end_ms]


def test_a_month_in_which_the_life_ended_is_complete(market_db, venue):
    backfill(market_db, venue, "GONEUSDT", YEAR)
    store = Store(market_db, "GONEUSDT")
    taken = months.take(store.connect, store.stored, span("2024-03-01", "2024-03-20T03:00"))
    assert [month.verdict for month in taken] == ["complete"]
