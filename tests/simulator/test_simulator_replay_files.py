"""What a replay directory means: life of an instrument, pieces, lacks, broken files."""

from __future__ import annotations

import gzip

import pytest

from candlevault.errors import ConfigurationError
from candlevault.simulator import build_exchange

HOUR = 3_600_000
FIRST = 1_704_067_200_000  # 2024-01-01T00:00Z


def test_an_ended_instrument_is_silent_after_its_end_and_on_break(files, serve):
    files.write("spot/MATICUSDT/1h", "2024-01-01", 27)
    files.manifest({"spot/MATICUSDT": {"ended": "2024-01-02T03:00:00Z"}})
    venue = serve(files.exchange(now="2024-03-01"))
    assert venue.klines("MATICUSDT", start=FIRST + 27 * HOUR) == []
    assert [r[0] for r in venue.klines("MATICUSDT", limit=1)] == [FIRST + 26 * HOUR]
    info = venue.get("/api/v3/exchangeInfo", symbol="MATICUSDT").json()
    assert info["symbols"][0]["status"] == "BREAK"


def test_a_forgotten_instrument_is_unknown_to_rest_and_kept_by_the_archive(files, serve):
    files.write("spot/BTCUSDT/1h", "2024-01-01", 27)
    files.write("spot/GONEUSDT/1h", "2024-01-01", 27)
    files.manifest({"spot/GONEUSDT": {"ended": "2024-01-02T03:00:00Z", "forgotten": True}})
    venue = serve(files.exchange(now="2024-03-01"))
    for params in ({"limit": 1}, {"startTime": FIRST, "endTime": FIRST + HOUR}):
        answer = venue.get("/api/v3/klines", symbol="GONEUSDT", interval="1h", **params)
        assert (answer.status_code, answer.json()["code"]) == (400, -1121)
    info = venue.get("/api/v3/exchangeInfo").json()
    assert [entry["symbol"] for entry in info["symbols"]] == ["BTCUSDT"]
    for params in ({"symbol": "GONEUSDT"}, {"symbols": '["BTCUSDT","GONEUSDT"]'}):
        assert venue.get("/api/v3/exchangeInfo", **params).json()["code"] == -1121
    key = "data/spot/daily/klines/GONEUSDT/1h/GONEUSDT-1h-2024-01-02.zip"
    assert venue.archive(key).status_code == 200
    assert key in venue.get("/archive-listing", prefix=key).text
    folder = "data/spot/monthly/klines/"
    assert f"{folder}GONEUSDT/" in venue.get("/archive-listing", prefix=folder, delimiter="/").text


def test_before_its_end_by_the_clock_a_forgotten_instrument_is_known(files, serve):
    files.write("spot/GONEUSDT/1h", "2024-01-01", 27)
    files.manifest({"spot/GONEUSDT": {"ended": "2024-01-02T03:00:00Z", "forgotten": True}})
    venue = serve(files.exchange(now="2024-01-02T02:30"))
    assert len(venue.klines("GONEUSDT")) == 27
    venue.control("POST", "clock", {"now": "2024-01-02T03:00"})
    answer = venue.get("/api/v3/klines", symbol="GONEUSDT", interval="1h")
    assert answer.json()["code"] == -1121


@pytest.mark.parametrize(
    "entry",
    [
        {"forgotten": True},
        {"forgotten": True, "ended": False},
        {"forgotten": "yes", "ended": "2024-01-02"},
    ],
)
def test_only_what_has_ended_can_be_forgotten(files, entry):
    files.write("spot/BTCUSDT/1h", "2024-01-01", 5)
    files.manifest({"spot/BTCUSDT": entry})
    with pytest.raises(ConfigurationError, match="forgotten"):
        files.exchange()


def test_before_its_end_by_the_clock_the_instrument_trades(files, serve):
    files.write("spot/MATICUSDT/1h", "2024-01-01", 27)
    files.manifest({"spot/MATICUSDT": {"ended": "2024-01-02T03:00:00Z"}})
    venue = serve(files.exchange(now="2024-01-02T02:30"))
    info = venue.get("/api/v3/exchangeInfo", symbol="MATICUSDT").json()
    assert info["symbols"][0]["status"] == "TRADING"
    assert venue.klines("MATICUSDT", limit=1)[0][0] == FIRST + 26 * HOUR


def test_no_candle_forms_at_or_after_the_end_of_an_instrument(files, serve):
    files.write("spot/MATICUSDT/1h", "2024-01-01", 27)
    files.manifest({"spot/MATICUSDT": {"ended": "2024-01-02T03:00:00Z"}})
    venue = serve(files.exchange(now="2024-01-02T03:01"))
    assert venue.klines("MATICUSDT", limit=1)[0][0] == FIRST + 26 * HOUR


def test_an_end_later_than_the_file_leaves_the_time_between_unknown(files, serve):
    files.write("spot/MATICUSDT/1h", "2024-01-01", 24)
    files.manifest({"spot/MATICUSDT": {"ended": "2024-01-02T03:00:00Z"}})
    venue = serve(files.exchange(now="2024-03-01"))
    between = venue.get(
        "/api/v3/klines", symbol="MATICUSDT", interval="1h", start=FIRST + 24 * HOUR
    )
    assert between.status_code == 503
    assert venue.klines("MATICUSDT", start=FIRST + 27 * HOUR) == []


