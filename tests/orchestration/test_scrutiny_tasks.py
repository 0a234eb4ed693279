"""Corrections, comparisons and the rest, as tasks: what they refuse, skip, and hand on."""

from __future__ import annotations

import dataclasses
from datetime import UTC, date, datetime

import pytest
from airflow.sdk.exceptions import AirflowFailException

from candlevault import config
from candlevault.errors import InvalidRequest, PartlyFailed
from candlevault.ingest import corrections
from candlevault.ingest.load import load
from candlevault.orchestration import scrutiny_dags, scrutiny_tasks
from candlevault.series import parse
from candlevault.storage import backtests
from candlevault.storage.backtests import Read
from candlevault.timeframe import parse as parse_timeframe
from tests.support.market import HOUR, ReplayFiles, Store, ms, simulated, span, values_at, venue_at
from tests.support.outcomes import outcome

NOW = ms("2024-04-20T00:20")
HOURS = range(ms("2024-03-01"), NOW, HOUR)
ENDED = ms("2024-04-02")
LOADED = span("2024-03-01", "2024-04-20")
AT = ms("2024-04-18T05:00")
H1 = parse_timeframe("1h")


@pytest.fixture(scope="module")
def venues(tmp_path_factory):
    """Binance with a coin that ended, and another exchange that lacks one coin."""
    ours = ReplayFiles(tmp_path_factory.mktemp("ours"))
    theirs = ReplayFiles(tmp_path_factory.mktemp("theirs"))
    for symbol in ("BTCUSDT", "ETHUSDT"):
        ours.write(symbol, HOURS)
    ours.write("GONEUSDT", range(HOURS[0], ENDED, HOUR))
    ours.end("GONEUSDT", "2024-04-02T00:00:00Z")
    theirs.write("ETHUSDT", HOURS, changes={AT: {"high": 900}})
    theirs.write("NEWUSDT", HOURS)
    with simulated(ours.root, NOW) as one, simulated(theirs.root, NOW) as other:
        yield one, other


@pytest.fixture
def home(worker, venues):
    """The worker, with BTC, ETH and the ended coin loaded."""
    ours, theirs = venues
    worker.venues["binance"] = venue_at(ours.base_url)
    worker.venues["kraken"] = dataclasses.replace(venue_at(theirs.base_url), venue="kraken")
    market = worker.market("binance", "spot")
    for symbol in ("BTCUSDT", "ETHUSDT", "GONEUSDT"):
        load(market, parse("binance", "spot", symbol, "1h"), LOADED, purpose="backfill")
    worker.said.clear()
    return worker


@pytest.fixture(scope="module")
def dag():
    return scrutiny_dags.build_corrections("The corrections of these tests.")


def csv(time: int = AT, **changes) -> str:
    row = values_at(time) | changes
    names = ("open_time", "open", "high", "low", "close", "volume")
    return f"{','.join(names)}\n{','.join(str(row[name]) for name in names)}\n"


# -- corrections -----------------------------------------------------------------------------


def correct(worker, dag, **conf) -> dict:
    return scrutiny_tasks.correct(worker.params(dag, symbol="BTC", **conf))


@pytest.mark.parametrize(
    ("conf", "told"),
    [
        ({}, "file: give one of: file, csv, or start with end"),
        ({"file": "x.csv", "csv": "a"}, "give one of.*'file, csv'"),
        ({"csv": "a", "start": "2024-04-01T00:00:00Z"}, "give one of.*'csv, start'"),
        ({"start": "2024-04-01T00:00:00Z"}, "end: must be given and lie after start"),
        ({"start": "2024-04-01T00:00:00Z", "end": "2024-04-01T00:00:00Z"}, "end: must be given"),
        ({"csv": "a", "reasn": "typing error"}, "reasn: unknown key; known: compare_only, csv"),
        ({"file": "../x.csv"}, "file: must be a plain file name"),
        ({"start": "2024-04-01T00:00:00Z", "end": "2024-04-02T00:00:00Z", "compare_only": True},
         "compare_only: goes with file or csv"),
        ({"csv": "nothing", "compare_only": True}, "file: "),
    ],
)  # fmt: skip
def test_a_request_that_cannot_be_is_refused_by_field_and_not_retried(home, dag, conf, told):
    with pytest.raises(AirflowFailException, match=told):
        correct(home, dag, **conf)


def ran(store: Store) -> None:
    """A completed backtest that has read everything as it is now."""
    backtests.open_record(store.connect, "reader", {})
    read = Read(store.stored.series_id, LOADED, store.revision)
    metrics = {"final_equity": 1.0, "total_return_pct": 0.0}
    backtests.complete(store.connect, "reader", outcome([read], metrics))


