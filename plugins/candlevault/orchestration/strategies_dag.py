"""The DAG that saves, lists and retires strategies."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param, task

from candlevault.orchestration import house


def build_strategies(doc: str) -> DAG:
    """One DAG run is one action."""
    with house.dag(
        "strategies",
        doc,
        tags=["backtest"],
        params={
            "action": Param(
                "list",
                type="string",
                enum=["list", "save", "retire"],
                title="Action",
                description="list: all saved strategies. save: a new one, or a new version of "
                "the one that has the name. retire: take one out of the list.",
            ),
            "name": Param(
                None,
                type=["null", "string"],
                maxLength=100,
                title="Name",
                description="save: what the strategy is called.",
            ),
            "strategy": Param(
                None,
                type=["null", "object"],
                title="Strategy",
                description="save: name and params, as in the payload of a backtest.",
                examples=[{"name": "sma_cross", "params": {"fast": 20, "slow": 50}}],
            ),
            "note": Param(
                "",
                type="string",
                maxLength=1000,
                title="Note",
                description="save: what is worth knowing about this version.",
            ),
            "id": Param(
                None,
                type=["null", "integer"],
                minimum=1,
                title="Id",
                description="retire: which one; list: all versions of this one only.",
            ),
        },
        max_active_runs=4,
        task_args={"retries": 1, "execution_timeout": timedelta(minutes=5)},
    ) as dag:

        @task
        def act() -> list[dict]:
            from candlevault.orchestration import strategies_tasks

            return strategies_tasks.act()

        act()
    return dag