def test_a_shorter_piece_is_served_only_when_named(files, serve):
    files.write("spot/BTCUSDT/1m_2024-01-01_2024-01-02", "2024-01-01", 100)
    files.write("spot/BTCUSDT/1h", "2024-01-01", 5)
    unnamed = serve(files.exchange(now="2024-01-01T01:00"))
    answer = unnamed.get("/api/v3/klines", symbol="BTCUSDT", interval="1m")
    assert answer.status_code == 503
    piece = "BTCUSDT/1m_2024-01-01_2024-01-02"
    named = serve(files.exchange(now="2024-01-01T01:00", pieces=(piece,)))
    assert len(named.klines(interval="1m", start=FIRST)) == 61


def test_a_piece_named_by_the_manifest_hides_the_main_file(files, serve):
    files.write("spot/BTCUSDT/1h", "2020-01-01", 5)
    files.write("spot/BTCUSDT/1h_2024-01-01_2024-01-02", "2024-01-01", 5)
    files.manifest({"spot/BTCUSDT": {"pieces": ["1h_2024-01-01_2024-01-02"]}})
    venue = serve(files.exchange(now="2024-01-01T03:00"))
    assert venue.klines(start=0, limit=1)[0][0] == FIRST


def test_two_pieces_of_one_series_are_refused_since_pieces_are_never_joined(files):
    files.write("spot/BTCUSDT/1m_2024-01-01_2024-01-02", "2024-01-01", 5)
    files.write("spot/BTCUSDT/1m_2024-03-01_2024-03-02", "2024-03-01", 5)
    names = ("BTCUSDT/1m_2024-01-01_2024-01-02", "BTCUSDT/1m_2024-03-01_2024-03-02")
    with pytest.raises(ConfigurationError, match="named twice"):
        files.exchange(pieces=names)


@pytest.mark.parametrize("piece", ["BTCUSDT/1m_2024-05-01_2024-06-01", "BTCUSDT", "BTCUSDT/9h_x"])
def test_a_piece_that_is_not_there_is_refused_by_name(files, piece):
    files.write("spot/BTCUSDT/1h", "2024-01-01", 5)
    with pytest.raises(ConfigurationError, match=piece):
        files.exchange(pieces=(piece,))


def test_a_folder_that_contains_klines_is_accepted(files, serve):
    files.write("klines/spot/BTCUSDT/1h", "2024-01-01", 5)
    venue = serve(files.exchange())
    assert len(venue.klines(start=FIRST)) == 6


def test_without_an_end_the_clock_stands_a_minute_after_the_biggest_file(files):
    files.write("spot/BTCUSDT/1h", "2024-01-01", 500)
    files.write("spot/BTCUSDT/1d", "2024-01-01", 3)
    assert files.exchange().clock.now_ms() == FIRST + 500 * HOUR + 60_000


def test_with_an_end_the_clock_stands_frozen_a_minute_later(files):
    files.write("spot/BTCUSDT/1h", "2024-01-01", 5)
    clock = files.exchange(end="2024-01-01T04:00Z").clock
    assert clock.now_ms() == FIRST + 4 * HOUR + 60_000
    assert not clock.running


def test_the_control_listing_says_what_a_file_lacks(files, serve):
    lines = {1: f"{FIRST + HOUR},1,1,1,1,1,,,,,", 2: f"{FIRST + 2 * HOUR},1,1,1,1,1,,2,,,"}
    files.write("spot/BTCUSDT/1h", "2024-01-01", 5, lines=lines)
    listed = serve(files.exchange()).control("GET", "series").json()
    assert listed == [
        {
            "market": "spot",
            "symbol": "BTCUSDT",
            "timeframe": "1h",
            "file": "spot/BTCUSDT/1h.csv.gz",
            "rows": 5,
            "first_open_time": FIRST,
            "last_open_time": FIRST + 4 * HOUR,
            "ended": None,
            "rows_lacking": {
                "close_time": 2,
                "quote_volume": 1,
                "count": 2,
                "taker_buy_volume": 2,
                "taker_buy_quote_volume": 2,
            },
        }
    ]


def test_symbols_limit_what_the_venue_knows(files, serve):
    files.write("spot/BTCUSDT/1h", "2024-01-01", 5)
    files.write("spot/ETHUSDT/1h", "2024-01-01", 5)
    venue = serve(files.exchange(symbols=("ETHUSDT",)))
    answer = venue.get("/api/v3/klines", symbol="BTCUSDT", interval="1h")
    assert answer.json()["code"] == -1121
    with pytest.raises(ConfigurationError, match="XRPUSDT"):
        files.exchange(symbols=("XRPUSDT",))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"not gzip", "cannot be read"),
        (gzip.compress(b"time,o,h\n1,2,3\n"), "the header must be"),
        (gzip.compress(b"x" * 100_000)[:60], "cannot be read"),
    ],
)
def test_a_broken_file_is_an_error_that_names_it(files, serve, content, words):
    path = files.write("spot/BTCUSDT/1h", "2024-01-01", 5)
    path.write_bytes(content)
    venue = serve(files.exchange(now="2024-01-02"))
    answer = venue.get("/api/v3/klines", symbol="BTCUSDT", interval="1h")
    assert answer.status_code == 503
    assert words in answer.json()["msg"]
    assert "1h.csv.gz" in answer.json()["msg"]


