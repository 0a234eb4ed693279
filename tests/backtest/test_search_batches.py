"""The batches of a sweep: how it is split, and that no split, process or kill shows in it."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys

import pytest

from candlevault import paths
from candlevault.backtest.search import concluding, jobs
from candlevault.backtest.search.parsing import parse
from candlevault.errors import StorageError
from candlevault.ingest.load import load
from candlevault.storage import sweep_results
from tests.support.market import market_at, ms
from tests.support.sweep_jobs import WALK, begin, conf, connect, record, run, url, venue

__all__ = ["begin", "connect", "run", "url", "venue"]


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(jobs, "LEAST_POINTS", 4)


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
