"""exchangeInfo: every instrument that can have candles here, whatever else it may hold."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candlevault.errors import BadPayload, UnknownSymbol
from candlevault.providers.binance_dialects import SPOT, UM, Dialect
from candlevault.providers.binance_rest import BinanceRest
from tests.support.market import ReplayFiles, client, grid, simulated, span, venue_at
from tests.support.scripted_http import Reply, ScriptedServer, scripted_server


@pytest.fixture(scope="module")
def lasting_server():
    with scripted_server() as running:
        yield running


def rest_at(server: ScriptedServer, dialect: Dialect = SPOT) -> BinanceRest:
    return BinanceRest(server.base_url, "binance_rest", client("binance_rest"), dialect=dialect)


def telling(server: ScriptedServer, *entries: object, dialect: Dialect = SPOT) -> BinanceRest:
    """REST whose exchangeInfo names these entries."""
    body = json.dumps({"symbols": list(entries)}).encode()
    server.answer = lambda path, parameters: Reply(body)
    return rest_at(server, dialect)


def spot(symbol: object, status: object = "TRADING", **more: object) -> dict:
    return {"symbol": symbol, "status": status, "baseAsset": "X", "quoteAsset": "USDT"} | more


def contract(symbol: str, kind: object = "PERPETUAL", quote: object = "USDT", **more: object):
    return spot(symbol, contractType=kind, quoteAsset=quote, **more)


def test_the_whole_spot_market_is_asked_for_without_permission_sets(tmp_path):
    files = ReplayFiles(tmp_path)
    for symbol in ("BTCUSDT", "ETHUSDT", "OLDUSDT", "GONEUSDT"):
        files.write(symbol, grid(span("2024-01-01", "2024-01-02")))
    files.end("OLDUSDT", "2024-01-02T00:00:00Z")
    files.end("GONEUSDT", "2024-01-02T00:00:00Z", forgotten=True)
    with simulated(tmp_path, "2024-01-03") as venue:
        rest = venue_at(venue.base_url).rest
        facts = rest.instruments()
        assert rest.traffic.used_weight == 20
    assert [(one.symbol, one.status, one.trading) for one in facts] == [
        ("BTCUSDT", "TRADING", True),
        ("ETHUSDT", "TRADING", True),
        ("OLDUSDT", "BREAK", False),
    ]
    assert {(one.base_asset, one.quote_asset) for one in facts} >= {("BTC", "USDT")}


def test_the_whole_of_each_market_is_one_call(server):
    for dialect in (SPOT, UM):
        assert telling(server, dialect=dialect).instruments() == []
    assert server.asked == [
        "/api/v3/exchangeInfo?showPermissionSets=false",
        "/fapi/v1/exchangeInfo",
    ]


@pytest.mark.parametrize("status", ["CANCEL_ONLY", "END_OF_DAY", "NEW_IN_2031", "trading", "", 7])
def test_an_unknown_status_is_kept_and_does_not_trade(server, status):
    [facts] = telling(server, spot("BTCUSDT", status)).instruments()
    assert facts.trading is False
    assert facts.status == (status if isinstance(status, str) else "")


STRANGE = ["龙虾USDT", "btcusdt", "A", "A" * 21, "BTC-USDT", "BTCUSDT\n", "", " ", "ＢＴＣUSDT"]


@pytest.mark.parametrize("symbol", STRANGE)
def test_a_name_that_no_series_can_have_is_skipped_and_counted(server, symbol):
    rest = telling(server, spot(symbol), spot("1INCHUSDT"))
    assert [one.symbol for one in rest.instruments()] == ["1INCHUSDT"]
    assert rest.skipped == 1


@pytest.mark.parametrize("entry", [None, "BTCUSDT", 7, [], {}, spot(None), spot(7), spot(["X"])])
def test_what_is_no_entry_is_skipped_and_counted(server, entry):
    rest = telling(server, entry, spot("ETHUSDT"))
    assert [one.symbol for one in rest.instruments()] == ["ETHUSDT"]
    assert rest.skipped == 1


def test_of_a_symbol_named_twice_the_first_counts(server):
    rest = telling(server, spot("ETHUSDT", "TRADING"), spot("ETHUSDT", "BREAK"))
    [facts] = rest.instruments()
    assert (facts.trading, rest.skipped) == (True, 1)


def test_the_count_is_that_of_the_last_call(server):
    rest = telling(server, None)
    rest.instruments()
    server.answer = lambda path, parameters: Reply(b'{"symbols": []}')
    rest.instruments()
    assert rest.skipped == 0


def test_assets_that_are_no_texts_are_left_empty(server):
    [facts] = telling(server, spot("ETHUSDT", baseAsset=None, quoteAsset={"a": 1})).instruments()
    assert (facts.base_asset, facts.quote_asset) == ("", "")


# -- contracts -----------------------------------------------------------------------------------

NO_INSTRUMENTS = {
    "a delivery": (contract("BTCUSDT_240628", "CURRENT_QUARTER"), "'CURRENT_QUARTER'"),
    "a stock": (contract("TSLAUSDT", "TRADIFI_PERPETUAL"), "'TRADIFI_PERPETUAL'"),
    "not yet a contract": (contract("BTCSTUSDT", ""), "''"),
    "no kind": (contract("ETHUSDT", None), "''"),
    "coin-margined": (contract("BTCUSD_PERP", quote="USD"), "'USD'"),
    "another quote": (contract("ETHUSDT", quote="BUSD"), "'BUSD'"),
    "no quote": (contract("ETHUSDT", quote=None), "''"),
}


@pytest.mark.parametrize(("entry", "reason"), NO_INSTRUMENTS.values(), ids=NO_INSTRUMENTS)
def test_only_perpetual_contracts_of_their_own_quote_are_known_and_the_reason_is_said(
    server, entry, reason
):
    rest = telling(server, entry, contract("SOLUSDT"), dialect=UM)
    assert [one.symbol for one in rest.instruments()] == ["SOLUSDT"]
    assert rest.skipped == 0
    with pytest.raises(UnknownSymbol, match=reason):
        rest.instrument(entry["symbol"])
    assert rest.instrument("SOLUSDT").trading


def test_a_contract_that_waits_for_its_first_trade_does_not_trade(server):
    rest = telling(server, contract("NEWUSDT", status="PENDING_TRADING"), dialect=UM)
    facts = rest.instrument("NEWUSDT")
    assert (facts.status, facts.trading) == ("PENDING_TRADING", False)


def test_a_strangely_named_perpetual_is_counted(server):
    rest = telling(server, contract("龙虾USDT"), dialect=UM)
    assert (rest.instruments(), rest.skipped) == ([], 1)


def test_spot_knows_no_contracts(server):
    rest = telling(server, contract("BTCUSDT", "CURRENT_QUARTER"))
    assert [one.symbol for one in rest.instruments()] == ["BTCUSDT"]


# -- answers that are none -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"{}", b"<html>", b'{"symbols": {}}', b'{"symbols": "BTCUSDT"}',
     b'{"symbols": [' + b"9" * 5000 + b"]}", b"[" * 100_000],
)  # fmt: skip
@pytest.mark.parametrize("dialect", [SPOT, UM], ids=["spot", "um"])
def test_an_answer_without_a_list_of_symbols_is_refused(server, body, dialect):
    server.answer = lambda path, parameters: Reply(body)
    rest = rest_at(server, dialect)
    with pytest.raises(BadPayload):
        rest.instruments()
    with pytest.raises(BadPayload):
        rest.instrument("BTCUSDT")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
ENTRY = JSON | st.dictionaries(
    st.sampled_from(["symbol", "status", "contractType", "baseAsset", "quoteAsset"]),
    JSON | st.sampled_from(["BTCUSDT", "USDT", "PERPETUAL", "TRADING"]),
)


@settings(max_examples=200, derandomize=True)
@given(st.lists(ENTRY, max_size=4), st.sampled_from([SPOT, UM]))
def test_any_entries_are_read_or_skipped(lasting_server, entries, dialect):
    rest = telling(lasting_server, *entries, dialect=dialect)
    facts = rest.instruments()
    assert len(facts) + rest.skipped <= len(entries)
    assert len({one.symbol for one in facts}) == len(facts)


def test_a_real_list_of_the_spot_market_is_read(server, shared_data):
    path = shared_data / "responses" / "binance_spot" / "exchangeInfo_2020-04-02.json"
    server.answer = lambda asked, parameters: Reply(path.read_bytes())
    rest = rest_at(server)
    facts = rest.instruments()
    assert (len(facts), rest.skipped) == (776, 0)
    assert sum(one.trading for one in facts) == 601