def test_rows_out_of_order_are_an_error(files, serve):
    files.write("spot/BTCUSDT/1h", "2024-01-01", 5, lines={2: f"{FIRST},1,1,1,1,1,,,,,"})
    venue = serve(files.exchange(now="2024-01-01T05:00"))
    answer = venue.get("/api/v3/klines", symbol="BTCUSDT", interval="1h")
    assert answer.status_code == 503
    assert "ascend" in answer.json()["msg"]


@pytest.mark.parametrize(
    "entries",
    [
        [],
        {"BTCUSDT": {"ended": "2024-01-01"}},
        {"spot/BTCUSDT": {"delisted": True}},
        {"spot/BTCUSDT": "2024"},
    ],
)
def test_a_manifest_that_cannot_be_understood_is_refused(files, entries):
    files.write("spot/BTCUSDT/1h", "2024-01-01", 5)
    files.manifest(entries)
    with pytest.raises(ConfigurationError, match=r"manifest\.json"):
        files.exchange()


def test_a_directory_without_candles_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="um_futures"):
        build_exchange(f"replay:{tmp_path}")
    with pytest.raises(ConfigurationError, match="replay:DIR or simulated"):
        build_exchange("binance")


def test_exchange_info_filters_as_binance_does(files, serve):
    files.write("spot/BTCUSDT/1h", "2024-01-01", 5)
    files.write("spot/ETHUSDT/1h", "2024-01-01", 5)
    files.write("spot/OLDUSDT/1h", "2024-01-01", 3)
    files.manifest({"spot/OLDUSDT": {"ended": True}})
    venue = serve(files.exchange(now="2024-01-01T05:00"))

    def names(**params):
        answer = venue.get("/api/v3/exchangeInfo", **params).json()
        return [s["symbol"] for s in answer["symbols"]] if "symbols" in answer else answer["code"]

    assert names() == ["BTCUSDT", "ETHUSDT", "OLDUSDT"]
    assert names(symbol="ETHUSDT") == ["ETHUSDT"]
    assert names(symbols='["ETHUSDT","BTCUSDT"]') == ["ETHUSDT", "BTCUSDT"]
    assert names(symbols='["ETHUSDT","NOUSDT"]') == -1121
    assert names(symbols="ETHUSDT") == -1100
    assert names(symbol="ETHUSDT", symbols='["BTCUSDT"]') == -1128
    assert names(symbolStatus="TRADING") == ["BTCUSDT", "ETHUSDT"]
    assert names(symbolStatus="BREAK") == ["OLDUSDT"]
    assert names(permissions="SPOT") == ["BTCUSDT", "ETHUSDT", "OLDUSDT"]
    assert names(permissions='["LEVERAGED"]') == []


def test_exchange_info_describes_symbols_and_limits(files, serve):
    files.write("spot/BTCUSDT/1h", "2024-01-01", 5)
    info = serve(files.exchange()).get("/api/v3/exchangeInfo").json()
    limits = {limit["rateLimitType"]: limit for limit in info["rateLimits"]}
    assert limits["REQUEST_WEIGHT"]["limit"] == 6000
    assert (limits["RAW_REQUESTS"]["limit"], limits["RAW_REQUESTS"]["intervalNum"]) == (300_000, 5)
    symbol = info["symbols"][0]
    assert (symbol["baseAsset"], symbol["quoteAsset"]) == ("BTC", "USDT")
    filters = {f["filterType"]: f for f in symbol["filters"]}
    assert filters["PRICE_FILTER"]["tickSize"] == "0.01000000"
    assert filters["LOT_SIZE"]["stepSize"] == "0.00001000"


def test_futures_have_their_own_symbols_limits_and_refusals(files, serve):
    files.write("spot/BTCUSDT/1h", "2024-01-01", 5)
    files.write("um_futures/ETHUSDT/1h", "2024-01-01", 2000)
    venue = serve(files.exchange(now="2024-06-01"))

    def rows(**params):
        return venue.get("/fapi/v1/klines", symbol="ETHUSDT", interval="1h", **params).json()

    assert len(rows(start=FIRST, limit=1500)) == 1500
    assert rows(start=FIRST, limit=1501)["code"] == -1130
    assert rows(start=FIRST + 1, end=FIRST)["code"] == -1023
    unknown = venue.get("/fapi/v1/klines", symbol="BTCUSDT", interval="1h")
    assert unknown.json()["code"] == -1121
    info = venue.get("/fapi/v1/exchangeInfo").json()["symbols"][0]
    assert (info["contractType"], info["onboardDate"]) == ("PERPETUAL", FIRST)
