"""USDT-margined futures: the cheapest pages, perpetual contracts only, real candles."""

from __future__ import annotations

import csv
import gzip
import io
from decimal import Decimal
from urllib.parse import parse_qs, urlsplit

import pytest

from candlevault import candles
from candlevault.errors import UnknownSymbol
from candlevault.providers.binance_dialects import UM, dialect_of
from candlevault.providers.binance_rest import BinanceRest
from candlevault.series import parse
from candlevault.windows import Window
from tests.support.market import (
    HOUR,
    ReplayFiles,
    SimulatedVenue,
    client,
    grid,
    made,
    ms,
    plain,
    simulated,
    span,
    venue_at,
)
from tests.support.scripted_http import Reply

BTC = parse("binance", "um", "BTCUSDT", "1h")
FIRST, LAST = ms("2024-01-01"), ms("2024-06-01")
NOW = LAST + 20 * 60_000
SETTLED = span("2024-03-10T09:00", "2024-05-01")


@pytest.fixture(scope="module")
def replay(tmp_path_factory):
    files = ReplayFiles(tmp_path_factory.mktemp("replay"))
    files.write("BTCUSDT", grid(Window(FIRST, LAST + HOUR)), market="um")
    settled = grid(Window(FIRST, SETTLED.end_ms))
    price = Decimal("5.00000000")
    flat = dict.fromkeys(("open", "high", "low", "close"), price) | dict.fromkeys(
        (*candles.AMOUNTS, "trades_count"), 0
    )
    changes = {time: flat for time in grid(SETTLED)}
    files.write("OLDUSDT", settled, changes=changes, market="um")
    files.end("OLDUSDT", "2024-05-01T00:00:00Z", "um")
    files.write("SPOTUSDT", grid(span("2024-01-01", "2024-01-03")))
    with simulated(files.root, NOW) as venue:
        yield venue


@pytest.fixture
def venue(replay: SimulatedVenue) -> SimulatedVenue:
    replay.heal()
    replay.at(NOW)
    replay.forget()
    replay.exchange.budgets["um"].reset()
    return replay


def opened(answer) -> list[int]:
    return [t for page in answer.pages for t in page.candles["open_time"].to_pylist()]


def test_pages_are_the_largest_of_the_cheap_ones(venue):
    window = Window(FIRST, FIRST + 1000 * HOUR)
    answer = venue_at(venue.base_url, "um").rest.candles(BTC, window, NOW)
    assert opened(answer) == grid(window)
    calls = venue.asked()["um.klines"]
    assert calls in (3, 4)
    # 499 candles weigh 2, 500 would weigh 5.
    assert sum(venue.exchange.budgets["um"].used_by_minute.values()) == 2 * calls
    sent = [parse_qs(urlsplit(page.fetch.url).query) for page in answer.pages]
    assert {query["limit"][0] for query in sent} == {"499"}
    cuts = [page.covers.start_ms for page in answer.pages[1:]]
    assert all(cut % (499 * HOUR) == 0 for cut in cuts)


def test_rows_after_settlement_without_a_trade_are_rows(venue):
    """Futures go on with flat candles of no volume when a contract has been settled."""
    of = parse("binance", "um", "OLDUSDT", "1h")
    window = span("2024-03-10T08:00", "2024-03-10T12:00")
    for provider in ("rest", "archive"):
        answer = getattr(venue_at(venue.base_url, "um"), provider).candles(of, window, NOW)
        rows = [row for page in answer.pages for row in plain(page.candles)]
        assert [row["open_time"] for row in rows] == grid(window)
        assert [row["trades_count"] for row in rows[1:]] == [0, 0, 0]
        assert {row["volume"] for row in rows[1:]} == {Decimal(0)}


def test_the_clock_and_the_ends_of_a_contract(venue):
    at = venue_at(venue.base_url, "um")
    assert at.server_time_ms() == NOW
    assert at.first_candle(BTC).open_time_ms == FIRST
    assert at.last_candle(BTC).open_time_ms == LAST
    assert venue.asked() == {"um.time": 1, "um.klines": 2}


