"""How runs end their records: by the task's last try, by word of a failed run, by reconciling."""

from __future__ import annotations

from types import SimpleNamespace

import psycopg
import pytest
from airflow.sdk.api.datamodels._generated import DagRunState
from airflow.sdk.exceptions import AirflowTaskTimeout

from candlevault.backtest import ending
from candlevault.errors import DataMissing, StorageError, Unavailable
from candlevault.orchestration import announcing, run_ends, runtime
from candlevault.orchestration.run_ends import RunEnds
from candlevault.storage import backtests, sweeps


class Records:
    """The records of one kind, and what ends them; `heard` is what was announced."""

    def __init__(self, what, store, worker, monkeypatch) -> None:
        self.what, self.store, self.worker = what, store, worker
        self.ends = RunEnds(what, store.RECORDS)
        self.heard: list[tuple] = []
        self.states: dict[str, object] = {}
        self.tasks: dict[str, dict[str, str]] = {}
        self.task = SimpleNamespace(
            try_number=1,
            max_tries=2,
            get_dr_count=lambda dag_id, run_ids: int(run_ids[0] in self.states),
            get_dagrun_state=lambda dag_id, run_id: self.states[run_id],
            get_task_states=lambda dag_id, run_ids: {
                run: self.tasks[run] for run in run_ids if run in self.tasks
            },
        )
        for module in (run_ends, runtime):
            monkeypatch.setattr(module, "get_current_context", lambda: {"ti": self.task})
        monkeypatch.setattr(announcing, "failed", lambda *word: self.heard.append(word))
        monkeypatch.setattr(run_ends, "_GRACE_S", 0.0)

    def open(self, *runs: str) -> None:
        for run in runs:
            self.store.open_record(self.worker.connect, run, {})

    def of(self, run: str = "run-1") -> tuple:
        return self.worker.rows(
            f"SELECT status, message, failed_step, advice FROM market.{self.what}s"
            f" WHERE dag_run_id = '{run}'"
        )[0]

    def raises(self, error: BaseException, *, step="gather", inside=True) -> None:
        connect = self.worker.connect
        with pytest.raises(type(error)), self.ends.told(connect, "run-1", step):
            if inside:
                with ending.telling(self.store.RECORDS, connect, "run-1", step):
                    raise error
            raise error


@pytest.fixture(params=["backtest", "sweep"])
def records(request, worker, monkeypatch) -> Records:
    store = {"backtest": backtests, "sweep": sweeps}[request.param]
    return Records(request.param, store, worker, monkeypatch)


def test_an_error_nobody_foresaw_ends_the_record_only_with_the_last_try(records):
    records.open("run-1")
    records.raises(KeyError("gone"))
    assert records.of() == ("pending", "KeyError: 'gone'", None, None)
    assert records.heard == []
    records.task.try_number = 3
    records.raises(KeyError("gone"))
    status, message, step, advice = records.of()
    assert (status, message, step) == ("failed", "KeyError: 'gone'", "gather")
    assert "fault of the program" in advice
    assert [word[0] for word in records.heard] == [records.what]
    assert records.heard[0][3] == message


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "too little memory"),
        (psycopg.OperationalError("the connection is lost"), "market database runs"),
        (psycopg.errors.DiskFull("no room"), "market database refused"),
        (OSError(28, "No space left on device"), "disk"),
        (Unavailable("HTTP 503"), "No try got through"),
        (AirflowTaskTimeout("Timeout, PID: 7"), "time limit"),
    ],
)
def test_the_last_try_says_what_where_and_what_to_do(records, error, words):
    records.open("run-1")
    records.task.try_number = 3
    records.raises(error)
    status, message, step, advice = records.of()
    assert (status, step) == ("failed", "gather")
    assert message == ending.words_of(error)
    assert type(error).__name__ in message
    assert words in advice
    assert len(records.heard) == 1


def test_a_task_that_is_never_tried_again_has_only_a_last_try(records):
    records.open("run-1")
    records.task.max_tries = 0
    records.raises(ZeroDivisionError("division by zero"))
    assert records.of()[0] == "failed"


