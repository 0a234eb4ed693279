"""A sweep from payload to conclusion, against a real store and a simulated venue."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from decimal import Decimal

import numpy as np
import pytest

from candlevault import paths
from candlevault.backtest import result as results
from candlevault.backtest.data.preparation import prepare
from candlevault.backtest.search import concluding, jobs
from candlevault.backtest.search.parsing import parse
from candlevault.backtest.signals import Signals
from candlevault.backtest.strategies import registry
from candlevault.backtest.strategies.contract import Parameter, Strategy
from candlevault.errors import (
    CandlevaultError,
    DataMissing,
    InvalidRequest,
    NotRepeated,
    StorageError,
    StrategyFailed,
)
from candlevault.ingest import funding
from candlevault.ingest.load import Market, load
from candlevault.storage import sweep_results, sweeps
from candlevault.storage.database import connector
from tests.support.market import HOUR, ReplayFiles, market_at, ms, simulated, venue_at

NOW = ms("2024-04-20T00:20")
START, END = "2024-02-05T00:00:00Z", "2024-03-01T00:00:00Z"


def wave(open_times) -> dict[int, dict[str, object]]:
    """Prices that rise and fall in two rhythms, so that averages cross."""
    changes = {}
    before = 100.0
    for time in open_times:
        step = time // HOUR
        close = round(100.0 + 8.0 * np.sin(step / 9.0) + 5.0 * np.sin(step / 31.0), 4)
        high, low = max(before, close) + 0.5, min(before, close) - 0.5
        prices = {"open": before, "high": high, "low": low, "close": close}
        changes[time] = {name: Decimal(str(round(value, 4))) for name, value in prices.items()}
        before = close
    return changes


@pytest.fixture(scope="module")
def venue(tmp_path_factory):
    files = ReplayFiles(tmp_path_factory.mktemp("replay"))
    hours = range(ms("2024-02-01"), NOW, HOUR)
    files.write("WAVEUSDT", hours, changes=wave(hours))
    files.write("WAVEUSDT", hours, changes=wave(hours), market="um")
    files.write_funding(
        "WAVEUSDT", [(time, "0.00030000", "100") for time in hours if time % (8 * HOUR) == 0]
    )
    closed = range(ms("2024-02-14"), ms("2024-02-18"), HOUR)
    files.write("HOLEUSDT", [time for time in hours if time not in closed])
    with simulated(files.root, NOW) as running:
        yield running


@pytest.fixture(scope="module")
def url(postgres_server, market_template):
    """A database of the module; sweeps of different runs do not touch each other."""
    with postgres_server.database(market_template) as given:
        yield given


@pytest.fixture
def connect(url):
    return connector(url)


def conf(search=None, *, backtest=None, **more) -> dict:
    return {
        "backtest": {
            "symbol": "WAVEUSDT",
            "timeframe": "1h",
            "start_time": START,
            "end_time": END,
            "strategy": {"name": "sma_cross"},
        }
        | (backtest or {}),
        "search": search or {"params": {"fast": {"from": 2, "to": 11}, "slow": [12, 18, 24]}},
    } | more


WALK = {"in_sample_days": 9, "out_of_sample_days": 4}


@pytest.fixture
def begin(connect, url, venue):
    """Accepts, gathers and plans; gives the batches."""

    def work(run_id: str, given: dict):
        there = venue_at(venue.base_url, given["backtest"].get("market", "spot"))
        market = Market(connect, there)
        jobs.accept(connect, lambda *_: there, run_id, given, default_venue="binance")
        jobs.gather(
            connect,
            run_id,
            lambda series, window: load(market, series, window, purpose="backtest"),
            lambda series, window: funding.load(market, series, window),
        )
        return jobs.plan(connect, run_id)

    return work


@pytest.fixture
def run(begin, connect):
    """The whole sweep, one batch after the other; gives the headline figures."""

    def work(run_id: str, given: dict | None = None) -> dict:
        for batch in begin(run_id, given or conf()):
            jobs.run_batch(connect, run_id, batch.number)
        return concluding.conclude(connect, run_id)

    return work


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(jobs, "LEAST_POINTS", 4)


def record(connect, run_id: str):
    return sweeps.get(connect, run_id)


def rows(connect, statement: str, run_id: str) -> list[tuple]:
    with connect() as connection:
        return connection.execute(statement, (record(connect, run_id).sweep_id,)).fetchall()


class TestWhole:
    def test_missing_candles_are_loaded_first_and_every_point_is_stored(self, run, connect):
        figures = run("whole")
        assert record(connect, "whole").status == "completed"
        assert figures["points"] == 30
        stored = list(sweep_results.points(connect, "whole"))
        assert [one.number for one in stored] == list(range(1, 31))
        assert stored[0].params == {"fast": 2, "slow": 12}
        ranked = rows(
            connect,
            "SELECT point_no FROM market.sweep_points WHERE sweep_id = %s ORDER BY rank",
            "whole",
        )
        by_sharpe = sorted(stored, key=lambda one: (-one.metrics["sharpe"], one.number))
        assert [number for (number,) in ranked] == [one.number for one in by_sharpe]
        assert figures["best_point"] == by_sharpe[0].number
        assert figures["best_params"] == by_sharpe[0].params
        assert figures["ranking"]["best_value"] == by_sharpe[0].metrics["sharpe"]
        deflated = figures["deflated_sharpe"]
        assert deflated["trials"] == 30
        assert deflated["deflated"] < deflated["probabilistic"]

    def test_every_stored_point_is_the_single_backtest(self, run, connect):
        run("singles", conf({"params": {"fast": [3, 7], "risk.stop_loss_pct": [None, 2]}}))
        request = parse(record(connect, "singles").payload)
        for one in sweep_results.points(connect, "singles"):
            single_request = request.request(one.number)
            single = results.run(single_request, prepare(connect, single_request).inputs)
            assert one.metrics == single.metrics.as_dict()

    def test_the_hash_covers_every_figure_of_every_point(self, run, begin, connect):
        wanted = run("clean")
        begin("touched", conf())
        jobs.run_batch(connect, "touched", 1)
        other = next(number for number in (1, 2) if number != wanted["best_point"])
        with connect() as connection:
            connection.execute(
                "UPDATE market.sweep_points p SET metrics = metrics || '{\"fees_paid\": 1.5}'"
                " FROM market.sweeps s WHERE s.sweep_id = p.sweep_id"
                " AND s.dag_run_id = 'touched' AND point_no = %s",
                (other,),
            )
        found = concluding.conclude(connect, "touched")
        assert found["best_point"] == wanted["best_point"]
        assert found["ranking"] == wanted["ranking"]
        assert found["result_hash"] != wanted["result_hash"]

    def test_positions_in_futures_pay_funding_in_every_point_and_fold(self, run, connect):
        given = conf({"params": {"fast": [3, 7]}}, backtest={"market": "um"}, walk_forward=WALK)
        run("futures", given)
        request = parse(record(connect, "futures").payload)
        for one in sweep_results.points(connect, "futures"):
            single_request = request.request(one.number)
            single = results.run(single_request, prepare(connect, single_request).inputs)
            assert one.metrics == single.metrics.as_dict()
            assert one.metrics["funding_paid"] > 0
        paid = rows(
            connect,
            "SELECT (out_of_sample ->> 'funding_paid')::float8 FROM market.walk_forward_folds"
            " WHERE sweep_id = %s",
            "futures",
        )
        assert sum(one for (one,) in paid) > 0

    def test_the_same_sweep_gives_the_same_hash_however_it_is_split(
        self, run, connect, monkeypatch
    ):
        given = conf(walk_forward=WALK)
        hashes = set()
        for run_id, least, most in (("one", 50, 8), ("many", 4, 8), ("three", 4, 3)):
            monkeypatch.setattr(jobs, "LEAST_POINTS", least)
            monkeypatch.setenv("CANDLEVAULT_SWEEP_BATCHES", str(most))
            hashes.add(run(run_id, given)["result_hash"])
        counts = [
            len(rows(connect, "SELECT 1 FROM market.sweep_batches WHERE sweep_id = %s", run_id))
            for run_id in ("one", "many", "three")
        ]
        assert counts == [1, 7, 3]
        assert len(hashes) == 1

    def test_what_decides_the_result_changes_the_hash(self, run):
        one = run("fees", conf(backtest={"fee_rate": 0.002}))
        assert one["result_hash"] != run("no-fees", conf(backtest={"fee_rate": 0}))["result_hash"]

    def test_the_walk_forward_analysis_is_stored_fold_by_fold(self, run, connect):
        figures = run("walk", conf(walk_forward=WALK))
        assert figures["walk_forward"]["folds"] == 4
        scores = [one.fold_scores for one in sweep_results.points(connect, "walk")]
        found = rows(
            connect,
            "SELECT fold_no, in_sample_start::text, out_of_sample_start::text,"
            " out_of_sample_end::text, point_no, params, (in_sample ->> 'sharpe')::float8,"
            " (out_of_sample ->> 'total_return_pct')::float8"
            " FROM market.walk_forward_folds WHERE sweep_id = %s ORDER BY fold_no",
            "walk",
        )
        assert [row[1:4] for row in found] == [
            ("2024-02-05 00:00:00+00", "2024-02-14 00:00:00+00", "2024-02-18 00:00:00+00"),
            ("2024-02-09 00:00:00+00", "2024-02-18 00:00:00+00", "2024-02-22 00:00:00+00"),
            ("2024-02-13 00:00:00+00", "2024-02-22 00:00:00+00", "2024-02-26 00:00:00+00"),
            ("2024-02-17 00:00:00+00", "2024-02-26 00:00:00+00", "2024-03-01 00:00:00+00"),
        ]
        for position, row in enumerate(found):
            column = [one[position] for one in scores]
            assert row[6] == max(column)
            assert row[4] == column.index(max(column)) + 1
        ((equity, first),) = rows(
            connect,
            "SELECT equity, first_open_time::text FROM market.walk_forward_curves"
            " WHERE sweep_id = %s",
            "walk",
        )
        growth = np.prod([1.0 + row[7] / 100.0 for row in found])
        assert len(equity) == 16 * 24 and first == "2024-02-14 00:00:00+00"
        assert equity[-1] == pytest.approx(10_000 * growth)
        assert figures["walk_forward"]["metrics"]["final_equity"] == equity[-1]

    def test_a_completed_sweep_answers_with_what_is_stored(self, run, connect):
        first = run("twice")
        assert concluding.conclude(connect, "twice") == first
        assert jobs.run_batch(connect, "twice", 1) == 0
        assert concluding.conclude(connect, "twice") == first

    def test_headline_figures_are_small(self, run):
        assert len(json.dumps(run("small", conf(walk_forward=WALK)))) < 8_000


class TestBatches:
    @pytest.mark.parametrize("points", [1, 49, 50, 99, 100, 401, 13_300])
    def test_points_are_split_into_few_even_batches(self, points):
        batches = jobs.split(points, 3, 1000)
        assert batches[0].first == 1 and batches[-1].last == points
        assert all(one.last + 1 == two.first for one, two in itertools.pairwise(batches))
        sizes = [one.last - one.first + 1 for one in batches]
        assert max(sizes) - min(sizes) <= 1
        assert len(batches) <= jobs.FEW_BATCHES
        assert min(sizes) >= min(points, jobs.LEAST_POINTS)
        assert [one.runs for one in batches] == [size * 3 for size in sizes]
        assert [one.number for one in batches] == list(range(1, len(batches) + 1))

    @pytest.mark.parametrize(("points", "runs_a_point"), [(100_000, 41), (100_000, 1), (900, 201)])
    def test_a_batch_of_a_large_sweep_is_no_more_than_a_worker_can_lose(self, points, runs_a_point):
        batches = jobs.split(points, runs_a_point, 1000)
        assert max(one.runs for one in batches) <= jobs.RUNS_A_BATCH
        assert sum(one.runs for one in batches) == points * runs_a_point
        # Nor so many that starting them is the work.
        assert min(one.runs for one in batches) > jobs.RUNS_A_BATCH / 2

    def test_there_are_never_more_batches_than_may_be_mapped(self):
        assert len(jobs.split(100_000, 400, 1000)) == 1000
        assert [one.last for one in jobs.split(3, 100_000, 1000)] == [1, 2, 3]
        assert len(jobs.split(100_000, 1, 1)) == 1

    def test_progress_is_told_while_a_batch_runs(self, begin, connect, monkeypatch):
        monkeypatch.setattr(jobs.running, "CHUNK", 5)
        begin("progress", conf(walk_forward=WALK))
        said, seconds = [], iter(range(0, 100_000, 3))
        jobs.run_batch(connect, "progress", 1, say=said.append, clock=lambda: next(seconds))
        assert said[0] == "batch 1: 10 of 150 runs; sweep: 10 of 150"
        assert len(said) == 16
        assert said[-1] == "batch 1: points 1 to 30 are stored"
        assert sweep_results.progress(connect, "progress") == (150, 150)

    def test_candles_restated_after_the_plan_change_nothing(
        self, begin, run, connect, url, venue, small_batches
    ):
        before = run("before")["result_hash"]
        batches = begin("restated", conf())
        jobs.run_batch(connect, "restated", 1)
        changed = {"open_time": ms("2024-02-08T00:00"), "high": "999.0", "close": "998.0"}
        venue.fault("restated", rows=[changed])
        try:
            request = parse(conf()).backtest
            market = market_at(url, venue.base_url)
            report = load(
                market, request.series, request.window, purpose="reread", reread=request.window
            )
            assert report.candles_changed == 1
            for batch in batches[1:]:
                jobs.run_batch(connect, "restated", batch.number)
            figures = concluding.conclude(connect, "restated")
            assert figures["result_hash"] == before
            assert run("after")["result_hash"] != before
        finally:
            venue.heal()
            load(market, request.series, request.window, purpose="reread", reread=request.window)

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ("data_fingerprint = repeat('0', 64)", "are not those that were planned with"),
            ("versions = jsonb_set(versions, '{engine}', '\"0\"')", "runs other code"),
        ],
    )
    @pytest.mark.parametrize("step", ["batch", "conclude"])
    def test_other_candles_or_code_than_the_plan_saw_are_refused(
        self, begin, connect, change, words, step
    ):
        run_id = f"{step} {words}"
        begin(run_id, conf())
        if step == "conclude":
            jobs.run_batch(connect, run_id, 1)
        with connect() as connection:
            connection.execute(
                f"UPDATE market.sweeps SET {change} WHERE dag_run_id = %s", (run_id,)
            )
        with pytest.raises(StorageError, match=words):
            if step == "batch":
                jobs.run_batch(connect, run_id, 1)
            else:
                concluding.conclude(connect, run_id)
        assert record(connect, run_id).status == "failed"

    def test_nothing_is_concluded_before_every_point_is_there(self, begin, connect, small_batches):
        batches = begin("gap", conf())
        for batch in batches[:-1]:
            jobs.run_batch(connect, "gap", batch.number)
        with pytest.raises(StorageError, match=r"25 of 30 points .* unfinished batches: 7"):
            concluding.conclude(connect, "gap")
        assert record(connect, "gap").status == "failed"
        jobs.run_batch(connect, "gap", batches[-1].number)
        assert concluding.conclude(connect, "gap")["points"] == 30
        assert record(connect, "gap").status == "completed"


WORKER = """
import sys, time
from candlevault.backtest.search import jobs
from candlevault.storage.database import connector

