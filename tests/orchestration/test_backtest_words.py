"""The small tasks around backtests: saved strategies, cancelling, verifying, announcing."""

from __future__ import annotations

import http.server
import json
import os
import signal
import threading
import time
from types import SimpleNamespace

import psycopg
import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from candlevault.orchestration import (
    announcing,
    assets,
    backtest_dag,
    backtest_tasks,
    cancelling,
    strategies_dag,
    strategies_tasks,
)
from candlevault.storage import backtests

CROSS = {"name": "sma_cross", "params": {"fast": 5, "slow": 20}}


@pytest.fixture
def act(worker, monkeypatch):
    dag = strategies_dag.build_strategies("Strategies of these tests.")

    def work(**conf):
        params = worker.params(dag, **conf)
        context = {
            "params": params,
            "dag_run": SimpleNamespace(conf=conf, triggering_user_name="ada"),
        }
        monkeypatch.setattr(strategies_tasks, "get_current_context", lambda: context)
        return strategies_tasks.act()

    return work


def test_strategies_are_saved_listed_and_retired(act, worker):
    (one,) = act(action="save", name="mine", strategy=CROSS, note="first")
    assert (one["version"], one["saved_by"], one["note"]) == (1, "ada", "first")
    (two,) = act(action="save", name="mine", strategy=CROSS | {"params": {"fast": 6}})
    assert (two["strategy_id"], two["version"]) == (one["strategy_id"], 2)
    assert [each["version"] for each in act()] == [2]
    assert [each["version"] for each in act(id=one["strategy_id"])] == [1, 2]
    assert worker.told("'mine' version 2")
    (gone,) = act(action="retire", id=one["strategy_id"])
    assert gone["retired_at"] is not None
    assert act() == []
    json.dumps([one, two, gone])


@pytest.mark.parametrize(
    ("conf", "words"),
    [
        ({"action": "save", "strategy": CROSS}, "name: is required"),
        ({"action": "save", "name": "x"}, "strategy: is required"),
        ({"action": "save", "name": "x", "strategy": {"name": "nope"}}, "strategy.name"),
        ({"action": "retire"}, "id: is required"),
        ({"action": "retire", "id": 99}, "no such saved strategy"),
        ({"action": "list", "nmae": "x"}, "nmae: unknown key"),
    ],
)
def test_what_cannot_be_done_fails_without_a_retry(act, conf, words):
    with pytest.raises(AirflowFailException, match=words):
        act(**conf)


@pytest.fixture
def record(worker):
    """An open record of the run these tests are in; gives its id."""
    return backtests.open_record(worker.connect, worker.run_id, {}).backtest_id


def cancellable(worker, state="running", **more):
    return cancelling.cancellable(
        worker.connect, backtests.RECORDS, worker.run_id, lambda: state, **more
    )


def held(worker) -> tuple[str, str | None]:
    one = backtests.get(worker.connect, worker.run_id)
    return one.status, one.message


def test_work_that_nobody_cancels_is_left_alone(worker, record):
    before = signal.getsignal(signal.SIGTERM)
    threads = threading.active_count()
    with cancellable(worker):
        time.sleep(1.5)
    assert held(worker) == ("pending", None)
    assert signal.getsignal(signal.SIGTERM) is before
    assert threading.active_count() == threads


def test_an_error_of_the_work_goes_through(worker, record):
    with pytest.raises(ZeroDivisionError), cancellable(worker):
        _ = 1 / 0
    assert held(worker) == ("pending", None)


def test_a_request_stops_work_that_would_go_on_for_long(worker, record):
    started = time.monotonic()
    with pytest.raises(AirflowFailException, match="on request"), cancellable(worker):
        backtests.request_cancel(worker.connect, record)
        # What catches every error must not catch this.
        while time.monotonic() < started + 60:
            try:
                time.sleep(30)
            except Exception:
                continue
    assert time.monotonic() < started + 30
    assert held(worker) == ("cancelled", "cancelled: on request")


def test_a_request_made_before_the_task_began_stops_it_at_once(worker, record):
    backtests.request_cancel(worker.connect, record)
    begun = []
    with pytest.raises(AirflowFailException), cancellable(worker):
        begun.append(True)
    assert begun == []
    assert held(worker)[0] == "cancelled"


def test_a_task_that_airflow_takes_away_is_cancelled_only_with_its_run(worker, record):
    with pytest.raises(AirflowException, match="tried again"), cancellable(worker):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)
    assert held(worker) == ("pending", None)
    with pytest.raises(AirflowFailException), cancellable(worker, state="failed"):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)
    assert held(worker) == ("cancelled", "cancelled: its DAG run was ended from Airflow")


