"""The extended universe: active pairs, ended ones kept, leveraged tokens out."""

from __future__ import annotations

import psycopg
import pytest

from candlevault import identities
from candlevault.errors import PartlyFailed, RateLimited, UnknownSymbol
from candlevault.ingest import many, universe
from candlevault.ingest.load import load
from candlevault.instruments import InstrumentFacts
from candlevault.leveraged import is_leveraged
from candlevault.storage import series_registry
from tests.support.candles import series
from tests.support.market import (
    DAY,
    ReplayFiles,
    SimulatedVenue,
    Store,
    market_at,
    ms,
    simulated,
    span,
    values_at,
)

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


def test_a_symbol_that_means_another_coin_by_now_is_not_done(market):
    """The first LUNA ended and is whole; that says nothing of the one that trades today."""
    one = series("1d", "LUNAUSDT")
    facts = InstrumentFacts("LUNAUSDT", "LUNAUSDT", "LUNA", "USDT", "REPLACED", trading=False)
    first, second = identities.lifetimes("binance", "spot", "LUNAUSDT")
    for lifetime, left in ((first, [one]), (second, [])):
        stored = series_registry.register(market.connect, one, facts, lifetime)
        with market.connect() as connection:
            connection.execute(
                "UPDATE market.series_status SET is_complete = true WHERE series_id = %s",
                (stored.series_id,),
            )
        assert many.not_ended(market, [one]) == left


# -- many series -----------------------------------------------------------------------------


def test_one_failure_never_stops_the_rest_and_all_are_told_at_the_end():
    said: list[str] = []

    def work(name: str) -> str:
        if name == "a":
            raise UnknownSymbol("no such symbol")
        if name == "b":
            raise psycopg.errors.UniqueViolation("twice")
        said.append(f"done {name}")
        return name

    with pytest.raises(PartlyFailed, match=r"2 of 4 series failed: a: .*; b: .*twice") as failed:
        many.each(["a", "b", "c", "d"], work, said.append)
    assert failed.value.transient is False
    assert [line for line in said if line.startswith("done")] == ["done c", "done d"]
    assert many.each(["c", "d"], work, said.append) == ["c", "d"]


@pytest.mark.parametrize(
    "passing", [RateLimited("wait", retry_after=1.0), psycopg.errors.DeadlockDetected("again")]
)
def test_one_failure_that_may_pass_makes_all_worth_a_retry(passing):
    def work(error: Exception) -> None:
        raise error

    with pytest.raises(PartlyFailed) as failed:
        many.each([passing, UnknownSymbol("none")], work, lambda line: None)
    assert failed.value.transient is True


@pytest.fixture
def restated(replay):
    """From now on the venue says another low of a candle."""
    yield lambda time, low: replay.fault("restated", rows=[{"open_time": time, "low": low}])
    replay.heal()


def test_a_series_with_history_gets_the_overlap_and_its_gaps_filled(
    market, market_db, replay, restated
):
    window = span("2024-01-01", "2024-04-20")
    replay.at("2024-04-18T00:20")
    for part in (span("2024-01-01", "2024-02-01"), span("2024-03-01", "2024-04-18")):
        load(market, series("1d", "BTCUSDT"), part, purpose="backfill")
    replay.at(NOW)
    time = ms("2024-04-17")
    restated(time, f"{values_at(time, DAY)['low'] / 2:.8f}")
    report = many.bring_up_to_date(market, series("1d", "BTCUSDT"), window)
    assert (report.stored, report.lost) == (110, 0)
    found = {row["open_time"]: row["low"] for row in Store(market_db, "BTCUSDT", "1d").read(window)}
    assert found[time] == values_at(time, DAY)["low"] / 2


def test_a_new_series_is_loaded_whole_and_at_once(market):
    window = span("2024-01-01", "2024-04-20")
    report = many.bring_up_to_date(market, series("1d", "ETHUSDT"), window)
    assert (report.stored, report.lost) == (110, 0)
    with market.connect() as connection:
        purposes = connection.execute("SELECT DISTINCT purpose FROM market.sync_log").fetchall()
    assert purposes == [("backfill",)]


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("BTCUP", True), ("BTCDOWN", True), ("ETHBULL", True), ("BULL", True), ("BEAR", True),
        ("JUP", False), ("SYRUP", False), ("UP", False), ("BTC", False), ("SUPER", False),
    ],
)  # fmt: skip
def test_leveraged_tokens_are_told_by_the_base_asset(base, expected):
    assert is_leveraged(base, {"BTC", "ETH", "SUPER", "JUP"}) is expected
