"""A backtest whose run is killed or cancelled never stays `running`."""

from __future__ import annotations

import time

import pytest
import requests

CONF = {
    "timeframe": "1h",
    "start_time": "2020-01-01T00:00:00Z",
    "end_time": "2025-09-01T00:00:00Z",
    "strategy": {"name": "sma_cross", "params": {"fast": 20, "slow": 50}},
}


@pytest.fixture
def slow_venue(vault):
    """Every file of the archive takes two seconds, so that a run is caught while it fetches."""
    faults = f"{vault.exchange.simulator_url}/_control/faults"
    rule = {"match": r"/archive/.*\.zip", "kind": "latency", "times": None, "args": {"ms": 2000}}
    requests.post(faults, json=[rule], timeout=10).raise_for_status()
    yield
    requests.delete(faults, timeout=10)


def status_of(rows, run_id: str) -> tuple[str, str]:
    found = rows("SELECT status, message FROM market.backtests WHERE dag_run_id = %s", run_id)
    return found[0] if found else ("missing", "")


def until(condition, seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.3)


def fetching(vault, rows, symbol: str) -> str:
    """The run of a backtest that has begun to fetch its candles."""
    vault.api.wait_for_dag("backtest")
    vault.api.set_paused("backtest", False)
    run_id = vault.api.trigger("backtest", CONF | {"symbol": symbol})
    until(lambda: status_of(rows, run_id)[0] == "fetching_data", 60, "it never began to fetch")
    return run_id


def trades_of(rows, run_id: str) -> int:
    return rows(
        "SELECT count(*) FROM market.trades t JOIN market.backtests b USING (backtest_id)"
        " WHERE b.dag_run_id = %s",
        run_id,
    )[0][0]


def test_a_run_that_is_ended_in_airflow_ends_as_cancelled(vault, rows, slow_venue):
    run_id = fetching(vault, rows, "MANAUSDT")
    vault.api.cancel("backtest", run_id)
    until(lambda: status_of(rows, run_id)[0] == "cancelled", 60, "its task never noticed")
    assert "ended from Airflow" in status_of(rows, run_id)[1]
    assert trades_of(rows, run_id) == 0


def test_a_run_that_is_ended_between_two_tasks_is_cancelled_by_reconciling(vault, rows, run_dag):
    conf = CONF | {"symbol": "RUNEUSDT", "start_time": "2025-08-01T00:00:00Z"}
    run = run_dag("backtest", conf)
    run_id = run["dag_run_id"]
    assert run["state"] == "success", status_of(rows, run_id)
    # As if its last task had not begun yet: no task failed, and nothing is there to notice.
    rows(
        "UPDATE market.backtests SET status = 'running', finished_at = NULL"
        " WHERE dag_run_id = %s RETURNING 1",
        run_id,
    )
    vault.api.cancel("backtest", run_id)
    assert run_dag("reconcile_backtests")["state"] == "success"
    assert status_of(rows, run_id) == (
        "cancelled", "cancelled: its DAG run was ended from Airflow")  # fmt: skip


def test_a_run_that_is_asked_to_stop_stops_and_says_so(vault, rows, run_dag, slow_venue):
    run_id = fetching(vault, rows, "LINKUSDT")
    number = rows("SELECT backtest_id FROM market.backtests WHERE dag_run_id = %s", run_id)[0][0]
    assert run_dag("cancel_backtest", {"backtest_id": number})["state"] == "success"
    until(lambda: status_of(rows, run_id)[0] == "cancelled", 60, "it never stopped")
    assert "on request" in status_of(rows, run_id)[1]
    assert trades_of(rows, run_id) == 0


def test_two_backtests_that_lack_the_same_candles_share_one_fetch(vault, rows, run_dag):
    vault.api.wait_for_dag("backtest")
    vault.api.set_paused("backtest", False)
    conf = CONF | {"symbol": "SANDUSDT"}
    runs = [vault.api.trigger("backtest", conf) for _ in range(2)]
    assert [vault.api.wait("backtest", run, timeout=240)["state"] for run in runs] == [
        "success",
        "success",
    ]
    loads = rows(
        "SELECT l.inserted > 0 FROM market.sync_log l JOIN market.series_names n USING (series_id)"
        " WHERE n.symbol = 'SANDUSDT' AND n.timeframe = '1h'"
    )
    assert loads.count((True,)) == 1
    assert rows(
        "SELECT count(DISTINCT result_hash) FROM market.backtests WHERE dag_run_id = ANY(%s)", runs
    ) == [(1,)]
