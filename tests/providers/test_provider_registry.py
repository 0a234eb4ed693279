"""Which adapter serves a venue, and with what settings."""

from __future__ import annotations

import pytest

from candlevault.errors import ConfigurationError, InvalidRequest, KeyMissing
from candlevault.providers.registry import venue_of
from tests.support.scripted_http import Reply


def test_the_homes_venue_is_served_from_the_addresses_set(server, monkeypatch):
    monkeypatch.setenv("CANDLEVAULT_BINANCE_REST_URL", server.base_url)
    server.answer = lambda path, parameters: Reply(b'{"serverTime": 1704067200000}')
    venue = venue_of("binance", "spot")
    assert venue.server_time_ms() == 1_704_067_200_000
    assert (venue.rest.name, venue.archive.name) == ("binance_rest", "binance_archive")
    assert server.asked == ["/api/v3/time"]


def test_candles_of_another_venue_carry_its_name(monkeypatch):
    monkeypatch.setenv("CANDLEVAULT_VENUE", "simulated")
    assert venue_of("simulated", "spot").rest.name == "simulated_rest"


def test_futures_are_served_from_an_address_and_under_names_of_their_own(server, monkeypatch):
    monkeypatch.setenv("CANDLEVAULT_BINANCE_FUTURES_URL", server.base_url)
    server.answer = lambda path, parameters: Reply(b'{"serverTime": 1704067200000}')
    venue = venue_of("binance", "um")
    assert (venue.venue, venue.market) == ("binance", "um")
    assert venue.server_time_ms() == 1_704_067_200_000
    assert (venue.rest.name, venue.archive.name) == ("binance_um_rest", "binance_um_archive")
    assert server.asked == ["/fapi/v1/time"]


def test_any_other_venue_is_a_source_of_its_own():
    venue = venue_of("kraken", "spot")
    assert (venue.venue, venue.market, venue.archive) == ("kraken", "spot", None)
    assert venue.witnesses == ("rest",)


def test_a_source_without_its_key_says_which_connection_it_wants():
    with pytest.raises(KeyMissing, match="candlevault_polygon"):
        venue_of("polygon", "crypto")
    assert venue_of("polygon", "crypto", {"candlevault_polygon": "secret"}.get).venue == "polygon"


@pytest.mark.parametrize(
    ("venue", "market", "field"),
    [
        ("nasdaqq", "spot", "venue"),
        ("kraken", "forex", "market"),
        ("binance", "forex", "market"),
        ("binance", "cm", "market"),
    ],
)
def test_what_nobody_serves_is_refused(venue, market, field):
    with pytest.raises(InvalidRequest) as raised:
        venue_of(venue, market)
    assert raised.value.field == field


def test_a_home_of_another_venue_does_not_take_binances_candles_for_its_own(monkeypatch):
    monkeypatch.setenv("CANDLEVAULT_VENUE", "simulated")
    with pytest.raises(InvalidRequest, match="candles of simulated"):
        venue_of("binance", "spot")


@pytest.mark.parametrize("value", ["0", "33", "five", "-1", "٥"])
def test_a_senseless_number_of_requests_at_once_is_refused(monkeypatch, value):
    monkeypatch.setenv("CANDLEVAULT_REQUESTS_AT_ONCE", value)
    with pytest.raises(ConfigurationError, match="CANDLEVAULT_REQUESTS_AT_ONCE"):
        venue_of("binance", "spot")
