"""Which adapter serves a venue, and with what settings."""

from __future__ import annotations

import pytest

from candlevault.errors import ConfigurationError, InvalidRequest
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


@pytest.mark.parametrize(
    ("venue", "market", "field"),
    [("kraken", "spot", "venue"), ("simulated", "spot", "venue"), ("binance", "um", "market")],
)
def test_what_this_home_does_not_keep_is_refused(venue, market, field):
    with pytest.raises(InvalidRequest) as raised:
        venue_of(venue, market)
    assert raised.value.field == field


@pytest.mark.parametrize("value", ["0", "33", "five", "-1", "٥"])
def test_a_senseless_number_of_requests_at_once_is_refused(monkeypatch, value):
    monkeypatch.setenv("CANDLEVAULT_REQUESTS_AT_ONCE", value)
    with pytest.raises(ConfigurationError, match="CANDLEVAULT_REQUESTS_AT_ONCE"):
        venue_of("binance", "spot")
