"""The extended universe: active pairs, ended ones kept, leveraged tokens out."""

from __future__ import annotations

import pytest

from candlevault.ingest import many, universe
from candlevault.ingest.load import load
from candlevault.leveraged import is_leveraged
from tests.support.candles import series
from tests.support.market import DAY, ReplayFiles, SimulatedVenue, market_at, ms, simulated, span

NOW = ms("2024-04-20T00:20")
TIMES = range(ms("2024-01-01"), NOW, DAY)
PAIRS = ("BTCUSDT", "ETHUSDT", "JUPUSDT", "SYRUPUSDT", "BTCUPUSDT", "ETHBEARUSDT", "ETHBTC")


@pytest.fixture(scope="module")
def replay(tmp_path_factory):
    files = ReplayFiles(tmp_path_factory.mktemp("replay"))
    for symbol in (*PAIRS, "GONEUSDT", "FORGOTUSDT", "NEWUSDT"):
        files.write(symbol, TIMES, "1d")
    files.end("GONEUSDT", "2024-03-20T00:00:00Z")
    files.end("FORGOTUSDT", "2024-03-20T00:00:00Z", forgotten=True)
    files.end("NEWUSDT", "2024-04-19T00:00:00Z")
    with simulated(files.root, NOW) as venue:
        yield venue


@pytest.fixture
def market(market_db, replay: SimulatedVenue):
    replay.at(NOW)
    return market_at(market_db, replay.base_url)


def events(market) -> list[tuple]:
    with market.connect() as connection:
        return connection.execute(
            "SELECT i.symbol, l.event FROM market.universe_log l JOIN market.instruments i"
            " USING (instrument_id) ORDER BY universe_log_id"
        ).fetchall()


def test_active_ended_and_leveraged_pairs_are_told_apart(market):
    report = universe.refresh(market, "USDT")
    assert report.active == ["BTCUSDT", "ETHUSDT", "JUPUSDT", "SYRUPUSDT"]
    assert report.ended == ["FORGOTUSDT", "GONEUSDT", "NEWUSDT"]
    assert report.leveraged == ["BTCUPUSDT", "ETHBEARUSDT"]
    with market.connect() as connection:
        kept = dict(connection.execute("SELECT symbol, traded FROM market.instruments").fetchall())
    assert kept == {
        "BTCUSDT": True, "ETHUSDT": True, "JUPUSDT": True, "SYRUPUSDT": True,
        "FORGOTUSDT": False, "GONEUSDT": False, "NEWUSDT": False,
    }  # fmt: skip


def test_a_second_look_tells_only_what_is_new(market, replay):
    replay.at("2024-04-18T00:20")
    first = universe.refresh(market, "USDT")
    assert "NEWUSDT" in first.listed_now
    replay.at(NOW)
    second = universe.refresh(market, "USDT")
    assert (second.listed_now, second.ended_now) == ([], ["NEWUSDT"])
    assert universe.refresh(market, "USDT").ended_now == []
    assert [event for symbol, event in events(market) if symbol == "NEWUSDT"] == [
        "listed", "ended",
    ]  # fmt: skip


def test_what_has_ended_and_is_whole_is_not_loaded_again(market):
    universe.refresh(market, "USDT")
    both = [series("1d", "GONEUSDT"), series("1d", "FORGOTUSDT"), series("1d", "BTCUSDT")]
    assert many.not_ended(market, both) == both
    for one in both:
        assert load(market, one, span("2024-01-01", "2024-04-20"), purpose="backfill").lost == 0
    assert many.not_ended(market, both) == [series("1d", "BTCUSDT")]


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("BTCUP", True), ("BTCDOWN", True), ("ETHBULL", True), ("BULL", True), ("BEAR", True),
        ("JUP", False), ("SYRUP", False), ("UP", False), ("BTC", False), ("SUPER", False),
    ],
)  # fmt: skip
def test_leveraged_tokens_are_told_by_the_base_asset(base, expected):
    assert is_leveraged(base, {"BTC", "ETH", "SUPER", "JUP"}) is expected
