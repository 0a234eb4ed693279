"""Tasks over many series: who is loaded when, and which failures are worth a retry."""

from __future__ import annotations

import pytest
from airflow.sdk.exceptions import AirflowFailException

from candlevault.errors import PartlyFailed, RateLimited
from candlevault.ingest import many
from candlevault.ingest.load import LoadReport
from candlevault.orchestration import collective_tasks, runtime
from candlevault.series import parse
from candlevault.windows import Window

WINDOW = Window(1_700_000_000_000, 1_700_100_000_000)


def symbols(stage) -> list[str]:
    return sorted(f"{one.symbol[:-4]} {one.timeframe}" for group in stage for one in group)


def test_daily_series_come_first_then_the_hours_of_the_first_twenty_then_the_rest():
    names = [f"S{i:02}USDT" for i in range(22)]
    series = [parse("binance", "spot", name, tf) for name in names for tf in ("1h", "1d")]
    stages = many.stages(series, 4)
    assert symbols(stages[0]) == [f"S{i:02} 1d" for i in range(22)]
    assert symbols(stages[1]) == [f"S{i:02} 1h" for i in range(20)]
    assert symbols(stages[2]) == ["S20 1h", "S21 1h"]
    assert [len(stage) for stage in stages] == [4, 4, 2]


def test_a_stage_without_a_plan_fails_at_once_and_says_why():
    with pytest.raises(AirflowFailException, match="the task `plan` failed"):
        collective_tasks.groups_of(None, 1)


def test_a_transient_failure_in_a_group_is_left_to_airflow_to_retry():
    with pytest.raises(PartlyFailed), runtime.task_errors():
        raise PartlyFailed("1 of 2 series failed", transient=True)
    with pytest.raises(AirflowFailException), runtime.task_errors():
        raise PartlyFailed("1 of 2 series failed", transient=False)


def test_each_series_of_a_group_is_tried_and_the_failure_says_whether_it_may_pass(
    worker, monkeypatch
):
    def backfill(market, series, window):
        if series.symbol == "BADUSDT":
            raise RateLimited("too many requests", retry_after=60.0)
        loaded.append(series.symbol)
        return LoadReport(series.symbol, series.timeframe.code, "backfill", str(window))

    loaded: list[str] = []
    worker.venues["binance"] = None
    monkeypatch.setattr(collective_tasks.syncs, "backfill", backfill)
    group = {
        "series": [["binance", "spot", name, "1h"] for name in ("BADUSDT", "BTCUSDT")],
        "start": WINDOW.start.isoformat(),
        "end": WINDOW.end.isoformat(),
    }
    with pytest.raises(PartlyFailed, match=r"1 of 2 series failed: .*RateLimited") as failed:
        collective_tasks.load_group(group)
    assert failed.value.transient is True
    assert loaded == ["BTCUSDT"]
