"""The tasks of the sweep DAG: what they hand on, and that a cancelled sweep stops."""

from __future__ import annotations

import json
import os
import signal
import time
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowFailException, ParamValidationError

from candlevault.backtest.search import concluding, jobs
from candlevault.backtest.search.parsing import canonical, parse
from candlevault.backtest.search.schema import REQUIRED, properties
from candlevault.orchestration import announcing, assets, run_ends, runtime, sweep_dag, sweep_tasks
from candlevault.storage import sweep_results, sweeps
from tests.support.market import HOUR, ReplayFiles, ms, simulated, venue_at

NOW = ms("2024-04-20T00:20")
CONF = {
    "backtest": {
        "symbol": "WHOLEUSDT",
        "timeframe": "1h",
        "start_time": "2024-02-05T00:00:00Z",
        "end_time": "2024-02-15T00:00:00Z",
        "strategy": {"name": "rsi_reversion"},
    },
    "search": {"params": {"period": {"from": 2, "to": 9}, "lower": [30, 60]}},
    "walk_forward": {"in_sample_days": 5, "out_of_sample_days": 2},
}


@pytest.fixture(scope="module")
def venue(tmp_path_factory):
    files = ReplayFiles(tmp_path_factory.mktemp("replay"))
    files.write("WHOLEUSDT", range(ms("2024-02-01"), NOW, HOUR))
    with simulated(files.root, NOW) as running:
        yield running


@pytest.fixture
def task(worker, venue, monkeypatch):
    """What a task of a sweep's run sees; `events` is what was told of the asset."""
    worker.venues["binance"] = venue_at(venue.base_url)
    worker.events = {assets.SWEEPS: SimpleNamespace(extra={})}
    context = {
        "params": {"rank_by": "sharpe"},
        "run_id": worker.run_id,
        "dag_run": SimpleNamespace(conf=CONF),
        "outlet_events": worker.events,
    }
    monkeypatch.setattr(sweep_tasks, "get_current_context", lambda: context)
    monkeypatch.setattr(announcing, "get_current_context", lambda: context)
    monkeypatch.setattr(sweep_tasks, "venue_of", lambda *_: venue_at(venue.base_url))
    monkeypatch.setattr(runtime, "run_state_of", lambda dag_id: lambda run_id: "running")
    worker.context = context
    return worker


def planned(task) -> list[dict]:
    sweep_tasks.accept()
    sweep_tasks.gather()
    return sweep_tasks.plan()


def test_the_tasks_make_a_completed_sweep_and_hand_on_little(task, monkeypatch):
    monkeypatch.setattr(jobs, "LEAST_POINTS", 5)
    accepted = sweep_tasks.accept()
    assert accepted == {"points": 16, "left_out": 0}
    assert sweep_tasks.gather() == {"stored": 240, "absent": 0}
    assert task.told("candles of")
    batches = sweep_tasks.plan()
    assert [(batch["first"], batch["last"]) for batch in batches] == [(1, 5), (6, 10), (11, 16)]
    assert [sweep_tasks.run_batch(batch) for batch in batches] == [5, 5, 6]
    figures = sweep_tasks.conclude()
    assert sweeps.get(task.connect, "run-1").status == "completed"
    assert task.events[assets.SWEEPS].extra == {
        "event": "sweep.completed",
        "dag_run_id": "run-1",
        **figures,
    }
    handed_on = [accepted, batches, figures]
    assert all(len(json.dumps(one)) < 8_000 for one in handed_on)
    assert task.told("best of 16 points")


def test_keys_the_form_does_not_know_reach_the_check(task):
    task.context["dag_run"] = SimpleNamespace(conf=CONF | {"surprise": 1})
    with pytest.raises(AirflowFailException, match="surprise"):
        sweep_tasks.accept()
    assert sweeps.get(task.connect, "run-1").failed_field == "surprise"


def test_a_refused_sweep_is_announced(task, monkeypatch):
    heard = []
    monkeypatch.setattr(announcing, "failed", lambda *word: heard.append(word))
    task.context["dag_run"] = SimpleNamespace(conf=CONF | {"surprise": 1})
    with pytest.raises(AirflowFailException, match="surprise"):
        sweep_tasks.accept()
    ((what, run_id, number, message),) = heard
    assert (what, run_id) == ("sweep", "run-1")
    assert number == sweeps.get(task.connect, "run-1").sweep_id
    assert "surprise" in message


def test_asking_for_a_cancel_by_the_dag(task):
    dag = sweep_dag.build_cancel("Cancels in these tests.")
    assert list(dag.params) == ["sweep_id"]
    planned(task)
    number = sweeps.get(task.connect, "run-1").sweep_id
    task.context["params"] = {"sweep_id": number}
    assert sweep_tasks.cancel() == {"sweep_id": number, "status": "running"}
    task.context["params"] = {"sweep_id": number + 1}
    with pytest.raises(AirflowFailException, match="no such sweep"):
        sweep_tasks.cancel()


