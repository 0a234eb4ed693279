"""Loads of funding: what was told is stored, once and by now, and read as of any time."""

from __future__ import annotations

from dataclasses import replace

from candlevault import decimals, timeframe
from candlevault.backtest.data.frame import build_frame
from candlevault.backtest.data.funding import needed, on_grid
from candlevault.funding import silences
from candlevault.ingest import funding
from candlevault.ingest.load import load as load_candles
from candlevault.ingest.market import Market
from candlevault.series import parse
from candlevault.simulator import build_exchange, running
from candlevault.storage import candle_reads, series_registry
from candlevault.storage import funding as store
from candlevault.storage.database import connector
from candlevault.windows import Window
from tests.support.funding_loads import (
    ALL,
    EIGHT,
    FIRST,
    NOW,
    RATES,
    SILENT,
    database_now,
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
from tests.support.market import DAY, HOUR, ms, span, venue_at

__all__ = ["market", "replay", "said", "series", "venue"]


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
