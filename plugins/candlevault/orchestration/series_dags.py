"""The four DAGs every configured series has: backfill, increment, gap fill, retention."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param, task

from candlevault.config import SeriesPolicy
from candlevault.orchestration import house
from candlevault.orchestration.forms import moment, years
from candlevault.series import Series

_CHECK_ARGS = {"retries": 1, "execution_timeout": timedelta(hours=1)}


def build_backfill(dag_id: str, policy: SeriesPolicy, doc: str) -> DAG:
    """Load a window of one series, then check it. Triggered by hand or by others."""
    series = policy.series
    with _dag(
        dag_id,
        doc,
        series,
        None,
        ["backfill"],
        {
            "start": moment(policy.start, "Start", "First instant to load, inclusive, UTC."),
            "end": moment(
                None, "End", "End of the window, exclusive; empty: the newest closed candle."
            ),
            "years": years(),
        },
    ) as dag:

        @task(outlets=[house.asset(series)])
        def load(params=None) -> dict:
            from candlevault.orchestration import series_tasks

            return series_tasks.backfill(series, params)

        _check(series, load())
    return dag


def build_increment(dag_id: str, policy: SeriesPolicy, doc: str) -> DAG:
    """Every day at 02:00 UTC: what is new, and the last three days again."""
    series = policy.series
    minute = house.staggered(policy, 0, 15)
    with _dag(dag_id, doc, series, f"{minute} 2 * * *", ["increment"], {}) as dag:

        @task(outlets=[house.asset(series)])
        def sync() -> dict:
            from candlevault.orchestration import series_tasks

            return series_tasks.increment(series)

        _check(series, sync())
    return dag


def build_gap_fill(dag_id: str, policy: SeriesPolicy, doc: str) -> DAG:
    """Every Sunday at 03:00 UTC: find and fill the gaps of the last 90 days."""
    series = policy.series
    minute = house.staggered(policy, 0, 45)
    with _dag(
        dag_id,
        doc,
        series,
        f"{minute} 3 * * 0",
        ["gap_fill"],
        {
            "days": Param(90, type="integer", minimum=1, maximum=36500, title="Days back"),
            "max_rounds": Param(3, type="integer", minimum=1, maximum=10, title="Rounds"),
        },
    ) as dag:

        @task(outlets=[house.asset(series)])
        def fill(params=None) -> dict:
            from candlevault.orchestration import series_tasks

            return series_tasks.gap_fill(series, params)

        _check(series, fill())
    return dag


def build_retention(dag_id: str, policy: SeriesPolicy, doc: str) -> DAG:
    """On the 1st at 04:00 UTC: months older than the policy go to the cold tier."""
    series = policy.series
    minute = house.staggered(policy, 0, 45)
    with _dag(
        dag_id,
        doc,
        series,
        f"{minute} 4 1 * *",
        ["retention"],
        {
            "retention_months": Param(
                policy.retention_months,
                type="integer",
                minimum=1,
                maximum=600,
                title="Months kept",
                description="How long a candle stays in the hot tables.",
            )
        },
    ) as dag:

        @task
        def move(params=None) -> list[dict]:
            from candlevault.orchestration import series_tasks

            return series_tasks.retention(series, params["retention_months"])

        move()
    return dag


def _dag(
    dag_id: str,
    doc: str,
    series: Series,
    schedule: str | None,
    tags: list[str],
    params: dict,
) -> DAG:
    return house.dag(
        dag_id,
        f"# {series}\n\n{doc}",
        schedule=schedule,
        tags=[*tags, series.symbol, series.timeframe.code],
        params=params,
    )


def _check(series: Series, loaded) -> None:
    @task(**_CHECK_ARGS)
    def check(report: dict) -> dict:
        from candlevault.orchestration import series_tasks

        return series_tasks.check(series, report)

    check(loaded)
