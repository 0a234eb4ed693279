"""What a source answers wrongly, taken through a whole load: the error is told, nothing stored."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest

from candlevault.errors import GeoBlocked, ProviderError, RateLimited
from candlevault.ingest.load import LoadFailed, Market, load
from candlevault.instruments import InstrumentFacts
from candlevault.providers.single_source import SingleSourceVenue
from candlevault.series import Series
from candlevault.storage.database import connector
from candlevault.windows import Window
from tests.support.scripted_http import Reply, ScriptedServer, scripted_server
from tests.support.second_sources import JSON, NOW, SPEAKERS, Row, Speaker

pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")

REFUSED_UNDER_200 = {
    "polygon": b'{"status":"ERROR","request_id":"1","error":"something went wrong"}',
    "coingecko": b'{"status":{"error_code":429,"error_message":"slow down"}}',
    "alphavantage": b'{"Note":"Thank you for using Alpha Vantage! Our standard rate limit is 25"}',
    "oanda": b'{"errorMessage":"something went wrong"}',
    "yahoo": b'{"chart":{"result":null,"error":{"code":"Internal","description":"no"}}}',
    "kraken": b'{"error":["EGeneral:Internal error"],"result":{}}',
    "coinbaseexchange": b'{"message":"something went wrong"}',
}
TABLES = ("candles", "candle_revisions", "known_absences", "series_revisions")


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted_server() as running:
        yield running


@pytest.fixture(params=SPEAKERS, ids=lambda speaker: speaker.name)
def speaker(request) -> Speaker:
    return request.param


class Listed(SingleSourceVenue):
    """Knows every symbol, so that the question for candles is what goes wrong."""

    def instrument(self, symbol: str) -> InstrumentFacts:
        return InstrumentFacts(symbol, symbol, "", "", "", trading=True)


def market_of(speaker, server, market_db, kind=Listed) -> Market:
    series = speaker.series
    venue = kind(series.venue, series.market, speaker.make(server), lambda: NOW)
    return Market(connector(market_db), venue, say=lambda line: None, sleep=lambda seconds: None)


@pytest.fixture
def market(speaker, server, market_db) -> Market:
    return market_of(speaker, server, market_db)


def rows_stored(market: Market) -> dict[str, int]:
    with market.connect() as connection:
        return {
            name: connection.execute(f"SELECT count(*) FROM market.{name}").fetchone()[0]
            for name in TABLES
        }


def asked(speaker: Speaker) -> Window:
    step = speaker.series.timeframe.step_ms
    end = speaker.series.timeframe.floor(NOW)
    return Window(end - 8 * step, end)


def loading(market: Market, speaker: Speaker, series: Series | None = None):
    return load(market, series or speaker.series, asked(speaker), purpose="load")


def told(market: Market, speaker: Speaker, series: Series | None = None) -> str:
    """The error of a load that brings nothing: raised, or told as a problem of its window."""
    try:
        report = loading(market, speaker, series)
    except (ProviderError, LoadFailed) as error:
        return f"{type(error).__name__}: {error}"
    assert (report.status, report.stored) == ("incomplete", 0)
    return "; ".join(report.problems)


NOTHING = dict.fromkeys(TABLES, 0)


def test_a_good_answer_is_stored(speaker, server, market):
    """Without this the others would prove nothing."""
    step = speaker.series.timeframe.step_ms
    times = range(asked(speaker).start_ms, asked(speaker).end_ms, step)
    speaker.say(server, speaker.encode([Row(t, "1.1", "1.2", "1.0", "1.15", "10") for t in times]))
    assert loading(market, speaker).stored == 8
    assert rows_stored(market)["candles"] == 8


def test_an_unknown_symbol(speaker, server, market_db):
    market = market_of(speaker, server, market_db, SingleSourceVenue)
    speaker.serve(server, lambda parameters: speaker.unknown)
    symbol = speaker.unknown_symbol or speaker.series.symbol
    error = told(market, speaker, dataclasses.replace(speaker.series, symbol=symbol))
    assert error.startswith("UnknownSymbol: ")
    assert rows_stored(market) == NOTHING


def test_an_empty_answer_is_no_error_and_no_evidence(speaker, server, market):
    speaker.say(server, speaker.empty)
    report = loading(market, speaker)
    assert (report.status, report.stored, report.lost) == ("incomplete", 0, 8)
    assert rows_stored(market) == NOTHING


def test_a_limit_that_is_reached(speaker, server, market):
    speaker.say(server, b"slow down", 429, **{"Retry-After": "4000"})
    with pytest.raises(RateLimited):
        loading(market, speaker)
    assert rows_stored(market) == NOTHING


def test_an_error_under_200(speaker, server, market):
    speaker.say(server, REFUSED_UNDER_200[speaker.name])
    assert told(market, speaker)
    assert rows_stored(market) == NOTHING


@pytest.mark.parametrize("body", [b"<html>cookies?</html>", b'"ok"', b'{"results":['])
def test_a_wrong_shape(speaker, server, market, body):
    speaker.say(server, body)
    assert speaker.name in told(market, speaker)
    assert rows_stored(market) == NOTHING


def test_a_refused_address(speaker, server, market):
    speaker.serve(server, lambda parameters: Reply(b"<html>no</html>", 451, JSON))
    with pytest.raises(GeoBlocked):
        loading(market, speaker)
    assert rows_stored(market) == NOTHING
