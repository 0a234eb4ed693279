"""Saved strategies, sweeps, verifying and strategies of the user's, through Airflow's processes."""

from __future__ import annotations

import re

import pytest

WINDOW = {
    "symbol": "BTCUSDT",
    "timeframe": "1h",
    "start_time": "2025-07-01T00:00:00Z",
    "end_time": "2025-09-01T00:00:00Z",
}
GRID = {
    "backtest": WINDOW | {"strategy": {"name": "sma_cross"}},
    "search": {"params": {"fast": [5, 10, 20], "slow": [30, 60]}},
    "walk_forward": {"in_sample_days": 30, "out_of_sample_days": 10},
}
ENDLESS = '''"""Never ends."""

from candlevault.backtest.strategies.contract import Strategy


def signals(bars, params):
    while True:
        pass


STRATEGY = Strategy(
    name="endless",
    version="1",
    title="Endless",
    description="Never ends.",
    parameters=(),
    signals=signals,
    lines=lambda bars, params: {},
)
'''


@pytest.fixture(scope="module")
def saved(rows, run_dag) -> tuple[int, str]:
    """The id of a saved strategy, and the run of a backtest of it."""
    conf = {"action": "save", "name": "cross", "strategy": {"name": "sma_cross",
                                                            "params": {"fast": 10, "slow": 30}}}
    assert run_dag("strategies", conf)["state"] == "success"
    ((number,),) = rows("SELECT strategy_id FROM market.strategies WHERE name = 'cross'")
    run = run_dag("backtest", WINDOW | {"strategy": {"id": number}})
    assert run["state"] == "success"
    return number, run["dag_run_id"]


def test_a_saved_strategy_runs_by_its_id_and_the_result_names_its_version(saved, rows):
    number, run_id = saved
    ((payload, versions),) = rows(
        "SELECT payload, versions FROM market.backtests WHERE dag_run_id = %s", run_id
    )
    assert payload["strategy"] == {
        "name": "sma_cross",
        "params": {"fast": 10, "slow": 30},
        "id": number,
        "version": 1,
    }
    assert versions["strategy"].startswith("sma_cross ")
    assert len(versions["code_sha256"]) == 64


def test_what_is_stored_comes_out_again_to_the_byte(saved, run_dag, rows):
    ((number,),) = rows("SELECT backtest_id FROM market.backtests WHERE dag_run_id = %s", saved[1])
    assert run_dag("verify_backtests", {"backtest_id": number})["state"] == "success"


def test_a_sweep_ranks_its_points_and_each_is_the_single_backtest(saved, run_dag, rows):
    run = run_dag("sweep", GRID)
    assert run["state"] == "success"
    ((number, status, best),) = rows(
        "SELECT sweep_id, status, best_point FROM market.sweeps WHERE dag_run_id = %s",
        run["dag_run_id"],
    )
    assert status == "completed"
    points = rows(
        "SELECT point_no, params, rank, final_equity FROM market.sweep_points"
        " WHERE sweep_id = %s ORDER BY rank",
        number,
    )
    assert [point[2] for point in points] == [1, 2, 3, 4, 5, 6]
    assert points[0][0] == best
    ((alone,),) = rows(
        "SELECT final_equity FROM market.performance_summaries WHERE dag_run_id = %s", saved[1]
    )
    assert [point[3] for point in points if point[1] == {"fast": 10, "slow": 30}] == [alone]
    assert rows("SELECT count(*) FROM market.walk_forward_folds WHERE sweep_id = %s", number) == [
        (4,)
    ]


def test_a_strategy_that_never_ends_fails_with_its_line_and_harms_nobody(vault, run_dag, rows):
    file = vault.home.path / "strategies" / "endless.py"
    file.parent.mkdir(exist_ok=True)
    file.write_text(ENDLESS)
    try:
        run = run_dag("backtest", WINDOW | {"strategy": {"name": "endless"}})
    finally:
        file.unlink()
    assert run["state"] == "failed"
    ((status, message, trades),) = rows(
        "SELECT status, message, (SELECT count(*) FROM market.trades t WHERE t.backtest_id ="
        " b.backtest_id) FROM market.backtests b WHERE dag_run_id = %s",
        run["dag_run_id"],
    )
    assert (status, trades) == ("failed", 0)
    assert "endless" in message and "did not end within 5 s" in message
    assert re.search(r"\(endless\.py line [78]\)", message)
    # The scheduler goes on.
    after = run_dag("backtest", WINDOW | {"strategy": {"name": "sma_cross"}})
    assert after["state"] == "success"