def test_a_cancelled_task_that_is_slow_to_unwind_has_ended_its_record_before(worker, record):
    seen = []
    with pytest.raises(AirflowFailException), cancellable(worker, state="failed"):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
        finally:
            # Such as a pool of threads that finish what they are at.
            time.sleep(3)
            seen.append(held(worker)[0])
    assert seen == ["cancelled"]


def completed(worker) -> None:
    """Complete the record, as the task does before it knows."""
    with worker.connect() as connection:
        connection.execute(
            "UPDATE market.backtests SET status = 'completed', result_hash = 'a',"
            " data_fingerprint = 'f', finished_at = clock_timestamp()"
        )


def test_a_cancel_that_comes_after_completion_changes_nothing(worker, record):
    with cancellable(worker, state="failed", completes=True):
        completed(worker)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)
    assert held(worker) == ("completed", None)
    assert worker.told("had completed before")


def test_a_step_that_completes_nothing_is_not_taken_for_done(worker, record):
    with pytest.raises(AirflowFailException), cancellable(worker, state="failed"):
        completed(worker)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)


def test_a_request_that_came_too_late_does_not_stop_a_cleared_task(worker, record):
    backtests.request_cancel(worker.connect, record)
    completed(worker)
    begun = []
    with cancellable(worker):
        begun.append(True)
    assert begun == [True]


def test_a_database_that_is_away_leaves_the_signals_as_they_were(worker):
    before = [signal.getsignal(one) for one in (signal.SIGUSR1, signal.SIGTERM)]

    def away():
        raise psycopg.OperationalError("connection refused")

    watched = cancelling.cancellable(away, backtests.RECORDS, "run-1", lambda: "running")
    with pytest.raises(psycopg.OperationalError), watched:
        pass
    assert [signal.getsignal(one) for one in (signal.SIGUSR1, signal.SIGTERM)] == before


def test_asking_for_a_cancel_by_the_dag(worker, record, monkeypatch):
    dag = backtest_dag.build_cancel("Cancels in these tests.")
    context = {"params": {"backtest_id": record}}
    monkeypatch.setattr(backtest_tasks, "get_current_context", lambda: context)
    assert backtest_tasks.cancel() == {"backtest_id": record, "status": "pending"}
    assert list(dag.params) == ["backtest_id"]
    context["params"] = {"backtest_id": record + 1}
    with pytest.raises(AirflowFailException, match="no such backtest"):
        backtest_tasks.cancel()


class Listener(http.server.BaseHTTPRequestHandler):
    """Takes what is posted; answers with the statuses it is given, then 200."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.heard.append(json.loads(body))
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "http://127.0.0.1:9/")
        self.end_headers()

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def webhook(monkeypatch):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listener)
    server.heard, server.statuses = [], []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/hook?key=secret-word"
    monkeypatch.setenv("CANDLEVAULT_WEBHOOK_URL", url)
    yield server
    server.shutdown()


def test_an_end_is_posted_to_the_webhook(worker, webhook):
    announcing.failed("backtest", "run-1", 7, "symbol: unknown")
    assert webhook.heard == [
        {"event": "backtest.failed", "dag_run_id": "run-1", "backtest_id": 7,
         "message": "symbol: unknown"}]


def test_a_webhook_that_refuses_is_tried_again_and_never_fails_the_run(worker, webhook):
    webhook.statuses = [500, 302]
    announcing.failed("sweep", "run-1", None, "x")
    assert len(webhook.heard) == 3
    webhook.statuses = [500] * 9
    announcing.failed("sweep", "run-1", None, "x")
    assert len(webhook.heard) == 6
    assert len(worker.told("did not take")) == 5
    assert not worker.told("secret-word")


def test_a_webhook_that_is_away_does_not_leak_its_address(worker, monkeypatch):
    monkeypatch.setenv("CANDLEVAULT_WEBHOOK_URL", "http://127.0.0.1:9/hook?key=secret-word")
    announcing.failed("sweep", "run-1", None, "x")
    assert len(worker.told("ConnectionError")) == 3
    assert not worker.told("secret-word")


def test_completion_is_on_the_asset_for_who_follows_it(worker, webhook, monkeypatch):
    events = {assets.BACKTESTS: SimpleNamespace(extra=None)}
    monkeypatch.setattr(announcing, "get_current_context", lambda: {"outlet_events": events})
    figures = {"backtest_id": 3, "final_equity": 1.5}
    announcing.completed("backtest", assets.BACKTESTS, "run-1", figures)
    word = {"event": "backtest.completed", "dag_run_id": "run-1", "backtest_id": 3,
            "final_equity": 1.5}
    assert events[assets.BACKTESTS].extra == word
    assert webhook.heard == [word]
