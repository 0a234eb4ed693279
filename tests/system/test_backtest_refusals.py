"""What a backtest refuses: by the schema at once, everything else in its first task."""

from __future__ import annotations

import pytest

from candlevault.local.airflow_api import AirflowRefused

GOOD = {
    "symbol": "BTCUSDT",
    "timeframe": "1d",
    "start_time": "2025-01-01T00:00:00Z",
    "end_time": "2025-02-01T00:00:00Z",
    "strategy": {"name": "sma_cross", "params": {"fast": 2, "slow": 3}},
}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"timeframe": "7m"}, "timeframe"),
        ({"symbol": "BTC/USDT"}, "symbol"),
        ({"symbol": None}, "symbol"),
        ({"start_time": "2025-01-01"}, "start_time"),
        ({"initial_capital": -1}, "initial_capital"),
        ({"fee_rate": "free"}, "fee_rate"),
        ({"risk": {"stop_loss_pct": 101}}, "risk"),
    ],
)
def test_the_schema_refuses_with_400_and_leaves_no_record(vault, rows, change, field):
    vault.api.wait_for_dag("backtest")
    before = rows("SELECT count(*) FROM market.backtests")
    with pytest.raises(AirflowRefused) as refused:
        vault.api.trigger("backtest", GOOD | change)
    assert refused.value.status == 400
    assert field in str(refused.value)
    assert rows("SELECT count(*) FROM market.backtests") == before


@pytest.mark.parametrize("field", ["symbol", "timeframe", "start_time", "end_time", "strategy"])
def test_a_missing_field_is_refused_with_400(vault, field):
    vault.api.wait_for_dag("backtest")
    with pytest.raises(AirflowRefused) as refused:
        vault.api.trigger("backtest", {key: GOOD[key] for key in GOOD if key != field})
    assert refused.value.status == 400
    assert field in str(refused.value)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"surprise": 1}, "surprise"),
        ({"risk": {"stop_los_pct": 5}}, "risk.stop_los_pct"),
        ({"end_time": "2024-12-01T00:00:00Z"}, "end_time"),
        ({"end_time": "2031-01-01T00:00:00Z"}, "end_time"),
        ({"symbol": "NOPEUSDT"}, "symbol"),
        ({"strategy": {"name": "crystal_ball"}}, "strategy.name"),
        (
            {"strategy": {"name": "sma_cross", "params": {"fast": 9, "slow": 3}}},
            "strategy.params.fast",
        ),
        ({"venue": "krakken"}, "venue"),
    ],
)
def test_the_first_task_fails_and_leaves_a_failed_record(vault, rows, run_dag, change, field):
    run = run_dag("backtest", GOOD | change)
    run_id = run["dag_run_id"]
    assert run["state"] == "failed"
    states = {t["task_id"]: t for t in vault.api.task_instances("backtest", run_id)}
    assert states["accept"]["state"] == "failed"
    assert states["accept"]["try_number"] == 1
    assert {states[later]["state"] for later in states.keys() - {"accept"}} == {"upstream_failed"}
    record = rows(
        "SELECT status, failed_field, message, backtest_id FROM market.backtests"
        " WHERE dag_run_id = %s",
        run_id,
    )
    assert [row[:2] for row in record] == [("failed", field)]
    assert record[0][2].startswith(field)
    for table in ("trades", "performance_summaries"):
        assert rows(
            f"SELECT count(*) FROM market.{table} WHERE backtest_id = %s", record[0][3]
        ) == [(0,)]