def test_a_perpetual_contract_is_described(venue):
    facts = venue_at(venue.base_url, "um").instrument("BTCUSDT")
    assert (facts.symbol, facts.base_asset, facts.quote_asset) == ("BTCUSDT", "BTC", "USDT")
    assert (facts.status, facts.trading) == ("TRADING", True)
    old = venue_at(venue.base_url, "um").instrument("OLDUSDT")
    assert (old.status, old.trading) == ("SETTLING", False)


@pytest.mark.parametrize("symbol", ["SPOTUSDT", "NOSUCHUSDT"])
def test_what_is_traded_on_the_spot_market_only_is_unknown_here(venue, symbol):
    at = venue_at(venue.base_url, "um")
    with pytest.raises(UnknownSymbol, match="lists no such symbol"):
        at.instrument(symbol)
    with pytest.raises(UnknownSymbol):
        at.rest.candles(parse("binance", "um", symbol, "1h"), span("2024-01-01", "2024-01-02"), NOW)


def test_both_markets_share_no_path(server):
    server.answer = lambda path, parameters: Reply(b'{"serverTime": 1}')
    for market in ("spot", "um"):
        dialect = dialect_of(market)
        BinanceRest(f"{server.base_url}/", "x", client(), dialect=dialect).server_time_ms()
    assert server.asked == ["/api/v3/time", "/fapi/v1/time"]


# -- real ones -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(shared_data, tmp_path_factory):
    piece = "um_futures/FILUSDT/1m_2025-02-01_2025-02-28"
    with simulated(shared_data, "2025-03-20", pieces=(piece,)) as venue:
        yield venue


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT"])
def test_four_years_of_real_hours_are_read_as_they_lie_in_the_file(real, shared_data, symbol):
    path = shared_data / "klines" / "um_futures" / symbol / "1h.csv.gz"
    lines = list(csv.DictReader(io.StringIO(gzip.decompress(path.read_bytes()).decode())))
    times = [int(line["open_time"]) for line in lines]
    window = Window(times[0], times[-1] + HOUR)
    real.exchange.budgets["um"].reset()
    real.at(times[-1] + HOUR)
    of = parse("binance", "um", symbol, "1h")
    answer = venue_at(real.base_url, "um").rest.candles(of, window, window.end_ms)
    assert answer.problems == []
    assert opened(answer) == times == grid(window)
    table = candles.concat([page.candles for page in answer.pages])
    for name in ("open", "high", "low", "close", "volume"):
        assert table[name].to_pylist() == [Decimal(line[name]) for line in lines]


def test_a_published_file_with_a_header_agrees_with_rest(real):
    real.at("2025-03-20")
    of = parse("binance", "um", "FILUSDT", "1m")
    window = span("2025-02-01", "2025-03-01")
    at = venue_at(real.base_url, "um")
    [month] = at.archive.candles(of, window, ms("2025-03-20")).pages
    rest = at.rest.candles(of, window, ms("2025-03-20"))
    assert month.candles.num_rows == 40_320
    assert plain(month.candles) == [r for page in rest.pages for r in plain(page.candles)]


def test_the_real_list_of_contracts_is_read(server, shared_data):
    body = (shared_data / "responses/binance_um_futures/exchangeInfo_2021-07.json").read_bytes()
    server.answer = lambda path, parameters: Reply(body)
    rest = BinanceRest(server.base_url, "binance_um_rest", client(), dialect=UM)
    facts = rest.instruments()
    assert (len(facts), rest.skipped) == (119, 0)
    assert all(one.trading for one in facts)
    assert {one.quote_asset for one in facts} == {"USDT", "BUSD"}
    assert [one.symbol for one in facts] == sorted(one.symbol for one in facts)
    for symbol, reason in (("BTCUSDT_210924", "CURRENT_QUARTER"), ("BTCSTUSDT", "''; only")):
        with pytest.raises(UnknownSymbol, match=f"contract type is .*{reason}"):
            rest.instrument(symbol)


def test_hand_made_futures_candles_are_exact(venue):
    [page] = (
        venue_at(venue.base_url, "um")
        .archive.candles(BTC, span("2024-02-01", "2024-03-01"), NOW)
        .pages
    )
    assert plain(page.candles) == plain(made(grid(span("2024-02-01", "2024-03-01"))))
