"""Which stored series a run is about."""

from __future__ import annotations

import pytest

from candlevault.errors import InvalidRequest
from candlevault.instruments import InstrumentFacts
from candlevault.orchestration import choice
from candlevault.series import parse
from candlevault.storage import series_registry

STORED = [
    ("binance", "ADAUSDT", "1h"),
    ("binance", "BTCUSDT", "1d"),
    ("binance", "BTCUSDT", "1h"),
    ("kraken", "BTCUSDT", "1h"),
]


@pytest.fixture
def stored(worker):
    for venue, symbol, code in STORED:
        facts = InstrumentFacts(symbol, symbol, "", "USDT", "TRADING", trading=True)
        series_registry.register(worker.connect, parse(venue, "spot", symbol, code), facts)


def chosen(**params) -> list[str]:
    return [f"{s.series.symbol[:-4]} {s.series.timeframe}" for s in choice.stored(params)]


def test_everything_of_the_homes_own_venue_is_chosen_by_default(stored):
    assert chosen() == ["ADA 1h", "BTC 1d", "BTC 1h"]


def test_symbols_timeframe_and_limit_narrow_it(stored):
    assert chosen(symbols=["btc"]) == ["BTC 1d", "BTC 1h"]
    assert chosen(timeframe="1h") == ["ADA 1h", "BTC 1h"]
    assert chosen(limit=1) == ["ADA 1h"]
    assert chosen(symbols=["BTCUSDT"], timeframe="1d", limit=3) == ["BTC 1d"]


def test_a_symbol_of_which_nothing_is_stored_is_named(stored):
    with pytest.raises(InvalidRequest, match=r"symbols: nothing is stored of .*ETHUSDT, SOLUSDT"):
        chosen(symbols=["BTC", "SOL", "ETH"])


def test_nothing_to_work_on_is_an_error(worker):
    with pytest.raises(InvalidRequest, match="symbols: no stored series"):
        chosen()
