"""A backtest from payload to stored result, against a real store and a simulated venue."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta

import pytest

from candlevault.backtest import jobs
from candlevault.backtest.ending import telling
from candlevault.errors import CandlevaultError, DataMissing, InvalidRequest, StrategyFailed
from candlevault.ingest.load import load
from candlevault.storage import backtests
from candlevault.storage.database import connector
from tests.support.market import DAY, HOUR, ReplayFiles, market_at, ms, simulated, venue_at

NOW = ms("2024-04-20T00:20")
HOLE = range(ms("2024-02-10T05:00"), ms("2024-02-10T08:00"), HOUR)


@pytest.fixture(scope="module")
def replay(tmp_path_factory):
    files = ReplayFiles(tmp_path_factory.mktemp("replay"))
    hours = range(ms("2024-02-01"), NOW, HOUR)
    files.write("WHOLEUSDT", hours)
    files.write("HOLEYUSDT", [t for t in hours if t not in HOLE])
    files.write("SHORTUSDT", range(ms("2024-02-01"), ms("2024-03-01"), HOUR))
    files.write("DAILYUSDT", range(ms("2024-02-01"), NOW, DAY), "1d")
    with simulated(files.root, NOW) as venue:
        yield venue


@pytest.fixture
def venue(replay):
    replay.heal()
    replay.forget()
    return replay


@pytest.fixture
def connect(market_db):
    return connector(market_db)


@pytest.fixture
def run(connect, market_db, venue):
    """Runs all three steps for a payload; gives the headline figures."""
    market = market_at(market_db, venue.base_url)
    numbers = iter(range(1000))

    def work(run_id: str | None = None, **changes) -> dict:
        run_id = run_id or f"run-{next(numbers)}"
        conf = {
            "symbol": "WHOLEUSDT",
            "timeframe": "1h",
            "start_time": "2024-02-05T00:00:00Z",
            "end_time": "2024-02-15T00:00:00Z",
            "strategy": {"name": "sma_cross", "params": {"fast": 3, "slow": 8}},
        } | changes
        request = jobs.accept(
            connect, lambda *_: venue_at(venue.base_url), run_id, conf, default_venue="binance"
        )
        jobs.gather(connect, run_id, request, lambda s, w: load(market, s, w, purpose="backtest"))
        return jobs.execute(connect, run_id, request)

    return work


def record(connect, run_id: str):
    return backtests.get(connect, run_id)


def test_missing_candles_are_fetched_first_and_the_same_run_gives_the_same_bytes(run, connect):
    first, second = run("one"), run("two")
    assert first["buy_and_hold_return_pct"] != 0
    assert first["result_hash"] == second["result_hash"]
    assert record(connect, "one").status == "completed"


def test_nothing_is_fetched_when_all_is_there(run, venue):
    run()
    venue.forget()
    run()
    assert venue.asked_for_candles() == 0


def test_an_interior_hole_of_the_store_is_found_and_filled(run, connect, venue):
    before = run()
    with connect() as connection:
        connection.execute("DELETE FROM market.candles_1h WHERE open_time = '2024-02-09T12:00Z'")
    venue.forget()
    assert run()["result_hash"] == before["result_hash"]
    assert venue.asked_for_candles() > 0


def test_a_hole_of_the_venue_is_bridged_as_the_payload_says(run, connect):
    marked = run("marked", symbol="HOLEYUSDT")
    carried = run("carried", symbol="HOLEYUSDT", data={"absent": "carry"})
    assert marked["result_hash"] != carried["result_hash"]
    with pytest.raises(DataMissing, match="2024-02-10T05:00"):
        run("forbidden", symbol="HOLEYUSDT", data={"absent": "forbid"})
    assert record(connect, "forbidden").status == "failed"
    with connect() as connection:
        summaries = dict(
            connection.execute("SELECT dag_run_id, data_summary FROM market.backtests").fetchall()
        )
    assert summaries["marked"]["absent"] == 3
    assert summaries["carried"]["absent_mode"] == "carry"


def test_a_venue_that_does_not_answer_leaves_the_record_open_for_a_retry(run, connect):
    with pytest.raises(CandlevaultError) as failed:
        run("short", symbol="SHORTUSDT", end_time="2024-03-05T00:00:00Z")
    assert failed.value.transient
    assert record(connect, "short").status == "fetching_data"


def test_lost_candles_are_named_with_the_way_to_load_them(connect, venue):
    request = jobs.accept(
        connect,
        lambda *_: venue_at(venue.base_url),
        "lost",
        {
            "symbol": "WHOLEUSDT",
            "timeframe": "1h",
            "start_time": "2024-02-05T00:00:00Z",
            "end_time": "2024-02-06T00:00:00Z",
            "strategy": {"name": "sma_cross"},
        },
        default_venue="binance",
    )
    with pytest.raises(DataMissing, match=r"24 candles .*initial_load"):
        jobs.gather(connect, "lost", request, lambda series, window: None)
    held = record(connect, "lost")
    assert held.status == "failed"
    assert "2024-02-05T00:00:00Z" in held.message


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"symbol": "NOPEUSDT"}, "symbol"),
        ({"end_time": "2024-04-20T01:00:00Z"}, "end_time"),
        ({"surprise": 1}, "surprise"),
        ({"data": {"as_of": "2999-01-01T00:00:00Z"}}, "data.as_of"),
    ],
)
def test_a_refusal_ends_the_record_and_names_the_field(run, connect, changes, field):
    with pytest.raises(InvalidRequest):
        run("refused", **changes)
    held = record(connect, "refused")
    assert (held.status, held.failed_field) == ("failed", field)


@pytest.mark.parametrize(
    ("changes", "field", "stored"),
    [
        ({"fee_rate": float("nan")}, "fee_rate", {"fee_rate": "NaN"}),
        ({"symbol": "WHOLE\x00USDT"}, "symbol", {"symbol": "WHOLE\ufffdUSDT"}),
        ({"also": ["A", "\ud800"]}, "also[1]", {"also": ["A", "\ufffd"]}),
        ({"sur\x00prise": 1}, "sur\ufffdprise", {"sur\ufffdprise": 1}),
        (
            {"strategy": {"name": "sma_cross", "params": {"fast": float("-inf")}}},
            "strategy.params.fast",
            {"strategy": {"name": "sma_cross", "params": {"fast": "-Infinity"}}},
        ),
    ],
)
def test_what_the_database_cannot_hold_still_leaves_a_record(run, connect, changes, field, stored):
    with pytest.raises(InvalidRequest):
        run("refused", **changes)
    held = record(connect, "refused")
    assert (held.status, held.failed_field) == ("failed", field)
    assert held.message.startswith(f"{field}: ")
    assert "a finite number" in held.message or "the character U+0000" in held.message
    assert held.payload.items() >= stored.items()


def test_an_error_with_odd_characters_is_still_told(connect):
    backtests.open_record(connect, "odd", {})
    said = StrategyFailed("mine\x00", "raised \ud800")
    with pytest.raises(StrategyFailed), telling(backtests.RECORDS, connect, "odd", "execute"):
        raise said
    assert record(connect, "odd").message == (
        "StrategyFailed: strategy mine\ufffd: raised \ufffd")  # fmt: skip


def test_an_as_of_before_the_candles_were_recorded_names_the_earliest_that_works(run, connect):
    before = datetime.now(UTC)
    run("early", end_time="2024-02-09T00:00:00Z")
    between = datetime.now(UTC)
    now = run("late")
    for name, as_of in {"none": before, "half": between}.items():
        with pytest.raises(InvalidRequest, match="complete as of"):
            run(name, data={"as_of": text_of(as_of)})
        held = record(connect, name)
        assert (held.status, held.failed_field) == ("failed", "data.as_of")
        (earliest,) = re.findall(r"complete as of (\S+Z)", held.message)
        assert between < datetime.fromisoformat(earliest)
        with connect() as connection:
            (advice,) = connection.execute(
                "SELECT advice FROM market.backtests WHERE dag_run_id = %s", (name,)
            ).fetchone()
        assert "later data.as_of" in advice and "Load" not in advice
    assert run(data={"as_of": earliest})["data_fingerprint"] == now["data_fingerprint"]
    too_early = datetime.fromisoformat(earliest) - timedelta(microseconds=1)
    with pytest.raises(InvalidRequest, match=r"data\.as_of"):
        run(data={"as_of": text_of(too_early)})


def test_an_as_of_when_only_the_warm_up_was_missing_is_refused_too(run):
    run(data={"warmup_bars": 0})
    between = text_of(datetime.now(UTC))
    run(data={"warmup_bars": 24})
    with pytest.raises(InvalidRequest, match=r"data\.as_of"):
        run(data={"warmup_bars": 24, "as_of": between})
    assert run(data={"warmup_bars": 0, "as_of": between})["trade_count"] >= 0


def text_of(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")


def test_a_window_up_to_the_newest_closed_candle_is_accepted(run):
    assert run(end_time="2024-04-20T00:00:00Z")["trade_count"] >= 0


def test_as_of_reads_the_candles_as_they_were_recorded_then(run, venue, connect, market_db):
    before = run()
    time.sleep(0.01)
    as_of = datetime.now(UTC)
    venue.fault(
        "restated",
        rows=[{"open_time": ms("2024-02-08T00:00"), "high": "999.0", "close": "998.0"}],
    )
    market = market_at(market_db, venue.base_url)
    series = jobs.payloads.parse(
        {
            "symbol": "WHOLEUSDT",
            "timeframe": "1h",
            "start_time": "2024-02-05T00:00:00Z",
            "end_time": "2024-02-15T00:00:00Z",
            "strategy": {"name": "sma_cross"},
        }
    )
    report = load(market, series.series, series.window, purpose="reread", reread=series.window)
    assert report.candles_changed == 1
    assert run()["data_fingerprint"] != before["data_fingerprint"]
    then = run(data={"as_of": as_of.isoformat().replace("+00:00", "Z")})
    assert then["data_fingerprint"] == before["data_fingerprint"]
    assert then["final_equity"] == before["final_equity"]
