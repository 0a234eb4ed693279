"""Which adapter serves a venue that is not the home's own."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping

from candlevault import config
from candlevault.errors import InvalidRequest, KeyMissing
from candlevault.providers.alpha_vantage import AlphaVantage
from candlevault.providers.api_keys import ApiKey, is_plain
from candlevault.providers.capabilities import (
    ALPHA_VANTAGE,
    CAPABILITIES,
    CCXT,
    COINGECKO,
    OANDA,
    POLYGON,
    YAHOO,
    Capabilities,
)
from candlevault.providers.ccxt_exchange import CcxtExchange
from candlevault.providers.ccxt_library import exchange_ids
from candlevault.providers.coingecko import CoinGecko
from candlevault.providers.http import HttpClient
from candlevault.providers.massive import Massive
from candlevault.providers.oanda import Oanda
from candlevault.providers.pace import pace_of
from candlevault.providers.single_source import Clock, SingleSource, SingleSourceVenue, now_ms
from candlevault.providers.yahoo import Yahoo

Keys = Callable[[str], str | None]
"""The key that an Airflow Connection holds, by its id; None where there is none."""

_OVER_HTTP: Mapping[str, type[SingleSource]] = {
    POLYGON.provider: Massive,
    COINGECKO.provider: CoinGecko,
    ALPHA_VANTAGE.provider: AlphaVantage,
    OANDA.provider: Oanda,
}
_KEY_GOES: Mapping[str, dict[str, str]] = {
    POLYGON.provider: {"header": "Authorization", "prefix": "Bearer "},
    COINGECKO.provider: {"header": "x-cg-demo-api-key"},
    ALPHA_VANTAGE.provider: {"parameter": "apikey"},
    OANDA.provider: {"header": "Authorization", "prefix": "Bearer "},
}
_NAMED = tuple(sorted(name for name in CAPABILITIES if name != CCXT.provider))


def no_keys(connection: str) -> None:
    """Keys for where there are none."""
    return None


def second_source(
    venue: str,
    market: str,
    keys: Keys = no_keys,
    *,
    base_url: str | None = None,
    clock: Clock = now_ms,
) -> SingleSourceVenue:
    """The venue of a source besides the home's own: one of CAPABILITIES or a ccxt exchange.

    `base_url` replaces the provider's published address. Raises InvalidRequest for a venue
    nobody serves or a market it does not have, and KeyMissing where a key is needed and
    absent.
    """
    if venue in _NAMED:
        capabilities = CAPABILITIES[venue]
        _check_market(capabilities, market)
        source = _named(capabilities, market, keys, base_url or capabilities.base_url, clock)
    else:
        _check_exchange(venue)
        _check_market(CCXT, market)
        source = CcxtExchange(venue, clock=clock)
    return SingleSourceVenue(venue, market, source, clock)


def _named(
    capabilities: Capabilities, market: str, keys: Keys, base_url: str, clock: Clock
) -> SingleSource:
    name = capabilities.provider
    pace = pace_of(name, capabilities.requests_per_minute, capabilities.seconds_apart)
    if name == YAHOO.provider:
        return Yahoo(market, pace, clock=clock)
    http = HttpClient(
        name,
        timeout_s=config.number_setting("CANDLEVAULT_REQUEST_TIMEOUT_S", 1, 600),
        key=key_of(capabilities, keys),
        turn=pace.wait,
    )
    return _OVER_HTTP[name](market, http, base_url=base_url, clock=clock)


def key_of(capabilities: Capabilities, keys: Keys) -> ApiKey | None:
    """The key of a provider, None where it can do without; raises KeyMissing."""
    name, connection = capabilities.provider, capabilities.connection
    value = (keys(connection) or "").strip() if connection else ""
    if value and not is_plain(value):
        raise KeyMissing("the key is not plain text", connection=connection, provider=name)
    if value:
        return ApiKey(value, **_KEY_GOES[name])
    if capabilities.key_needed:
        raise KeyMissing(f"{name} needs a key", connection=connection, provider=name)
    return None


def _check_market(capabilities: Capabilities, market: str) -> None:
    if market not in capabilities.markets:
        rule = f"of {capabilities.provider} must be one of {', '.join(capabilities.markets)}"
        raise InvalidRequest("market", rule, market)


def _check_exchange(venue: str) -> None:
    exchanges = exchange_ids()
    if venue not in exchanges:
        near = difflib.get_close_matches(str(venue), (*_NAMED, *exchanges), 3)
        hint = f"; near: {', '.join(near)}" if near else ""
        rule = f"must be one of {', '.join(_NAMED)} or one of {len(exchanges)} exchanges of ccxt"
        raise InvalidRequest("venue", rule + hint, venue)
