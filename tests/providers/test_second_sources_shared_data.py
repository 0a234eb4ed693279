"""Recorded answers of the providers themselves, as their own clients keep them."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from candlevault.errors import BadPayload
from candlevault.providers.alpha_vantage import AlphaVantage
from candlevault.providers.ccxt_exchange import CcxtExchange
from candlevault.providers.coingecko import CoinGecko
from candlevault.providers.contract import Answer
from candlevault.providers.massive import Massive
from candlevault.providers.oanda import rows_of as oanda_rows
from candlevault.providers.pace import Pace
from candlevault.providers.single_source import now_ms
from candlevault.providers.yahoo import Yahoo
from candlevault.series import parse as parse_series
from candlevault.windows import Window
from tests.support.candles import ms
from tests.support.candles import window as span
from tests.support.scripted_http import Reply
from tests.support.second_sources import JSON, SPEAKER, client, no_sleep, recording, session_to

# pandas warns of what yfinance does.
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")

MINUTE = 60_000
PLACES = Decimal("0.00000001")


@pytest.fixture
def responses(shared_data) -> Path:
    return shared_data / "responses"


def brief(answer: Answer) -> list[tuple]:
    """Open time, the four prices, volume and quote volume of every row."""
    names = ("open_time", "open", "high", "low", "close", "volume", "quote_volume")
    return [
        tuple(row[name] for name in names)
        for page in answer.pages
        for row in page.candles.to_pylist()
    ]


def decimals(*texts: str) -> tuple[Decimal, ...]:
    return tuple(Decimal(text) for text in texts)


# -- polygon ---------------------------------------------------------------------------------


def massive(server, market: str, today: str) -> Massive:
    return Massive(market, client("polygon"), base_url=server.base_url, clock=lambda: ms(today))


def test_days_of_a_stock_are_the_dates_of_trading(server, responses):
    name = "v2_aggs_ticker_AAPL_range_1_day_2005-04-01_2005-04-04.json"
    body = (responses / "polygon" / name).read_bytes()
    server.answer = lambda path, parameters: Reply(body)
    series = parse_series("polygon", "stocks", "AAPL", "1d")
    window = span("2005-04-01", "2005-04-05")
    answer = massive(server, "stocks", "2005-06-01").candles(series, window, ms("2005-06-01"))
    # 2005-04-04 lies in daylight saving time, 2005-04-01 before it: 04:00 and 05:00 UTC.
    assert brief(answer) == [
        (ms("2005-04-01"), *decimals("1.5032", "1.5064", "1.4489", "1.4604", "642646396", "0")),
        (ms("2005-04-04"), *decimals("1.4639", "1.4754", "1.4343", "1.4675", "578172308", "0")),
    ]
    assert [page.candles["trades_count"].to_pylist() for page in answer.pages] == [[82132, 65543]]
    assert server.asked[0].startswith(
        "/v2/aggs/ticker/AAPL/range/1/day/2005-04-01/2005-04-04?adjusted=false&sort=asc&limit=50000"
    )


def test_the_previous_day_of_a_stock_has_the_same_shape(server, responses):
    body = (responses / "polygon" / "v2_aggs_ticker_AAPL_prev.json").read_bytes()
    server.answer = lambda path, parameters: Reply(body)
    series = parse_series("polygon", "stocks", "AAPL", "1d")
    answer = massive(server, "stocks", "2022-05-01").candles(
        series, span("2022-04-26", "2022-04-27"), ms("2022-05-01")
    )
    assert brief(answer) == [
        (ms("2022-04-26"), *decimals("162.25", "162.34", "156.72", "156.8", "95595226", "0"))
    ]


@pytest.mark.parametrize(
    "name",
    [
        "v1_last_crypto_BTC_USD.json",
        "v2_snapshot_locale_global_markets_crypto_tickers_X-BTCUSD_book.json",
    ],
)
def test_other_answers_of_polygon_are_no_candles(server, responses, name):
    body = (responses / "polygon" / name).read_bytes()
    server.answer = lambda path, parameters: Reply(body)
    series = parse_series("polygon", "crypto", "BTCUSD", "1h")
    answer = massive(server, "crypto", "2022-05-01").candles(
        series, span("2022-04-28", "2022-04-29"), ms("2022-05-01")
    )
    assert [type(problem.error) for problem in answer.problems] == [BadPayload]


# -- CoinGecko, Alpha Vantage, OANDA ---------------------------------------------------------


@pytest.mark.parametrize("name", ["btc-usd-max.csv", "sol-usd-max.csv"])
def test_points_of_coingecko_are_no_candles(server, responses, name):
    body = (responses / "coingecko" / name).read_bytes()
    server.answer = lambda path, parameters: Reply(body)
    source = CoinGecko("crypto", client("coingecko"), base_url=server.base_url)
    series = parse_series("coingecko", "crypto", "BTCUSD", "4h")
    now = now_ms()
    answer = source.candles(series, Window(now - 5 * 86_400_000, now), now)
    assert [type(problem.error) for problem in answer.problems] == [BadPayload]


@pytest.mark.parametrize(
    ("market", "name"),
    [
        ("stocks", "time_series_intraday.json"),
        ("crypto", "digital_currency_intraday_BTC_CNY_2017-12-20.json"),
        ("forex", "foreign_exchange.json"),
    ],
)
def test_other_series_of_alpha_vantage_are_no_days(server, responses, market, name):
    body = (responses / "alpha_vantage" / name).read_bytes()
    server.answer = lambda path, parameters: Reply(body)
    source = AlphaVantage(market, client("alphavantage"), base_url=server.base_url)
    symbol = {"stocks": "MSFT", "crypto": "BTCUSD", "forex": "EURUSD"}[market]
    series = parse_series("alphavantage", market, symbol, "1d")
    answer = source.candles(series, span("2017-12-01", "2017-12-20"), ms("2018-01-01"))
    assert answer.pages == []
    assert [type(problem.error) for problem in answer.problems] == [BadPayload]


def test_candles_of_oanda_with_its_old_spelling_of_the_instrument(responses):
    body = (responses / "oanda_v20" / "candles_DE30_EUR_M5.json").read_bytes()
    rows = oanda_rows(body, "DE30_EUR", "M5")
    assert [row.open_time_ms for row in rows] == [
        ms(f"2016-10-17T19:{minute}") for minute in (35, 40, 45, 50, 55)
    ]
    assert rows[0][1:] == (*decimals("10503.8", "10508", "10503.8", "10506", "132", "0"), 0)
    assert rows[-1][1:] == (*decimals("10509", "10509.8", "10503.2", "10507.8", "172", "0"), 0)


# -- Yahoo -----------------------------------------------------------------------------------


def yahoo(server, responses, market: str, name: str) -> Yahoo:
    recorded = json.loads((responses / "yahoo_chart" / name).read_text())
    body = json.dumps(recorded["response"]["bodyJson"]).encode()
    server.answer = lambda path, parameters: Reply(body, headers=JSON)
    return Yahoo(market, Pace(10**6), session=session_to(server), clock=lambda: ms("2025-02-20"))


def test_days_of_bitcoin_on_yahoo_with_dollars_as_quote_volume(server, responses):
    name = "chart-BTC-USD-2020-01-01-to-2020-01-03.json"
    series = parse_series("yahoo", "crypto", "BTCUSD", "1d")
    window = span("2020-01-01", "2020-01-03")
    answer = yahoo(server, responses, "crypto", name).candles(series, window, ms("2025-02-20"))
    assert brief(answer) == [
        (
            ms("2020-01-01"),
            *decimals("7194.89208984", "7254.33056641", "7174.94433594", "7200.17431641"),
            *decimals("0", "18565664997"),
        ),
        (
            ms("2020-01-02"),
            *decimals("7202.55126953", "7212.15527344", "6935.27001953", "6985.47021484"),
            *decimals("0", "20802083465"),
        ),
    ]
    assert [page.fetch.rows for page in answer.pages] == [3]
    assert server.asked[0].startswith("/v8/finance/chart/BTC-USD?period1=1577750400&")


def test_days_of_a_currency_on_yahoo_are_dates_in_london(server, responses):
    name = "chart-EURUSD_X-2020-01-01-to-2020-01-03.json"
    series = parse_series("yahoo", "forex", "EURUSD", "1d")
    answer = yahoo(server, responses, "forex", name).candles(
        series, span("2020-01-01", "2020-01-04"), ms("2025-02-20")
    )
    assert [row[0] for row in brief(answer)] == [ms(f"2020-01-0{day}") for day in (1, 2, 3)]
    assert brief(answer)[-1][4] == Decimal("1.11714375")
    assert "/v8/finance/chart/EURUSD=X?" in server.asked[0]


def test_days_of_a_stock_on_yahoo_are_adjusted_for_splits_only(server, responses):
    name = "chart-AAPL-2020-08-31-to-2020-11-07.json"
    recorded = json.loads((responses / "yahoo_chart" / name).read_text())
    chart = recorded["response"]["bodyJson"]["chart"]["result"][0]
    quote = chart["indicators"]["quote"][0]
    series = parse_series("yahoo", "stocks", "AAPL", "1d")
    answer = yahoo(server, responses, "stocks", name).candles(
        series, span("2020-08-31", "2020-11-07"), ms("2025-02-20")
    )
    rows = brief(answer)
    assert len(rows) == len(chart["timestamp"]) == 49
    # A session begins between 13:30 and 14:30 UTC of its date.
    assert [row[0] for row in rows] == [
        s * 1000 // 86_400_000 * 86_400_000 for s in chart["timestamp"]
    ]
    assert [row[4] for row in rows] == [
        Decimal(repr(value)).quantize(PLACES) for value in quote["close"]
    ]
    assert [row[5] for row in rows] == quote["volume"]


# -- exchanges through ccxt ------------------------------------------------------------------


def exchange(server, name: str, today: str, answers: dict[str, bytes]) -> CcxtExchange:
    def answer(path: str, parameters: dict) -> Reply:
        for part, body in answers.items():
            if part in path:
                return Reply(body, headers=JSON)
        return Reply(b"{}", 404)

    server.answer = answer
    return CcxtExchange(
        name, session=session_to(server), clock=lambda: ms(today), paced=False, sleep=no_sleep
    )


def test_a_page_of_kraken_exactly_as_it_was_written(server, responses):
    body = (responses / "kraken" / "example-ohlc-data.json").read_bytes()
    recorded = json.loads(body)["result"]["XXBTZUSD"]
    source = exchange(server, "kraken", "2017-08-12", {"/OHLC": body, **SPEAKER["kraken"].other})
    series = parse_series("kraken", "spot", "BTCUSD", "1m")
    first, last = recorded[0][0] * 1000, recorded[-1][0] * 1000
    answer = source.candles(series, Window(first, last + MINUTE), last + 30_000)
    # The last row is the running candle.
    assert brief(answer) == [
        (row[0] * 1000, *decimals(row[1], row[2], row[3], row[4], row[6]), Decimal(0))
        for row in recorded[:-1]
    ]
    assert answer.problems == []


def test_what_kraken_does_not_reach_is_a_problem_and_no_silence(server, responses):
    """Kraken answers every question with its newest 720 rows."""
    body = (responses / "kraken" / "example-ohlc-data.json").read_bytes()
    source = exchange(server, "kraken", "2017-08-12", {"/OHLC": body, **SPEAKER["kraken"].other})
    series = parse_series("kraken", "spot", "BTCUSD", "1m")
    window = span("2017-08-10T20:00", "2017-08-10T23:00")
    answer = source.candles(series, window, ms("2017-08-12"))
    first = ms("2017-08-10T22:02")
    assert [problem.window for problem in answer.problems] == [Window(window.start_ms, first)]
    assert [page.covers for page in answer.pages] == [Window(first, window.end_ms)]
    assert len(brief(answer)) == 58


def test_rows_of_coinbase_are_turned_around_and_their_columns_found(server, responses):
    body = (responses / "coinbase_pro" / "example-historical-candles.json").read_bytes()
    source = exchange(
        server,
        "coinbaseexchange",
        "2018-02-02",
        {"/candles": body, **SPEAKER["coinbaseexchange"].other},
    )
    series = parse_series("coinbaseexchange", "spot", "BTCUSD", "1m")
    answer = source.candles(series, span("2018-02-01", "2018-02-01T00:10"), ms("2018-02-02"))
    rows = brief(answer)
    assert [row[0] for row in rows] == [ms(f"2018-02-01T00:0{minute}") for minute in range(10)]
    assert rows[-1][1:] == decimals("10106.01", "10120.21", "10106", "10120.21", "2.85107455", "0")
    # Written with binary noise: 4.727521520000001.
    assert rows[-2][5] == Decimal("4.72752152")


def test_candles_of_hitbtc_with_half_hours_without_trades(server, responses):
    body = (responses / "hitbtc" / "example-candles-data.json").read_bytes()
    recorded = json.loads(body)
    listed = {
        "BTCUSD": {"type": "spot", "base_currency": "BTC", "quote_currency": "USD"}
        | {"quantity_increment": "0.00001", "tick_size": "0.01", "fee_currency": "USD"}
    }
    source = exchange(
        server,
        "hitbtc",
        "2017-10-14",
        {
            "/public/candles": body,
            "/public/symbol": json.dumps(listed).encode(),
            "/public/currency": b"{}",
        },
    )
    series = parse_series("hitbtc", "spot", "BTCUSD", "30m")
    answer = source.candles(series, span("2017-02-28T08:00", "2017-03-02"), ms("2017-10-14"))
    expected = [row for row in recorded if row["timestamp"] < "2017-03-02"]
    assert [row[:6] for row in brief(answer)] == [
        (
            ms(row["timestamp"]),
            *decimals(row["open"], row["max"], row["min"], row["close"], row["volume"]),
        )
        for row in expected
    ]
    assert 0 < len(expected) < 80


def test_the_recordings_of_our_own_are_small():
    for name in ("kraken_assets.json", "kraken_asset_pairs.json", "coinbase_products.json"):
        assert len(recording(name)) < 4_000
