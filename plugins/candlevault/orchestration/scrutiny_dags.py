"""DAGs that question what is stored: corrections, radar, consolidation, second sources."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param, task

from candlevault.config import Universe
from candlevault.orchestration import house
from candlevault.orchestration.forms import moment, one_timeframe, symbols
from candlevault.timeframe import ALL as TIMEFRAMES


def build_corrections(doc: str) -> DAG:
    """Apply or compare a file, or read a window again; then say which backtests it concerns."""
    with house.dag(
        "corrections",
        doc,
        tags=["quality"],
        task_args={"retries": 2, "execution_timeout": timedelta(hours=2)},
        params={
            "symbol": Param(type="string", pattern="^[A-Za-z0-9]{1,20}$", title="Symbol"),
            "timeframe": Param("1h", type="string", enum=list(TIMEFRAMES), title="Timeframe"),
            "market": Param("spot", type="string", enum=["spot", "um"], title="Market"),
            "reason": Param(
                "provider_correction",
                type="string",
                minLength=1,
                maxLength=200,
                title="Reason",
                description="What the correction log says.",
            ),
            "file": Param(
                None,
                type=["null", "string"],
                pattern="^[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}$",
                title="File",
                description="Name of a CSV in the corrections folder.",
            ),
            "csv": Param(
                None,
                type=["null", "string"],
                maxLength=1_000_000,
                title="CSV",
                description="Instead of a file: its text.",
            ),
            "start": moment(None, "Start", "Instead of a file: read again from here, inclusive."),
            "end": moment(None, "End", "Until here, exclusive."),
            "provider": Param(
                "rest",
                type="string",
                enum=["rest", "archive"],
                title="Provider",
                description="Who is asked first when a window is read again.",
            ),
            "compare_only": Param(
                False,
                type="boolean",
                title="Compare only",
                description="Of a file or CSV: record what differs, change nothing.",
            ),
        },
    ) as dag:

        @task
        def apply(params=None) -> dict:
            from candlevault.orchestration import scrutiny_tasks

            return scrutiny_tasks.correct(params)

        @task
        def impact(report: dict) -> list[dict]:
            from candlevault.orchestration import scrutiny_tasks

            return scrutiny_tasks.impact(report)

        impact(apply())
    return dag


def build_restatement_radar(doc: str) -> DAG:
    """Every Monday: archive files that were rewritten are loaded again."""
    with house.dag(
        "restatement_radar",
        doc,
        tags=["quality"],
        schedule="0 5 * * 1",
        params={
            "symbols": symbols(None, "Symbols or short names; empty: everything stored."),
            "timeframe": one_timeframe(),
        },
    ) as dag:

        @task
        def examine(params=None) -> list[dict]:
            from candlevault.orchestration import scrutiny_tasks

            return scrutiny_tasks.radar_task(params)

        examine()
    return dag


def build_consolidation(doc: str) -> DAG:
    """On the 2nd: the month before is filled, checked and certified."""
    with house.dag(
        "monthly_consolidation",
        doc,
        tags=["quality"],
        schedule="0 5 2 * *",
        task_args={"retries": 2},
        params={
            "month": Param(
                None,
                type=["null", "string"],
                pattern="^[0-9]{4}-(0[1-9]|1[0-2])$",
                title="Month",
                description="YYYY-MM; empty: the month before this one.",
            ),
            "symbols": symbols(None, "Symbols or short names; empty: everything stored."),
            "timeframe": one_timeframe(),
            "again": Param(
                False,
                type="boolean",
                title="Again",
                description="Also months that were certified and have not changed.",
            ),
        },
    ) as dag:

        @task
        def consolidate(params=None) -> dict:
            from candlevault.orchestration import scrutiny_tasks

            return scrutiny_tasks.consolidate(params)

        consolidate()
    return dag


def build_cross_validation(universe: Universe, doc: str) -> DAG:
    """Every Saturday: stored candles against second sources."""
    with house.dag(
        "cross_validation",
        doc,
        tags=["quality"],
        schedule="0 6 * * 6",
        task_args={"retries": 2, "execution_timeout": timedelta(hours=3)},
        params={
            "symbols": symbols(
                None, "Symbols or short names; empty: the list of market_sync, as far as stored."
            ),
            "timeframe": Param("1h", type="string", enum=list(TIMEFRAMES), title="Timeframe"),
            "sources": Param(
                list(universe.second_sources),
                type="array",
                items={"type": "string", "pattern": "^[a-z][a-z0-9_]{0,31}$"},
                minItems=1,
                title="Sources",
                description="Providers, or exchanges by ccxt's name.",
            ),
            "days": Param(7, type="integer", minimum=1, maximum=3650, title="Days back"),
            "tolerance_pct": Param(
                1.0, type="number", exclusiveMinimum=0, maximum=100, title="Tolerance in percent"
            ),
        },
    ) as dag:

        @task
        def validate(params=None) -> list[dict]:
            from candlevault.orchestration import scrutiny_tasks

            return scrutiny_tasks.cross_validate(params)

        validate()
    return dag
