"""Which adapter serves which venue, with which key, and what a single source cannot tell."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from candlevault import paths
from candlevault.errors import InvalidRequest, KeyMissing, NotOffered
from candlevault.providers.alpha_vantage import AlphaVantage
from candlevault.providers.capabilities import CAPABILITIES
from candlevault.providers.ccxt_exchange import CcxtExchange
from candlevault.providers.coingecko import CoinGecko
from candlevault.providers.massive import Massive
from candlevault.providers.oanda import Oanda
from candlevault.providers.second_sources import second_source
from candlevault.providers.yahoo import Yahoo
from candlevault.series import MARKETS
from candlevault.series import parse as parse_series
from candlevault.timeframe import ALL as TIMEFRAMES
from tests.support.scripted_http import Reply
from tests.support.second_sources import CANARY, NOW

SERVED = [
    ("polygon", "crypto", Massive),
    ("polygon", "stocks", Massive),
    ("polygon", "forex", Massive),
    ("coingecko", "crypto", CoinGecko),
    ("alphavantage", "stocks", AlphaVantage),
    ("alphavantage", "forex", AlphaVantage),
    ("alphavantage", "crypto", AlphaVantage),
    ("oanda", "forex", Oanda),
    ("yahoo", "stocks", Yahoo),
    ("yahoo", "crypto", Yahoo),
    ("yahoo", "forex", Yahoo),
    ("kraken", "spot", CcxtExchange),
    ("coinbase", "spot", CcxtExchange),
]
KEYED = [name for name, one in CAPABILITIES.items() if one.key_needed]


def keys(connection: str) -> str:
    return CANARY


@pytest.mark.parametrize(("venue", "market", "kind"), SERVED)
def test_a_venue_is_served_by_its_adapter(venue, market, kind):
    made = second_source(venue, market, keys, clock=lambda: NOW)
    assert isinstance(made.rest, kind)
    assert (made.venue, made.market, made.rest.name, made.rest.market) == (
        venue,
        market,
        venue,
        market,
    )
    assert made.archive is None
    assert made.witnesses == ("rest",)
    assert made.knows_life is False
    assert made.server_time_ms() == NOW
    assert market in made.rest.capabilities.markets


def test_a_single_source_cannot_tell_first_and_last_candles():
    made = second_source("coingecko", "crypto")
    series = parse_series("coingecko", "crypto", "BTCUSD", "4h")
    with pytest.raises(NotOffered, match="cannot tell which candle is its first"):
        made.first_candle(series)
    with pytest.raises(NotOffered, match="cannot tell which candle is its last"):
        made.last_candle(series, 0)


def test_instruments_are_described_by_the_source(server):
    server.answer = lambda path, parameters: Reply(b'{"bitcoin":{"usd":1}}')
    made = second_source("coingecko", "crypto", base_url=server.base_url)
    assert made.instrument("BTCUSD").venue_symbol == "bitcoin"


@pytest.mark.parametrize("name", KEYED)
@pytest.mark.parametrize("value", [None, "", "  "])
def test_an_absent_key_names_the_connection_to_create(name, value):
    one = CAPABILITIES[name]
    with pytest.raises(KeyMissing) as raised:
        second_source(name, one.markets[0], lambda connection: value)
    assert raised.value.connection == one.connection == f"candlevault_{name}"
    assert f"create the Airflow Connection {one.connection}" in str(raised.value)


def test_all_that_need_keys():
    assert sorted(KEYED) == ["alphavantage", "oanda", "polygon"]


@pytest.mark.parametrize("value", ["two words", "line\nbreak", "schlüssel"])
def test_a_key_that_cannot_be_sent_is_refused_without_showing_it(value):
    with pytest.raises(KeyMissing) as raised:
        second_source("polygon", "crypto", lambda connection: value)
    assert value not in str(raised.value)


def test_blanks_around_a_key_do_not_belong_to_it(server):
    server.answer = lambda path, parameters: Reply(b"{}", 404)
    made = second_source(
        "polygon", "stocks", lambda connection: " abc \n", base_url=server.base_url
    )
    with pytest.raises(Exception, match="no such ticker"):
        made.instrument("AAPL")
    assert server.headers[0]["Authorization"] == "Bearer abc"


def test_only_the_providers_own_connection_is_asked_for():
    asked = []

    def noting(connection: str) -> str:
        asked.append(connection)
        return CANARY

    for venue, market, _ in SERVED:
        second_source(venue, market, noting)
    assert set(asked) == {
        "candlevault_polygon",
        "candlevault_coingecko",
        "candlevault_alphavantage",
        "candlevault_oanda",
    }


@pytest.mark.parametrize(
    ("venue", "market"),
    [("polygon", "spot"), ("coingecko", "stocks"), ("oanda", "crypto"), ("kraken", "crypto")],
)
def test_a_market_that_a_venue_does_not_have_is_refused(venue, market):
    with pytest.raises(InvalidRequest, match="must be one of") as raised:
        second_source(venue, market, keys)
    assert raised.value.field == "market"


@pytest.mark.parametrize("venue", ["krakken", "ccxt", "", "Exchange", "base", "__init__", None])
def test_an_unknown_venue_is_refused_with_what_is_known(venue):
    with pytest.raises(InvalidRequest, match="alphavantage, coingecko, oanda, polygon") as raised:
        second_source(venue, "spot", keys)
    assert raised.value.field == "venue"


def test_a_misspelled_venue_is_told_the_near_ones():
    with pytest.raises(InvalidRequest, match="near: kraken"):
        second_source("krakken", "spot")
    with pytest.raises(InvalidRequest, match="near: polygon"):
        second_source("poligon", "crypto")


def test_the_table_speaks_of_known_markets_timeframes_and_connections():
    for name, one in CAPABILITIES.items():
        assert name == one.provider
        assert set(one.markets) <= set(MARKETS)
        assert set(one.timeframes) <= set(TIMEFRAMES)
        assert list(one.timeframes) == [code for code in TIMEFRAMES if code in one.timeframes]
        assert one.requests_per_minute > 0
        assert one.connection in ("", f"candlevault_{name}")
        assert one.connection or not one.key_needed
        for offer in one.timeframes.values():
            assert offer.markets
            assert set(offer.markets) <= set(one.markets)
            assert offer.rows is None or offer.rows > 0
            assert offer.days is None or offer.days > 0


def test_the_slow_libraries_are_imported_only_when_used():
    code = (
        "import sys; from candlevault.providers import second_sources, priority;"
        "second_sources.second_source('coingecko', 'crypto');"
        "print(sorted({'ccxt', 'yfinance', 'pandas', 'curl_cffi'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        env={"PYTHONPATH": str(paths.PLUGINS), "PATH": "/usr/bin:/bin"},
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_the_libraries_are_imported_in_two_places_only():
    users: dict[str, set[str]] = {"ccxt": set(), "yfinance": set()}
    for file in Path(paths.PLUGINS / "candlevault").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            for name in names:
                if name.split(".")[0] in users:
                    users[name.split(".")[0]].add(file.name)
    assert users == {
        "ccxt": {"ccxt_exchange.py", "ccxt_library.py"},
        "yfinance": {"yahoo.py"},
    }
