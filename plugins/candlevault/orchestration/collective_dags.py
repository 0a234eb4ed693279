"""DAGs over many series: initial load, quality check, the five-minute market sync."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param, task
from airflow.sdk import TriggerRule as Rule

from candlevault.config import Universe
from candlevault.orchestration import house
from candlevault.orchestration.forms import moment, one_timeframe, symbols, years
from candlevault.timeframe import ALL as TIMEFRAMES

_LIMIT = Param(
    None,
    type=["null", "integer"],
    minimum=1,
    maximum=1000,
    title="Limit",
    description="Instead of symbols: the first so many of the universe.",
)


def _timeframes(default: list[str]) -> Param:
    return Param(
        default,
        type="array",
        items={"type": "string", "enum": list(TIMEFRAMES)},
        minItems=1,
        title="Timeframes",
        examples=list(TIMEFRAMES),
    )


def build_initial_load(universe: Universe, doc: str) -> DAG:
    """Daily candles of all symbols, finer ones of the first 20, the rest, then checks."""
    codes = list(dict.fromkeys(policy.series.timeframe.code for policy in universe.policies))
    with house.dag(
        "initial_load",
        doc,
        tags=["backfill"],
        params={
            "symbols": symbols(None, "Symbols or short names; empty: the universe."),
            "limit": _LIMIT,
            "market": Param(universe.market, type="string", enum=["spot", "um"], title="Market"),
            "timeframes": _timeframes(codes or ["1d"]),
            "start": moment(
                min((policy.start for policy in universe.policies), default=house.START),
                "Start",
                "First instant to load, inclusive, UTC.",
            ),
            "end": moment(None, "End", "End, exclusive; empty: the newest closed candle."),
            "years": years(),
            "groups": Param(
                4,
                type="integer",
                minimum=1,
                maximum=32,
                title="Groups",
                description="How many tasks load a stage side by side.",
            ),
        },
    ) as dag:

        @task
        def plan(params=None) -> dict:
            from candlevault.orchestration import collective_tasks

            return collective_tasks.plan_initial_load(params)

        def stage(number: int, planned, after):
            @task(task_id=f"groups_{number}", trigger_rule=Rule.ALL_DONE)
            def groups(plan: dict) -> list[dict]:
                from candlevault.orchestration import collective_tasks

                return collective_tasks.groups_of(plan, number)

            @task(task_id=f"load_{number}", trigger_rule=Rule.ALL_DONE)
            def load(group: dict) -> list[dict]:
                from candlevault.orchestration import collective_tasks

                return collective_tasks.load_group(group)

            chosen = groups(planned)
            if after is not None:
                after >> chosen
            return load.expand(group=chosen)

        planned = plan()
        loaded = None
        for number in (1, 2, 3):
            loaded = stage(number, planned, loaded)

        @task(trigger_rule=Rule.ALL_DONE, retries=1)
        def check_and_fill(planned: dict) -> dict:
            from candlevault.orchestration import collective_tasks

            return collective_tasks.check_and_fill(planned)

        loaded >> check_and_fill(planned)
    return dag


def build_quality_check(doc: str) -> DAG:
    """Check stored series on request: SQL tests and month suites over the last days."""
    with house.dag(
        "quality_check",
        doc,
        tags=["quality"],
        max_active_runs=2,
        task_args={"retries": 1},
        params={
            "symbols": symbols(None, "Symbols or short names; empty: everything stored."),
            "limit": _LIMIT,
            "timeframe": one_timeframe(),
            "days": Param(30, type="integer", minimum=1, maximum=36500, title="Days back"),
        },
    ) as dag:

        @task
        def check(params=None) -> list[dict]:
            from candlevault.orchestration import collective_tasks

            return collective_tasks.quality_check(params)

        check()
    return dag


def build_market_sync(universe: Universe, doc: str) -> DAG:
    """Every five minutes: the last candles of the active list."""
    with house.dag(
        "market_sync",
        doc,
        tags=["sync"],
        schedule="*/5 * * * *",
        dagrun_timeout=timedelta(minutes=30),
        task_args={"retries": 1, "execution_timeout": timedelta(minutes=25)},
        params={
            "symbols": symbols(
                list(universe.market_sync_symbols), "Symbols or short names to keep fresh."
            ),
            "timeframe": Param("1h", type="string", enum=list(TIMEFRAMES), title="Timeframe"),
            "candles": Param(
                500, type="integer", minimum=1, maximum=1000, title="Candles to re-read"
            ),
        },
    ) as dag:

        @task
        def sync(params=None) -> list[dict]:
            from candlevault.orchestration import collective_tasks

            return collective_tasks.market_sync(params)

        sync()
    return dag


def build_universe(doc: str) -> DAG:
    """Every day: which pairs the venue trades, and, if wanted, their candles."""
    with house.dag(
        "universe",
        doc,
        tags=["universe"],
        schedule="30 0 * * *",
        params={
            "load": Param(
                None,
                type=["null", "boolean"],
                title="Load",
                description="Whether to load the pairs too; empty: as the universe file says.",
            )
        },
    ) as dag:

        @task
        def refresh(params=None) -> dict:
            from candlevault.orchestration import universe_tasks

            return universe_tasks.refresh_universe(params)

        @task
        def groups(report: dict) -> list[list[list[str]]]:
            return report["groups"]

        @task
        def load(group: list[list[str]]) -> dict:
            from candlevault.orchestration import universe_tasks

            return universe_tasks.load_extended(group)

        load.expand(group=groups(refresh()))
    return dag


def build_load_by_priority(doc: str) -> DAG:
    """On request: symbols of any class of assets, from the first provider that delivers."""
    with house.dag(
        "load_by_priority",
        doc,
        tags=["backfill"],
        max_active_runs=2,
        params={
            "symbols": Param(
                type="array",
                items={"type": "string", "pattern": "^[A-Za-z0-9]{1,20}$"},
                minItems=1,
                title="Symbols",
                description="BTC or BTCUSDT, AAPL, EURUSD.",
            ),
            "asset_class": Param(
                "crypto", type="string", enum=["crypto", "stocks", "forex"], title="Asset class"
            ),
            "timeframe": Param("1d", type="string", enum=list(TIMEFRAMES), title="Timeframe"),
            "start": moment(house.START, "Start", "First instant to load, inclusive, UTC."),
            "end": moment(None, "End", "End, exclusive; empty: now."),
            "years": years(),
            "provider_priority": Param(
                None,
                type=["null", "array"],
                items={"type": "string", "pattern": "^[a-z][a-z0-9_]{0,31}$"},
                title="Provider priority",
                description="Who is asked first; empty: as the universe file says.",
            ),
        },
    ) as dag:

        @task
        def load(params=None) -> list[dict]:
            from candlevault.orchestration import universe_tasks

            return universe_tasks.load_by_priority(params)

        load()
    return dag
