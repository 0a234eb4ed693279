"""Loads of funding that cannot be: refused by name, with nothing half done left behind."""

from __future__ import annotations

from dataclasses import replace

import pytest

from candlevault.errors import BadPayload, InvalidRequest, NotOffered, Unavailable, UnknownSymbol
from candlevault.ingest import funding
from candlevault.series import parse
from candlevault.windows import Window
from tests.support.funding_loads import (
    ALL,
    NOW,
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
from tests.support.market import DAY, ms, span, venue_at

__all__ = ["market", "replay", "said", "series", "venue"]


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