url, run_id, number, stay = sys.argv[1:]
jobs.running.CHUNK = 3
ticks = iter(range(0, 10**9, 60))

def say(text):
    print(text, flush=True)
    if stay == "stay":
        time.sleep(120)

jobs.run_batch(connector(url), run_id, int(number), say=say, clock=lambda: next(ticks))
"""


class TestProcesses:
    @pytest.fixture
    def worker(self, url):
        """Starts a batch in a process of its own."""
        started = []

        def start(run_id: str, number: int, stay: bool = False) -> subprocess.Popen:
            environment = os.environ | {"PYTHONPATH": f"{paths.PLUGINS}{os.pathsep}{paths.PROJECT}"}
            process = subprocess.Popen(
                [sys.executable, "-c", WORKER, url, run_id, str(number), "stay" if stay else "go"],
                env=environment,
                stdout=subprocess.PIPE,
                text=True,
            )
            started.append(process)
            return process

        yield start
        for process in started:
            process.kill()
            process.wait()
            process.stdout.close()

    def test_batches_of_different_processes_make_one_sweep(
        self, run, begin, connect, worker, small_batches
    ):
        wanted = run("alone")["result_hash"]
        batches = begin("shared", conf())
        workers = [worker("shared", batch.number) for batch in batches[:2]]
        for batch in batches[2:]:
            jobs.run_batch(connect, "shared", batch.number)
        assert [one.wait(120) for one in workers] == [0, 0]
        assert concluding.conclude(connect, "shared")["result_hash"] == wanted

    def test_a_batch_that_was_killed_is_run_again(self, run, begin, connect, worker):
        wanted = run("unharmed")["result_hash"]
        begin("killed", conf())
        lost = worker("killed", 1, stay=True)
        assert lost.stdout.readline().startswith("batch 1: 3 of 30 runs")
        lost.kill()
        lost.wait()
        assert list(sweep_results.points(connect, "killed")) == []
        with pytest.raises(StorageError, match="0 of 30 points"):
            sweep_results.refuse_incomplete(connect, "killed")
        jobs.run_batch(connect, "killed", 1)
        assert concluding.conclude(connect, "killed")["result_hash"] == wanted


def made(name: str, signals) -> Strategy:
    return Strategy(
        name=name,
        version="1",
        title=name,
        description=name,
        parameters=(Parameter("bars", "integer", 3, 1, 100, "Bars."),),
        signals=signals,
        lines=lambda bars, params: {},
    )


def fragile(bars, params):
    if params["bars"] == 7:
        raise RuntimeError("seven is too many")
    wished = np.arange(len(bars.close)) % params["bars"] == 0
    return Signals(enter_long=wished, exit_long=~wished)


def prophet(bars, params):
    later = np.roll(bars.close, -params["bars"]) > bars.close
    return Signals(enter_long=later, exit_long=~later)


@pytest.fixture
def strategies(monkeypatch):
    everyone = registry.builtin() | {
        "fragile": made("fragile", fragile),
        "prophet": made("prophet", prophet),
    }
    monkeypatch.setattr(registry, "builtin", lambda: everyone)


class TestFailures:
    def test_a_point_that_fails_fails_the_sweep_by_name(self, begin, connect, strategies):
        begin(
            "fragile",
            conf({"params": {"bars": [5, 6, 7, 8]}}, backtest={"strategy": {"name": "fragile"}}),
        )
        with pytest.raises(StrategyFailed):
            jobs.run_batch(connect, "fragile", 1)
        held = record(connect, "fragile")
        assert held.status == "failed"
        assert 'point 3, {"bars": 7}' in held.message and "seven is too many" in held.message
        ((step, batch, advice),) = rows(
            connect,
            "SELECT failed_step, failed_batch, advice FROM market.sweeps WHERE sweep_id = %s",
            "fragile",
        )
        assert (step, batch) == ("run_batch", 1) and "strategy" in advice
        assert list(sweep_results.points(connect, "fragile")) == []

    def test_what_cannot_run_at_all_fails_before_the_batches(self, begin, connect, strategies):
        given = conf({"params": {"bars": [7, 8]}}, backtest={"strategy": {"name": "fragile"}})
        with pytest.raises(StrategyFailed, match="point 1"):
            begin("hopeless", given)
        assert rows(
            connect, "SELECT status, failed_step FROM market.sweeps WHERE sweep_id = %s", "hopeless"
        ) == [("failed", "plan")]

    def test_a_strategy_that_knows_the_future_is_found_out(self, begin, connect, strategies):
        begin(
            "prophet",
            conf({"params": {"bars": [1, 2]}}, backtest={"strategy": {"name": "prophet"}}),
        )
        jobs.run_batch(connect, "prophet", 1)
        with pytest.raises(StrategyFailed):
            concluding.conclude(connect, "prophet")
        assert record(connect, "prophet").status == "failed"

    def test_a_best_point_that_comes_out_different_is_refused(self, begin, connect):
        begin("tampered", conf())
        jobs.run_batch(connect, "tampered", 1)
        with connect() as connection:
            connection.execute(
                "UPDATE market.sweep_points p SET metrics = metrics || '{\"sharpe\": 99}'"
                " FROM market.sweeps s WHERE s.sweep_id = p.sweep_id"
                " AND s.dag_run_id = 'tampered' AND point_no = 5"
            )
        with pytest.raises(NotRepeated, match="point 5"):
            concluding.conclude(connect, "tampered")
        assert record(connect, "tampered").status == "failed"

    @pytest.mark.parametrize(
        ("given", "field"),
        [
            (conf(backtest={"symbol": "NOPEUSDT"}), "backtest.symbol"),
            (conf(backtest={"end_time": "2024-04-20T01:00:00Z"}), "backtest.end_time"),
            (conf(backtest={"data": {"as_of": "2999-01-01T00:00:00Z"}}), "backtest.data.as_of"),
            (conf(backtest={"fee_rate": float("inf")}), "backtest.fee_rate"),
            (conf({"params": {"fast\x00": [3]}}), "search.params.fast\ufffd"),
            (conf({"params": {"fsat": [3]}}), "search.params.fsat"),
            (conf(surprise=1), "surprise"),
        ],
    )
    def test_a_refusal_ends_the_record_and_names_the_field(self, begin, connect, given, field):
        run_id = f"refused {id(given)}"
        with pytest.raises(InvalidRequest):
            begin(run_id, given)
        held = record(connect, run_id)
        assert (held.status, held.failed_field) == ("failed", field)
        with pytest.raises(StorageError, match="no accepted sweep"):
            jobs.plan(connect, run_id)

    def test_an_as_of_before_the_candles_were_recorded_is_refused(self, begin, connect):
        given = conf(backtest={"data": {"as_of": "2020-01-01T00:00:00Z"}})
        with pytest.raises(InvalidRequest, match="complete as of"):
            begin("early", given)
        assert record(connect, "early").failed_field == "backtest.data.as_of"

    def test_lost_candles_end_the_sweep_with_the_way_to_load_them(self, connect, venue):
        given = conf(
            backtest={"start_time": "2024-03-05T00:00:00Z", "end_time": "2024-03-20T00:00:00Z"}
        )
        jobs.accept(
            connect, lambda *_: venue_at(venue.base_url), "lost", given, default_venue="binance"
        )
        with pytest.raises(DataMissing, match=r"360 candles .*initial_load"):
            jobs.gather(connect, "lost", lambda series, window: None)
        assert record(connect, "lost").status == "failed"

    def test_a_venue_that_does_not_answer_leaves_the_record_open_for_a_retry(self, connect, venue):
        given = conf(
            backtest={"start_time": "2024-03-05T00:00:00Z", "end_time": "2024-03-20T00:00:00Z"}
        )
        jobs.accept(
            connect, lambda *_: venue_at(venue.base_url), "later", given, default_venue="binance"
        )

        class Away(CandlevaultError):
            transient = True

        def away(series, window):
            raise Away("not now")

        with pytest.raises(Away):
            jobs.gather(connect, "later", away)
        held = record(connect, "later")
        assert (held.status, held.message) == ("fetching_data", "Away: not now")

    def test_a_fold_without_a_candle_is_refused_by_the_plan(self, begin, connect):
        with pytest.raises(InvalidRequest, match=r"2024-02-14.* holds no candle"):
            begin("hole", conf(backtest={"symbol": "HOLEUSDT"}, walk_forward=WALK))
        held = record(connect, "hole")
        assert (held.status, held.failed_field) == ("failed", "walk_forward")
