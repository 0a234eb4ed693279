"""Beyond the configured series: every pair of the venue, and other providers."""

from __future__ import annotations

import dataclasses

import pytest
from airflow.sdk.exceptions import AirflowFailException

from candlevault import config
from candlevault.ingest.load import load
from candlevault.orchestration import collective_dags, universe_tasks
from candlevault.series import parse
from tests.support.market import DAY, ReplayFiles, Store, ms, simulated, span, values_at, venue_at

NOW = ms("2024-04-20T00:20")
TIMES = range(ms("2024-01-01"), NOW, DAY)
WHOLE = span("2024-01-01", "2024-04-20")


@pytest.fixture(scope="module")
def replay(tmp_path_factory):
    files = ReplayFiles(tmp_path_factory.mktemp("replay"))
    for symbol in ("BTCUSDT", "ETHUSDT", "BTCUPUSDT"):
        files.write(symbol, TIMES, "1d")
    files.write("GONEUSDT", range(TIMES[0], ms("2024-03-20"), DAY), "1d")
    files.end("GONEUSDT", "2024-03-20T00:00:00Z")
    with simulated(files.root, NOW) as venue:
        yield venue


@pytest.fixture
def home(worker, replay, monkeypatch):
    """The worker in a home that loads all pairs, and keeps its days hot for two months."""
    replay.heal()
    replay.at(NOW)
    worker.venues["binance"] = venue_at(replay.base_url)
    usual = config.universe()
    small = dataclasses.replace(
        usual,
        policies=tuple(
            dataclasses.replace(one, retention_months=2)
            for one in usual.policies
            if (one.series.symbol, one.series.timeframe.code) == ("ADAUSDT", "1d")
        ),
        extended=config.Extended(True, ("1d",), WHOLE.start, 2),
    )
    monkeypatch.setattr(config, "universe", lambda: small)
    return worker


def refresh(worker, **conf) -> dict:
    dag = collective_dags.build_universe("The universe of these tests.")
    return universe_tasks.refresh_universe(worker.params(dag, **conf))


def daily(symbol: str):
    return parse("binance", "spot", symbol, "1d")


def test_every_pair_is_named_in_the_groups_it_is_loaded_in(home):
    told = refresh(home)
    assert (told["active"], told["ended"], told["leveraged"]) == (2, 1, 1)
    assert told["groups"] == [
        [["binance", "spot", "BTCUSDT", "1d"], ["binance", "spot", "GONEUSDT", "1d"]],
        [["binance", "spot", "ETHUSDT", "1d"]],
    ]


def test_a_run_may_only_look(home):
    assert refresh(home, load=False)["groups"] == []
    with pytest.raises(AirflowFailException, match="laod: unknown key; known: load"):
        refresh(home, laod=True)


def test_new_series_are_loaded_and_kept_up_to_date_ended_ones_left_alone(home, market_db, replay):
    groups = refresh(home)["groups"]
    replay.at("2024-04-18T00:20")
    load(home.market("binance", "spot"), daily("BTCUSDT"), span("2024-03-01", "2024-04-18"),
         purpose="backfill")  # fmt: skip
    replay.at(NOW)
    time = ms("2024-04-17")
    low = values_at(time, DAY)["low"] / 2
    replay.fault("restated", rows=[{"open_time": time, "low": f"{low:.8f}"}])
    assert universe_tasks.load_extended(groups[0]) == {"series": 2, "loaded": 2}
    rows = {row["open_time"]: row for row in Store(market_db, "BTCUSDT", "1d").read(WHOLE)}
    assert len(rows) == 110, "the gap before is filled"
    assert rows[time]["low"] == low, "the last three days are read again"
    assert universe_tasks.load_extended(groups[0]) == {"series": 2, "loaded": 1}


def test_what_is_due_moves_to_the_cold_tier_also_of_ended_series(home, market_db):
    refresh(home)
    group = [["binance", "spot", "GONEUSDT", "1d"]]
    universe_tasks.load_extended(group)
    store = Store(market_db, "GONEUSDT", "1d")
    cold = "SELECT month::text FROM market.cold_files WHERE series_id = %(id)s ORDER BY month"
    assert store.rows(cold) == [("2024-01-01",)]
    assert len(store.read(WHOLE)) == 79
    assert universe_tasks.load_extended(group) == {"series": 1, "loaded": 0}
    assert home.told("months before 2024-02-01 moved to the cold tier")


def test_a_timeframe_without_a_policy_stays_hot(home):
    assert universe_tasks._retention_months(daily("ETHUSDT")) == 2
    assert universe_tasks._retention_months(parse("binance", "spot", "ETHUSDT", "4h")) is None


def test_one_series_that_fails_does_not_stop_its_group(home):
    group = [["binance", "spot", symbol, "1d"] for symbol in ("NOSUCHUSDT", "ETHUSDT")]
    with pytest.raises(AirflowFailException, match=r"1 of 2 series failed: .*NOSUCHUSDT"):
        universe_tasks.load_extended(group)
    assert home.rows("SELECT count(*) FROM market.ohlcv_data_all WHERE symbol = 'ETHUSDT'")[0][0]


# -- by priority -----------------------------------------------------------------------------


def by_priority(worker, **conf) -> list[dict]:
    dag = collective_dags.build_load_by_priority("The loading of these tests.")
    defaults = {"symbols": ["BTC"], "start": "2024-04-01T00:00:00Z", "end": "2024-04-10T00:00:00Z"}
    return universe_tasks.load_by_priority(worker.params(dag, **(defaults | conf)))


def test_symbols_come_from_the_first_that_delivers(home):
    [report] = by_priority(home)
    assert (report["provider"], report["series"]) == ("binance", "binance/spot/BTCUSDT/1d")


def test_one_symbol_that_nobody_has_does_not_stop_the_next(home):
    with pytest.raises(AirflowFailException, match=r"1 of 2 symbols failed: NOSUCHUSDT: None"):
        by_priority(home, symbols=["NOSUCH", "ETH"], provider_priority=["binance", "polygon"])
    assert home.told("ETHUSDT: binance delivered")


def test_a_venue_that_this_home_lacks_is_passed_over(home):
    [report] = by_priority(home, provider_priority=["kraken", "binance"])
    assert report["provider"] == "binance"
    assert "is none of this test" in report["passed_over"][0]