def test_a_cancelled_sweep_stops_before_its_next_task(task):
    (batch,) = planned(task)
    sweeps.request_cancel(task.connect, sweeps.get(task.connect, "run-1").sweep_id)
    with pytest.raises(AirflowFailException, match="cancelled: on request"):
        sweep_tasks.run_batch(batch)
    assert sweeps.get(task.connect, "run-1").status == "cancelled"
    assert list(sweep_results.points(task.connect, "run-1")) == []


def test_a_batch_stops_within_seconds_when_its_sweep_is_cancelled(task, monkeypatch):
    (batch,) = planned(task)
    sweep_id = sweeps.get(task.connect, "run-1").sweep_id
    monkeypatch.setattr(jobs.running, "CHUNK", 1)
    evaluate = jobs.running.evaluate

    def endless(*args, after_chunk, **more):
        sweeps.request_cancel(task.connect, sweep_id)
        while True:
            evaluate(*args, after_chunk=lambda count: None, **more)

    monkeypatch.setattr(jobs.running, "evaluate", endless)
    with pytest.raises(AirflowFailException, match="cancelled: on request"):
        sweep_tasks.run_batch(batch)
    assert sweeps.get(task.connect, "run-1").status == "cancelled"


def test_a_missing_batch_fails_the_conclusion_without_retry(task):
    planned(task)
    with pytest.raises(AirflowFailException, match="unfinished batches: 1"):
        sweep_tasks.conclude()


def test_a_run_that_died_ends_its_record(task, monkeypatch, market_db):
    planned(task)
    monkeypatch.setenv("CANDLEVAULT_DB_URL", market_db)
    sweep_tasks.end_failed_run("run-1")
    held = sweeps.get(task.connect, "run-1")
    assert (held.status, held.message.split(" before")[0]) == ("failed", "the DAG run failed")


def test_a_sweep_that_completed_before_the_cancel_came_succeeds(task, monkeypatch):
    (batch,) = planned(task)
    sweep_tasks.run_batch(batch)
    conclude = concluding.conclude

    def and_then_cancelled(*args, **more):
        conclude(*args, **more)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)

    monkeypatch.setattr(sweep_tasks.concluding, "conclude", and_then_cancelled)
    monkeypatch.setattr(runtime, "run_state_of", lambda dag_id: lambda run_id: "failed")
    figures = sweep_tasks.conclude()
    assert figures == sweeps.summary(task.connect, "run-1")
    assert task.events[assets.SWEEPS].extra["event"] == "sweep.completed"


def test_a_batch_that_breaks_ends_the_sweep_with_its_last_try(task, monkeypatch):
    (batch,) = planned(task)
    heard = []
    monkeypatch.setattr(announcing, "failed", lambda *word: heard.append(word))
    tried = SimpleNamespace(try_number=1, max_tries=2)
    monkeypatch.setattr(run_ends, "get_current_context", lambda: {"ti": tried})

    def broken(*args, **more):
        raise MemoryError("3 GB more")

    monkeypatch.setattr(jobs.running, "evaluate", broken)
    with pytest.raises(MemoryError):
        sweep_tasks.run_batch(batch)
    assert (sweeps.get(task.connect, "run-1").status, heard) == ("running", [])
    tried.try_number = 3
    with pytest.raises(MemoryError):
        sweep_tasks.run_batch(batch)
    assert task.rows("SELECT status, message, failed_step, failed_batch FROM market.sweeps") == [
        ("failed", "MemoryError: 3 GB more", "run_batch", 1)]  # fmt: skip
    assert len(heard) == 1


class TestDag:
    @pytest.fixture
    def dag(self):
        return sweep_dag.build_sweep("A doc.")

    def test_batches_are_mapped_between_plan_and_conclusion(self, dag):
        edges = {name: dag.task_dict[name].downstream_task_ids for name in dag.task_dict}
        assert edges == {
            "accept": {"gather"},
            "gather": {"plan"},
            "plan": {"run_batch"},
            "run_batch": {"conclude"},
            "conclude": set(),
        }
        assert dag.task_dict["run_batch"].is_mapped
        assert not dag.task_dict["conclude"].is_mapped
        assert [one.name for one in dag.task_dict["conclude"].outlets] == ["sweep results"]

    def test_every_task_is_tried_again_and_ends_some_day(self, dag):
        for one in dag.tasks:
            assert one.retries >= 1, one.task_id
            assert one.retry_exponential_backoff, one.task_id
            assert one.execution_timeout, one.task_id

    def test_the_form_requires_what_the_payload_requires(self, dag):
        assert set(dag.params) == set(properties())
        for name in dag.params:
            param = dag.params.get_param(name)
            assert param.schema["title"], name
            assert param.description or param.schema["description_md"], name
            if name in REQUIRED:
                with pytest.raises(ParamValidationError):
                    param.resolve()
            else:
                assert param.resolve() == properties()[name]["default"]
            param.resolve(canonical(parse(CONF))[name])
