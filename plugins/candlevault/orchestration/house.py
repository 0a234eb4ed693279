"""House rules every DAG follows: owner, tags, retries, time limits, pools."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, Asset, Param, get_parsing_context

from candlevault import config
from candlevault.config import SeriesPolicy
from candlevault.series import Series

OWNER = "candlevault"
START = datetime(2020, 1, 1, tzinfo=UTC)
POOL = "default_pool"


def default_args(**more: object) -> dict[str, object]:
    """Arguments of every task: three retries with growing delay, six hours at most."""
    return {
        "owner": OWNER,
        "retries": 3,
        "retry_delay": timedelta(
            seconds=config.number_setting("CANDLEVAULT_RETRY_DELAY_S", 1, 86_400)
        ),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=10),
        "execution_timeout": timedelta(hours=6),
        "pool": POOL,
    } | more


def dag(
    dag_id: str,
    doc: str,
    *,
    tags: Iterable[str],
    schedule: str | None = None,
    params: Mapping[str, Param] | None = None,
    max_active_runs: int = 1,
    task_args: Mapping[str, object] | None = None,
    **more: object,
) -> DAG:
    """A DAG that follows the house rules; `task_args` goes over the default arguments."""
    return DAG(
        dag_id,
        doc_md=doc,
        schedule=schedule,
        start_date=START,
        catchup=False,
        max_active_runs=max_active_runs,
        default_args=default_args(**(task_args or {})),
        tags=["candlevault", *tags],
        params=dict(params or {}),
        **more,
    )


def asset(series: Series) -> Asset:
    """The asset that every load of a series updates."""
    return Asset(
        name=f"candles {series}",
        uri=f"candlevault://{series.venue}/{series.market}/{series.symbol}/{series.timeframe}",
        group="candles",
    )


def wanted(kind: str, policies: Iterable[SeriesPolicy]) -> Iterator[tuple[str, SeriesPolicy]]:
    """The DAG ids `KIND__SERIES` to build now, with their policies.

    A task needs only its own DAG: with thousands of them, building all at every task start
    costs seconds.
    """
    asked = get_parsing_context().dag_id
    for policy in policies:
        dag_id = f"{kind}__{policy.series.slug}"
        if asked is None or asked == dag_id:
            yield dag_id, policy


def staggered(policy: SeriesPolicy, minute: int, spread: int) -> int:
    """A minute in [minute, minute + spread) that depends on the series only.

    Hundreds of DAGs must not wake in the same second.
    """
    key = sum((i + 1) * ord(char) for i, char in enumerate(policy.series.slug))
    return minute + key % spread