def test_an_attempt_killed_after_publishing_keeps_its_impact(home, dag, market_db, monkeypatch):
    ran(Store(market_db, "BTCUSDT"))

    def die(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(corrections, "refreeze", die)
        correct(home, dag, csv=csv(high="1000"))
    report = correct(home, dag, csv=csv(high="1000"))
    assert report["outcome"] == "unchanged"
    [told] = scrutiny_tasks.impact(report)
    assert (told["dag_run_id"], told["changed_candles"]) == ("reader", 1)


def test_a_run_that_changed_nothing_has_no_impact_of_its_own(home, dag, market_db):
    ran(Store(market_db, "BTCUSDT"))
    correct(home, dag, csv=csv(high="1000"))
    home.run_id = "run-2"
    report = correct(home, dag, csv=csv(high="1000"))
    assert scrutiny_tasks.impact(report) == []


def test_a_file_can_be_compared_only(home, dag, market_db, tmp_path, monkeypatch):
    monkeypatch.setenv("CANDLEVAULT_INBOX", str(tmp_path))
    (tmp_path / "friend.csv").write_text(csv(high="1000"))
    store = Store(market_db, "BTCUSDT")
    before = store.touched()
    report = correct(home, dag, file="friend.csv", compare_only=True)
    assert (report["compared"], report["discrepancies"], report["new"]) == (1, 1, 1)
    assert store.touched() == before
    assert store.rows("SELECT other, field, state FROM market.discrepancies") == [
        ("friend.csv", "high", "open")
    ]
    assert store.rows("SELECT count(*) FROM market.corrections") == [(0,)]
    assert scrutiny_tasks.impact(report) == []


# -- months ----------------------------------------------------------------------------------


def test_without_a_month_the_one_before_is_meant():
    now = datetime(2024, 3, 31, 5, tzinfo=UTC)
    assert scrutiny_tasks._month(None, now) == date(2024, 2, 1)
    assert scrutiny_tasks._month("", datetime(2024, 1, 1, tzinfo=UTC)) == date(2023, 12, 1)
    assert scrutiny_tasks._month("2020-02", now) == date(2020, 2, 1)


@pytest.mark.parametrize("text", ["2024", "2024-13", "2024-1", "2024-01-01", "٢٠٢٤-01", "last"])
def test_what_is_no_month_is_refused(text):
    with pytest.raises(InvalidRequest, match="month: must look like 2024-01"):
        scrutiny_tasks._month(text, datetime(2024, 3, 1, tzinfo=UTC))


# -- second sources --------------------------------------------------------------------------


def validate(worker, **conf):
    dag = scrutiny_dags.build_cross_validation(config.universe(), "The comparison of these tests.")
    defaults = {"symbols": ["ETH"], "sources": ["kraken"]}
    return scrutiny_tasks.cross_validate(worker.params(dag, **(defaults | conf)))


def test_a_source_that_cannot_be_asked_says_why(worker, monkeypatch):
    assert scrutiny_tasks._unusable("kraken", H1) is None
    assert scrutiny_tasks._unusable("coingecko", H1) is None
    why = scrutiny_tasks._unusable("polygon", H1)
    assert why == "no key: there is no Airflow Connection candlevault_polygon with a password"
    why = scrutiny_tasks._unusable("coingecko", parse_timeframe("1d"))
    assert "offers nothing to compare 1d with" in why
    monkeypatch.setenv("CANDLEVAULT_VENUE", "simulated")
    assert "are simulated" in scrutiny_tasks._unusable("kraken", H1)


def test_a_source_without_a_key_is_skipped_aloud(home):
    assert validate(home, sources=["polygon"]) == []
    assert home.told("polygon: skipped: no key")


def test_every_symbol_is_held_against_every_source(home):
    [report] = validate(home)
    assert (report["compared"], report["discrepancies"], report["new"]) == (7 * 24 - 1, 1, 1)


def test_a_coin_that_did_not_live_in_the_window_is_not_asked_for(home):
    assert validate(home, symbols=["GONE"]) == []
    [told] = home.told("skipped")
    assert "GONEUSDT" in told and "no 1h candle of the last 7 days" in told
    assert home.rows("SELECT count(*) FROM market.series_names WHERE venue = 'kraken'") == [(0,)]


def test_one_that_the_source_lacks_does_not_stop_the_others(home):
    with pytest.raises(AirflowFailException, match=r"1 of 2 comparisons failed: .*BTCUSDT"):
        validate(home, symbols=["BTC", "ETH"])
    assert home.told("ETHUSDT 1h against kraken/spot/ETHUSDT/1h: 167 candles compared")


# -- every series ----------------------------------------------------------------------------


def test_a_database_that_stumbles_over_one_series_does_not_stop_the_others(home, monkeypatch):
    import psycopg

    def examine(market, stored):
        if stored.series.symbol == "BTCUSDT":
            raise psycopg.errors.DeadlockDetected("deadlock detected")
        home.said.append(f"examined {stored.series.symbol}")
        return {}

    monkeypatch.setattr(scrutiny_tasks, "radar_of", examine)
    radar = scrutiny_dags.build_restatement_radar("The radar of these tests.")
    with pytest.raises(PartlyFailed, match="1 of 3 series failed") as failed:
        scrutiny_tasks.radar_task(home.params(radar))
    assert failed.value.transient is True
    assert home.told("examined") == ["examined ETHUSDT", "examined GONEUSDT"]


def test_a_month_is_certified_of_what_lived_in_it(home):
    dag = scrutiny_dags.build_consolidation("The consolidation of these tests.")
    told = scrutiny_tasks.consolidate(home.params(dag, month="2024-03"))
    assert told == {
        "month": "2024-03", "series": 3, "certified": 3, "unchanged": 0, "outside its life": 0,
    }  # fmt: skip
