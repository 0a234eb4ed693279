"""Which venue adapter serves a venue and market."""

from __future__ import annotations

from dataclasses import dataclass

from candlevault import config, funding
from candlevault.errors import InvalidRequest
from candlevault.instruments import InstrumentFacts
from candlevault.providers.binance_archive import BinanceArchive
from candlevault.providers.binance_dialects import dialect_of
from candlevault.providers.binance_funding import CALLS_PER_MINUTE, BinanceFunding
from candlevault.providers.binance_funding_archive import FundingArchive
from candlevault.providers.binance_rest import BinanceRest
from candlevault.providers.contract import Evidence, Venue
from candlevault.providers.http import HttpClient
from candlevault.providers.pace import pace_of
from candlevault.providers.second_sources import Keys, no_keys, second_source
from candlevault.series import Series

_BINANCE = "binance"


@dataclass(slots=True)
class BinanceVenue:
    """A market of Binance (or of a venue that speaks like it): REST and archive as one."""

    venue: str
    market: str
    archive: BinanceArchive
    rest: BinanceRest
    witnesses: tuple[str, ...] = ("archive", "rest")
    knows_life: bool = True
    funding: BinanceFunding | None = None

    def server_time_ms(self) -> int:
        """The venue's clock."""
        return self.rest.server_time_ms()

    def instrument(self, symbol: str) -> InstrumentFacts:
        """What the venue says of a symbol; raises UnknownSymbol."""
        return self.rest.instrument(symbol)

    def first_candle(self, series: Series, from_ms: int = 0) -> Evidence:
        """The first open_time published at `from_ms` or later."""
        return self.rest.first_candle(series, from_ms)

    def last_candle(self, series: Series, before_ms: int | None = None) -> Evidence:
        """The newest open_time published (before `before_ms`), forming or not."""
        return self.rest.last_candle(series, before_ms)


def venue_of(venue: str, market: str, keys: Keys = no_keys) -> Venue:
    """The adapter of a venue and market: the home's own, or a source besides it.

    `keys` gives the key that an Airflow Connection holds. Raises InvalidRequest for one that
    nobody serves, KeyMissing where a key is needed and absent.
    """
    home = config.setting("CANDLEVAULT_VENUE")
    if venue == home:
        return home_venue(venue, market)
    if venue == _BINANCE:
        raise InvalidRequest("venue", f"this home keeps candles of {home} in its place", venue)
    return second_source(venue, market, keys)


def home_venue(venue: str, market: str) -> BinanceVenue:
    """The home's own venue, REST and archive; raises InvalidRequest for a market it has not."""
    dialect = dialect_of(market)
    at_once = config.number_setting("CANDLEVAULT_REQUESTS_AT_ONCE", 1, 32)
    timeout_s = config.number_setting("CANDLEVAULT_REQUEST_TIMEOUT_S", 1, 600)

    def client(name: str) -> HttpClient:
        return HttpClient(name, timeout_s=timeout_s, connections=at_once)

    rest_name = dialect.provider_name(venue, "rest")
    archive_name = dialect.provider_name(venue, "archive")
    rest_client, archive_client = client(rest_name), client(archive_name)
    rest_url = config.setting(dialect.rest_url_setting)
    archive_url = config.setting("CANDLEVAULT_BINANCE_ARCHIVE_URL")
    listing_url = config.setting("CANDLEVAULT_BINANCE_LISTING_URL")
    rates = None
    if funding.is_paid(market):
        files = FundingArchive(archive_url, listing_url, archive_name, archive_client)
        turn = pace_of(f"{rest_name} funding", CALLS_PER_MINUTE).wait
        rates = BinanceFunding(rest_url, rest_name, rest_client, files, dialect=dialect, turn=turn)
    return BinanceVenue(
        venue=venue,
        market=market,
        archive=BinanceArchive(
            archive_url, listing_url, archive_name, archive_client, concurrency=at_once
        ),
        rest=BinanceRest(rest_url, rest_name, rest_client, dialect=dialect, concurrency=at_once),
        funding=rates,
    )
