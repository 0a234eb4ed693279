"""Sweeps in the store: batches that replace themselves, an end that is whole or not at all."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import psycopg
import pytest

from candlevault.errors import InvalidRequest, StorageError
from candlevault.storage import sweep_results, sweeps
from candlevault.storage.backtests import EquityCurve, Read
from candlevault.storage.database import connector
from candlevault.storage.run_records import Failure
from candlevault.storage.sweep_results import (
    BatchRange,
    Conclusion,
    FoldRow,
    Plan,
    PointResult,
)
from candlevault.storage.sweeps import Description
from candlevault.windows import Window

AS_OF = datetime(2024, 5, 1, tzinfo=UTC)
HOUR = 3_600_000
BATCHES = (BatchRange(1, 1, 3, 6), BatchRange(2, 4, 5, 4))


@pytest.fixture
def connect(database):
    """Connections to the module's database, without any sweep."""
    connect = connector(database)
    with connect() as connection:
        connection.execute("DELETE FROM market.sweeps")
    return connect


def plan(batches=BATCHES, fingerprint="f" * 64) -> Plan:
    reads = [Read(1, Window(0, HOUR), 7)]
    return Plan(AS_OF, fingerprint, reads, {"engine": "2"}, batches)


def begun(connect, run_id: str = "run") -> str:
    sweeps.open_record(connect, run_id, {"search": {}})
    what = Description({"rank_by": "sharpe"}, "h" * 64, "sma_cross", "sharpe",
                       Window(0, 10 * HOUR), 5, 2, 1)  # fmt: skip
    sweeps.describe(connect, run_id, what)
    sweep_results.begin(connect, run_id, plan())
    return run_id


def point(number: int, sharpe: float | None = None, *, scores=None) -> PointResult:
    metrics = {
        "final_equity": 1e22,
        "total_return_pct": 0.1 + 0.2,
        "max_drawdown_pct": 5.0,
        "sharpe": sharpe,
        "trade_count": 3,
    }
    return PointResult(number, {"fast": number, "risk.stop_loss_pct": None}, metrics, scores)


def store(connect, run_id: str, number: int, **more) -> None:
    batch = BATCHES[number - 1]
    points = [point(n, float(n), **more) for n in range(batch.first, batch.last + 1)]
    sweep_results.store_points(connect, run_id, number, points)


def conclusion(**more) -> Conclusion:
    fold = FoldRow(1, Window(0, HOUR), Window(HOUR, 2 * HOUR), 5, {"fast": 5}, {"a": 1}, {"a": 2})
    rest = FoldRow(
        2, Window(HOUR, 2 * HOUR), Window(2 * HOUR, 3 * HOUR), None, None, None, {"a": 3}
    )
    given = {
        "ranks": (5, 4, 3, 2, 1),
        "best_point": 5,
        "ranking": {"metric": "sharpe"},
        "deflated_sharpe": {"deflated": 0.5},
        "walk_forward": {"folds": 2},
        "folds": [fold, rest],
        "curve": EquityCurve(HOUR, "1h", [100.0, 90.0], [0.0, 10.0]),
        "result_hash": "r" * 64,
    } | more
    return Conclusion(**given)


def rows(connect, statement: str) -> list[tuple]:
    with connect() as connection:
        return connection.execute(statement).fetchall()


def status(connect, run_id: str = "run") -> tuple:
    return rows(
        connect, f"SELECT status, message FROM market.sweeps WHERE dag_run_id = '{run_id}'"
    )[0]


