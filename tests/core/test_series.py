"""Series are named strictly: one spelling, nothing that could leave a path or a DAG id."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candlevault.errors import InvalidRequest
from candlevault.series import SYMBOL_PATTERN, canonical_symbol, parse


def test_series_of_four_names():
    series = parse("binance", "spot", "BTCUSDT", "1h")
    assert str(series) == "binance/spot/BTCUSDT/1h"
    assert series.slug == "BTCUSDT__1h"
    assert parse("binance", "um", "BTCUSDT", "1h").slug == "BTCUSDT__1h__um"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("venue", "Binance"),
        ("venue", ""),
        ("venue", "9venue"),
        ("venue", "binance\n"),
        ("venue", "a" * 33),
        ("venue", None),
        ("market", "futures"),
        ("market", None),
        ("symbol", "btcusdt"),
        ("symbol", "BTC/USDT"),
        ("symbol", "../BTC"),
        ("symbol", "BTCUSDT\n"),
        ("symbol", "B"),
        ("symbol", "B" * 21),
        ("symbol", "ＢＴＣ"),
        ("symbol", "BTC٣"),
        ("symbol", None),
        ("timeframe", "1M"),
        ("timeframe", None),
    ],
)
def test_wrong_name_is_refused_naming_its_field(field, value):
    names = {"venue": "binance", "market": "spot", "symbol": "BTCUSDT", "timeframe": "1h"}
    with pytest.raises(InvalidRequest) as raised:
        parse(**(names | {field: value}))
    assert raised.value.field == field


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("BTC", "BTCUSDT"),
        ("btc", "BTCUSDT"),
        ("btcusdt", "BTCUSDT"),
        ("BTCUSDT", "BTCUSDT"),
        ("1INCH", "1INCHUSDT"),
        ("USDT", "USDTUSDT"),
    ],
)
def test_short_names_and_symbols_become_one_spelling(name, symbol):
    assert canonical_symbol(name) == symbol


@pytest.mark.parametrize("name", ["", "BTC-USDT", "BTC USDT", "BTC\n", "ВТС", "A" * 21, 7, None])
def test_wrong_short_name_is_refused_naming_its_field(name):
    with pytest.raises(InvalidRequest, match=r"^symbols\[3\]: "):
        canonical_symbol(name, field="symbols[3]")


@given(st.from_regex(r"[A-Za-z0-9]{1,16}", fullmatch=True))
def test_canonical_symbol_is_stable_and_a_symbol(name):
    symbol = canonical_symbol(name)
    assert re.fullmatch(SYMBOL_PATTERN, symbol)
    assert canonical_symbol(symbol) == symbol
    assert canonical_symbol(name.lower()) == symbol


def test_series_are_ordered_and_usable_as_keys():
    hour, day = parse("binance", "spot", "BTCUSDT", "1h"), parse("binance", "spot", "BTCUSDT", "1d")
    ether = parse("binance", "spot", "ETHUSDT", "1d")
    assert sorted([ether, hour])[0] == hour
    assert len({hour, day, parse("binance", "spot", "BTCUSDT", "1h")}) == 2


def test_a_short_name_too_long_to_be_completed_is_refused():
    with pytest.raises(InvalidRequest, match="too long"):
        canonical_symbol("A" * 18)


@pytest.mark.parametrize(
    ("name", "symbol"),
    [("BTC", "BTCUSDT"), ("btcusdt", "BTCUSDT"), ("BTCUSDC", "BTCUSDC"), ("SOLBTC", "SOLBTC"),
     ("WBTC", "WBTCUSDT"), ("STETH", "STETHUSDT"), ("EUR", "EURUSDT")],
)  # fmt: skip
def test_a_name_that_ends_in_a_quote_asset_is_a_symbol(name, symbol):
    assert canonical_symbol(name) == symbol