def test_what_no_retry_mends_ends_the_record_wherever_it_is_raised(records):
    records.open("run-1")
    records.raises(StorageError("there is no accepted one"), inside=False)
    status, message, step, advice = records.of()
    assert (status, step) == ("failed", "gather")
    assert message == "StorageError: there is no accepted one"
    assert advice and len(records.heard) == 1


def test_a_record_that_had_ended_is_not_announced_again(records):
    records.open("run-1")
    records.raises(DataMissing("no candles"))
    records.raises(StorageError("something else"))
    assert records.of()[1] == "DataMissing: no candles"
    assert len(records.heard) == 1


def test_a_database_that_is_away_does_not_hide_the_error(records, monkeypatch):
    records.open("run-1")
    records.task.try_number = 3

    def away():
        raise psycopg.OperationalError("connection refused")

    with pytest.raises(KeyError), records.ends.told(away, "run-1", "gather"):
        raise KeyError("gone")
    assert records.heard == [(records.what, "run-1", None, "KeyError: 'gone'")]


def test_a_killed_worker_leaves_the_step_it_was_in(records, market_db, monkeypatch):
    monkeypatch.setenv("CANDLEVAULT_DB_URL", market_db)
    records.open("run-1")
    records.store.RECORDS.begin_step(records.worker.connect, "run-1", "gather")
    records.ends.end_failed_run("run-1")
    status, message, step, advice = records.of()
    assert (status, step) == ("failed", "gather")
    assert message.startswith(f"the DAG run failed before the {records.what} was finished")
    assert "memory of its worker" in advice
    records.ends.end_failed_run("run-1")
    assert [word[3] for word in records.heard] == [message]


def test_reconciling_ends_what_airflow_has_ended_or_forgotten(records):
    runs = ("alive", "by hand", "killed", "odd", "gone", "over")
    records.open(*runs)
    connect = records.worker.connect
    records.store.RECORDS.begin_step(connect, "killed", "gather")
    records.store.cancel(connect, "over", "cancelled: on request")
    records.states = {
        "alive": DagRunState.RUNNING,
        "by hand": DagRunState.FAILED,
        "killed": DagRunState.FAILED,
        "odd": DagRunState.SUCCESS,
        "over": DagRunState.FAILED,
    }
    records.tasks = {
        "by hand": {"accept": "success", "gather": "skipped"},
        "killed": {"accept": "success", "gather": "failed"},
    }
    assert records.ends.reconcile() == ["by hand", "killed", "odd", "gone"]
    assert records.ends.reconcile() == []
    assert records.of("alive")[:2] == ("pending", None)
    assert records.of("by hand")[:2] == (
        "cancelled", "cancelled: its DAG run was ended from Airflow")  # fmt: skip
    assert records.of("killed")[0::2] == ("failed", "gather")
    unfinished = f"before the {records.what} was finished"
    assert records.of("odd")[:2] == ("failed", f"the DAG run ended as success {unfinished}")
    assert records.of("gone")[:2] == ("failed", f"the DAG run is gone {unfinished}")
    assert all(records.of(run)[3] for run in ("killed", "odd", "gone"))
    assert [word[1] for word in records.heard] == ["killed", "odd", "gone"]


@pytest.mark.parametrize("meanwhile", ["ends its record", "is cleared"])
def test_reconciling_lets_a_task_that_is_being_taken_down_speak_first(
    records, monkeypatch, meanwhile
):
    records.open("run-1")
    records.states = {"run-1": DagRunState.FAILED}
    records.tasks = {"run-1": {"gather": "failed"}}

    def other(_seconds: float) -> None:
        if meanwhile == "is cleared":
            records.states = {"run-1": DagRunState.RUNNING}
        else:
            records.store.cancel(records.worker.connect, "run-1", "cancelled: by the task")

    monkeypatch.setattr(run_ends, "time", SimpleNamespace(sleep=other))
    assert records.ends.reconcile() == []
    assert records.of()[0] == ("pending" if meanwhile == "is cleared" else "cancelled")
    assert records.heard == []