class TestPoints:
    def test_what_is_stored_comes_back_to_the_bit(self, connect):
        begun(connect)
        store(connect, "run", 1, scores=[0.1, None, -0.0])
        found = list(sweep_results.points(connect, "run"))
        assert found == [point(n, float(n), scores=[0.1, None, -0.0]) for n in (1, 2, 3)]
        assert found[0].metrics["total_return_pct"] == 0.1 + 0.2
        assert sweep_results.point(connect, "run", 2) == found[1]
        with pytest.raises(StorageError, match="point 4 is not stored"):
            sweep_results.point(connect, "run", 4)

    def test_figures_to_sort_by_are_columns(self, connect):
        begun(connect)
        store(connect, "run", 1)
        assert rows(
            connect,
            "SELECT point_no, sharpe, final_equity, trade_count, rank FROM market.sweep_points"
            " ORDER BY point_no LIMIT 1",
        ) == [(1, 1.0, 1e22, 3, None)]

    def test_a_batch_that_runs_again_replaces_its_own_points_only(self, connect):
        begun(connect)
        store(connect, "run", 1)
        store(connect, "run", 2)
        again = [point(n, 9.0) for n in (4, 5)]
        sweep_results.start_batch(connect, "run", 2)
        sweep_results.store_points(connect, "run", 2, again)
        found = list(sweep_results.points(connect, "run"))
        assert [one.metrics["sharpe"] for one in found] == [1.0, 2.0, 3.0, 9.0, 9.0]

    def test_points_of_another_batch_or_too_few_are_refused(self, connect):
        begun(connect)
        for numbers in ([1, 2], [4, 5], [1, 2, 4], [3, 2, 1]):
            with pytest.raises(StorageError, match="must hold the points 1 to 3"):
                sweep_results.store_points(connect, "run", 1, [point(n) for n in numbers])
        assert list(sweep_results.points(connect, "run")) == []

    def test_half_a_batch_is_never_seen(self, connect):
        begun(connect)
        store(connect, "run", 2)
        broken = [point(4, 7.0), PointResult(5, {}, {"final_equity": float("nan")})]
        with pytest.raises(ValueError, match="Out of range"):
            sweep_results.store_points(connect, "run", 2, broken)
        found = list(sweep_results.points(connect, "run"))
        assert [one.metrics["sharpe"] for one in found] == [4.0, 5.0]

    def test_two_workers_with_the_same_batch_leave_it_once(self, connect):
        begun(connect)
        started = threading.Barrier(2)

        def work():
            started.wait()
            store(connect, "run", 1)

        workers = [threading.Thread(target=work) for _ in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert len(list(sweep_results.points(connect, "run"))) == 3

    def test_a_batch_that_was_not_planned_is_refused(self, connect):
        begun(connect)
        with pytest.raises(StorageError, match="batch 3 is not planned"):
            sweep_results.start_batch(connect, "run", 3)
        with pytest.raises(StorageError, match="batch 3 is not planned"):
            sweep_results.store_points(connect, "run", 3, [])

    def test_a_cancelled_sweep_takes_no_points(self, connect):
        begun(connect)
        sweeps.cancel(connect, "run", "cancelled: on request")
        with pytest.raises(StorageError, match="is cancelled"):
            store(connect, "run", 1)
        assert list(sweep_results.points(connect, "run")) == []


class TestPlan:
    def test_a_new_plan_removes_what_the_old_one_stored(self, connect):
        begun(connect)
        store(connect, "run", 1)
        sweep_results.begin(connect, "run", plan((BatchRange(1, 1, 5, 10),), "e" * 64))
        assert list(sweep_results.points(connect, "run")) == []
        assert sweep_results.progress(connect, "run") == (0, 10)
        record = sweeps.get(connect, "run")
        assert (record.data_fingerprint, record.data_as_of) == ("e" * 64, AS_OF)
        assert rows(connect, "SELECT reads FROM market.sweeps") == [
            (
                [
                    {
                        "series_id": 1,
                        "start": "1970-01-01T00:00:00+00:00",
                        "end": "1970-01-01T01:00:00+00:00",
                        "revision": 7,
                    }
                ],
            )
        ]

    def test_other_sweeps_are_left_alone(self, connect):
        begun(connect, "one")
        begun(connect, "two")
        store(connect, "one", 1)
        store(connect, "two", 1)
        sweep_results.begin(connect, "one", plan())
        assert len(list(sweep_results.points(connect, "two"))) == 3

    def test_without_a_record_nothing_is_planned(self, connect):
        with pytest.raises(StorageError, match="no sweep of nobody"):
            sweep_results.begin(connect, "nobody", plan())


class TestProgress:
    def test_progress_is_the_sum_of_all_batches(self, connect):
        begun(connect)
        assert sweep_results.progress(connect, "run") == (0, 10)
        sweep_results.tell_progress(connect, "run", 1, 2)
        sweep_results.tell_progress(connect, "run", 2, 3)
        assert sweep_results.progress(connect, "run") == (5, 10)
        store(connect, "run", 1)
        assert sweep_results.progress(connect, "run") == (9, 10)

    def test_a_batch_that_begins_again_starts_from_nothing(self, connect):
        begun(connect)
        store(connect, "run", 1)
        store(connect, "run", 2)
        assert sweep_results.start_batch(connect, "run", 1) == BATCHES[0]
        assert sweep_results.progress(connect, "run") == (4, 10)
        # Its old points are still there, but they are about to be replaced.
        with pytest.raises(StorageError, match=r"5 of 5 points are stored; unfinished batches: 1$"):
            sweep_results.refuse_incomplete(connect, "run")

    def test_a_late_word_of_a_lost_worker_opens_no_finished_batch(self, connect):
        begun(connect)
        store(connect, "run", 1)
        store(connect, "run", 2)
        sweep_results.tell_progress(connect, "run", 1, 1)
        assert sweep_results.progress(connect, "run") == (10, 10)
        sweep_results.refuse_incomplete(connect, "run")

    def test_a_run_without_a_plan_has_none(self, connect):
        assert sweep_results.progress(connect, "nobody") == (0, 0)


class TestEnd:
    def test_ranks_folds_and_status_appear_together(self, connect):
        begun(connect)
        store(connect, "run", 1)
        store(connect, "run", 2)
        assert sweeps.summary(connect, "run") is None
        sweep_results.complete(connect, "run", conclusion())
        assert status(connect) == ("completed", None)
        assert rows(connect, "SELECT rank FROM market.sweep_points ORDER BY point_no") == [
            (5,), (4,), (3,), (2,), (1,),
        ]  # fmt: skip
        assert rows(
            connect, "SELECT fold_no, point_no, params, in_sample FROM market.walk_forward_folds"
            " ORDER BY fold_no",
        ) == [(1, 5, {"fast": 5}, {"a": 1}), (2, None, None, None)]  # fmt: skip
        assert rows(connect, "SELECT equity, drawdown_pct FROM market.walk_forward_curves") == [
            ([100.0, 90.0], [0.0, 10.0])
        ]
        summary = sweeps.summary(connect, "run")
        assert (summary["points"], summary["best_point"]) == (5, 5)
        assert summary["best_params"] == {"fast": 5, "risk.stop_loss_pct": None}
        assert summary["result_hash"] == "r" * 64

    def test_a_missing_batch_keeps_it_open(self, connect):
        begun(connect)
        store(connect, "run", 1)
        with pytest.raises(StorageError, match=r"3 of 5 points are stored; unfinished batches: 2"):
            sweep_results.complete(connect, "run", conclusion())
        assert status(connect)[0] == "running"
        assert rows(connect, "SELECT * FROM market.walk_forward_folds") == []

    def test_a_missing_point_keeps_it_open(self, connect):
        begun(connect)
        store(connect, "run", 1)
        store(connect, "run", 2)
        with connect() as connection:
            connection.execute("DELETE FROM market.sweep_points WHERE point_no = 2")
        with pytest.raises(StorageError, match="4 of 5 points"):
            sweep_results.complete(connect, "run", conclusion())

    def test_too_few_ranks_store_nothing(self, connect):
        begun(connect)
        store(connect, "run", 1)
        store(connect, "run", 2)
        with pytest.raises(StorageError, match="6 ranks for 5 points"):
            sweep_results.complete(connect, "run", conclusion(ranks=(6, 5, 4, 3, 2, 1)))
        assert rows(connect, "SELECT count(rank) FROM market.sweep_points") == [(0,)]

    def test_a_completed_sweep_never_changes_again(self, connect):
        begun(connect)
        store(connect, "run", 1)
        store(connect, "run", 2)
        first = sweep_results.complete(connect, "run", conclusion())
        before = sweeps.summary(connect, "run")
        assert sweep_results.complete(connect, "run", conclusion(best_point=1)) == first
        sweep_results.begin(connect, "run", plan())
        sweeps.open_record(connect, "run", {"other": 1})
        sweeps.advance(connect, "run", "running")
        assert not sweeps.fail(connect, "run", Failure("late"))
        assert not sweeps.cancel(connect, "run", "late")
        with pytest.raises(StorageError, match="is completed"):
            store(connect, "run", 1)
        with pytest.raises(StorageError, match="is not planned"):
            sweep_results.start_batch(connect, "run", 1)
        assert sweeps.summary(connect, "run") == before

    @pytest.mark.parametrize("ended", ["failed", "cancelled"])
    def test_a_sweep_that_was_ended_meanwhile_is_not_concluded(self, connect, ended):
        begun(connect)
        store(connect, "run", 1)
        store(connect, "run", 2)
        if ended == "failed":
            sweeps.fail(connect, "run", Failure("no"))
        else:
            sweeps.cancel(connect, "run", "no")
        with pytest.raises(StorageError, match=f"is {ended}; nothing is concluded"):
            sweep_results.complete(connect, "run", conclusion())

    def test_the_database_itself_wants_a_whole_end(self, connect):
        begun(connect)
        for change in (
            "status = 'completed', finished_at = now()",
            "status = 'failed', finished_at = now()",
            "status = 'failed', message = 'x'",
            "status = 'sleeping'",
        ):
            with pytest.raises(psycopg.errors.CheckViolation), connect() as connection:
                connection.execute(f"UPDATE market.sweeps SET {change}")


class TestFailureAndCancellation:
    def test_the_first_reason_stays(self, connect):
        begun(connect)
        sweeps.note(connect, "run", "the database restarts")
        assert sweeps.fail(connect, "run", Failure("first", "run_batch", None, "do this"), batch=2)
        assert not sweeps.fail(connect, "run", Failure("second"), batch=1)
        assert status(connect) == ("failed", "first; last: the database restarts")
        assert rows(connect, "SELECT failed_batch, advice FROM market.sweeps") == [(2, "do this")]

    def test_only_the_batch_that_failed_opens_the_record_again(self, connect):
        begun(connect)
        sweeps.fail(connect, "run", Failure("broken", "run_batch"), batch=2)
        sweeps.reopen(connect, "run", 1)
        assert status(connect) == ("failed", "broken")
        store(connect, "run", 1)  # its points are as good as ever
        sweeps.reopen(connect, "run", 2)
        assert status(connect) == ("running", None)
        store(connect, "run", 2)
        sweep_results.complete(connect, "run", conclusion())

    def test_any_batch_opens_a_record_that_no_batch_ended(self, connect):
        begun(connect)
        sweeps.fail(connect, "run", Failure("the worker was killed"))
        sweeps.reopen(connect, "run", 1)
        assert status(connect)[0] == "running"

    def test_a_cancelled_record_is_opened_by_its_first_task_only(self, connect):
        begun(connect)
        sweeps.cancel(connect, "run", "cancelled")
        sweeps.reopen(connect, "run", 1)
        assert status(connect)[0] == "cancelled"
        sweeps.open_record(connect, "run", {})
        assert status(connect) == ("pending", None)

    def test_a_cancellation_is_asked_for_by_id(self, connect):
        begun(connect)
        sweep_id = sweeps.get(connect, "run").sweep_id
        with connect() as connection:
            assert not sweeps.cancel_requested(connection, "run")
            assert not sweeps.cancel_requested(connection, "nobody")
        assert sweeps.request_cancel(connect, sweep_id) == "running"
        with connect() as connection:
            assert sweeps.cancel_requested(connection, "run")
        assert sweeps.cancel(connect, "run", "cancelled: on request")
        with pytest.raises(InvalidRequest, match="has ended already: cancelled"):
            sweeps.request_cancel(connect, sweep_id)
        with pytest.raises(InvalidRequest, match="no such sweep"):
            sweeps.request_cancel(connect, 999)
