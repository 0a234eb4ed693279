"""A sweep from payload to stored points, in steps that can each be repeated.

`accept` checks the payload, `gather` brings the candles, `plan` fixes which state of them all
batches read and splits the points, `run_batch` runs some of them; `concluding.conclude` ends
it. A step that fails ends the record with a message before it raises.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import NamedTuple

from candlevault import config
from candlevault.backtest import ending, saved
from candlevault.backtest.data import gate
from candlevault.backtest.data.gate import Fetch
from candlevault.backtest.data.inputs import Inputs
from candlevault.backtest.data.preparation import Prepared, prepare
from candlevault.backtest.data.reading import Gathered, Revisions
from candlevault.backtest.metrics import Metrics
from candlevault.backtest.search import folds, parsing, running, walk_forward
from candlevault.backtest.search.folds import Fold
from candlevault.backtest.search.recipe import inside
from candlevault.backtest.search.request import SweepRequest
from candlevault.backtest.versions import code_versions
from candlevault.errors import StorageError
from candlevault.providers.contract import Venue
from candlevault.series import Series
from candlevault.storage import sweep_results, sweeps
from candlevault.storage.database import Connect
from candlevault.storage.storable import refuse_unstorable
from candlevault.storage.sweep_results import BatchRange, Plan, PointResult
from candlevault.storage.sweeps import Description, SweepRecord
from candlevault.timeframe import from_ms
from candlevault.windows import Window

FEW_BATCHES = 8
"""So many tasks share even a small sweep: more would only read the same candles more often."""

LEAST_POINTS = 50
"""Points a batch of these should hold at least: starting a task costs as much as some runs."""

RUNS_A_BATCH = 5_000
"""Runs that a batch of a large sweep holds at most, if batches do not run out: what a worker
loses when it is killed."""

_TOLD_EVERY_S = 5.0

Say = Callable[[str], object]


class State(NamedTuple):
    """What a step works on: the record, the request, what was read, and the folds."""

    record: SweepRecord
    request: SweepRequest
    prepared: Prepared
    folds: tuple[Fold, ...]

    @property
    def inputs(self) -> Inputs:
        """What every point runs on."""
        return self.prepared.inputs


def accept(
    connect: Connect,
    venue_of: Callable[[str, str], Venue],
    dag_run_id: str,
    conf: Mapping[str, object],
    *,
    default_venue: str,
    settling_ms: int = 0,
) -> SweepRequest:
    """Open the record of a DAG run and check its payload, as for a single backtest.

    Raises InvalidRequest after the record was ended as failed, naming the field.
    """
    sweeps.open_record(connect, dag_run_id, conf)
    with telling(connect, dag_run_id, "accept"):
        refuse_unstorable(conf)
        find_saved = saved.finder(connect)
        request = parsing.parse(conf, default_venue=default_venue, find_saved=find_saved)
        series = request.backtest.series
        venue = venue_of(series.venue, series.market)
        now = from_ms(venue.server_time_ms() - settling_ms)
        request = parsing.parse(conf, now=now, default_venue=default_venue, find_saved=find_saved)
        with inside("backtest"):
            gate.refuse_impossible(connect, venue, request.backtest)
    sweeps.describe(
        connect,
        dag_run_id,
        Description(
            payload=parsing.canonical(request),
            payload_hash=parsing.sweep_hash(request),
            strategy=request.strategy.name,
            rank_by=request.rank_by,
            window=request.backtest.window,
            points=len(request),
            left_out=request.combinations.left_out,
            duplicates=request.combinations.duplicates,
        ),
    )
    return request


def gather(
    connect: Connect, dag_run_id: str, fetch: Fetch, fetch_funding: Fetch | None = None
) -> Gathered:
    """Make sure that every candle of the window is stored or known absent, warm-up included.

    In market um the funding is brought, too. Raises DataMissing, naming the windows and how to
    load them, after the record was ended as failed.
    """
    _, request = opened(connect, dag_run_id)

    def telling_of(work: Fetch) -> Fetch:
        def told(series: Series, window: Window) -> object:
            sweeps.advance(connect, dag_run_id, "fetching_data")
            return work(series, window)

        return told

    with telling(connect, dag_run_id, "gather"), inside("backtest"):
        return gate.obtain(
            connect,
            request.backtest,
            telling_of(fetch),
            fetch_funding and telling_of(fetch_funding),
        )


def plan(connect: Connect, dag_run_id: str) -> list[BatchRange]:
    """Fix the state of the candles and split the points into batches.

    What batches of an earlier plan had stored is removed. The candles are read and the first
    point is run once here, so that what cannot work is refused before the batches begin.
    """
    _, request = opened(connect, dag_run_id)
    with telling(connect, dag_run_id, "plan"):
        as_of = request.backtest.data.as_of or gate.database_now(connect)
        prepared = prepare(connect, request.backtest, Revisions(as_of))
        planned = folds_of(request)
        for fold in planned:
            walk_forward.in_sample(request, prepared.inputs, fold)
            walk_forward.out_of_sample(request, prepared.inputs, fold)
        # What cannot run at all fails here, and what the batches need is compiled when they begin.
        running.run_point(request, request.point(1), prepared.inputs)
        most = config.number_setting("CANDLEVAULT_SWEEP_BATCHES", 1, 10_000)
        batches = split(len(request), 1 + len(planned), most)
        sweep_results.begin(
            connect,
            dag_run_id,
            Plan(as_of, prepared.fingerprint, prepared.reads, versions_of(request), batches),
        )
    return batches


def run_batch(
    connect: Connect,
    dag_run_id: str,
    number: int,
    *,
    say: Say = lambda text: None,
    threads: int | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Run the points of a planned batch and store them together; returns their number.

    A batch that runs again replaces what it had stored. `say` is told every few seconds how far
    it is. Raises StorageError when it does not see the candles, or is not the code, that the
    plan was made with; StrategyFailed naming the point that failed.
    """
    record, _ = opened(connect, dag_run_id)
    if record.status == "completed":
        return 0
    sweeps.reopen(connect, dag_run_id, number)
    with telling(connect, dag_run_id, "run_batch", number):
        batch = sweep_results.start_batch(connect, dag_run_id, number)
        state = read(connect, dag_run_id)
        request = state.request
        done = 0
        told_at = clock()

        def count(ended: int) -> None:
            nonlocal done, told_at
            done += ended
            if clock() - told_at >= _TOLD_EVERY_S:
                told_at = clock()
                sweep_results.tell_progress(connect, dag_run_id, number, done)
                all_done, runs = sweep_results.progress(connect, dag_run_id)
                say(f"batch {number}: {done} of {batch.runs} runs; sweep: {all_done} of {runs}")

        numbers = range(batch.first, batch.last + 1)
        figures = running.evaluate(
            request, numbers, state.inputs, _stored, threads=threads, after_chunk=count
        )
        scores = [
            running.evaluate(
                request,
                numbers,
                walk_forward.in_sample(request, state.inputs, fold),
                lambda metrics: getattr(metrics, request.rank_by),
                threads=threads,
                after_chunk=count,
            )
            for fold in state.folds
        ]
        points = [
            PointResult(
                point,
                request.given(point),
                metrics,
                [fold[i] for fold in scores] if scores else None,
            )
            for i, (point, metrics) in enumerate(zip(numbers, figures, strict=True))
        ]
        sweep_results.store_points(connect, dag_run_id, number, points)
    say(f"batch {number}: points {batch.first} to {batch.last} are stored")
    return len(points)


def split(points: int, runs_a_point: int, most: int) -> list[BatchRange]:
    """Points 1 to `points` in batches of nearly the same size, at most `most`."""
    few = min(FEW_BATCHES, points // LEAST_POINTS)
    many = min(-(-points // max(1, RUNS_A_BATCH // runs_a_point)), points)
    count = max(1, min(most, max(few, many)))
    ends = [points * (i + 1) // count for i in range(count)]
    return [
        BatchRange(i + 1, before + 1, end, (end - before) * runs_a_point)
        for i, (before, end) in enumerate(zip([0, *ends], ends, strict=False))
    ]


def opened(connect: Connect, dag_run_id: str) -> tuple[SweepRecord, SweepRequest]:
    """The record of a DAG run and its request; raises StorageError when there is none."""
    record = sweeps.get(connect, dag_run_id)
    if record is None or record.point_count is None:
        raise StorageError(f"there is no accepted sweep of {dag_run_id}")
    return record, parsing.parse(record.payload)


def read(connect: Connect, dag_run_id: str) -> State:
    """The candles of the plan; raises StorageError when they, or the code, are not those of
    the plan."""
    record, request = opened(connect, dag_run_id)
    if record.data_as_of is None:
        raise StorageError(f"sweep {record.sweep_id} is not planned")
    if record.versions != versions_of(request):
        raise StorageError(
            f"sweep {record.sweep_id}: this worker runs other code than the plan was made with;"
            " clear the task plan and those after it"
        )
    prepared = prepare(connect, request.backtest, Revisions(record.data_as_of))
    if prepared.fingerprint != record.data_fingerprint:
        raise StorageError(
            f"sweep {record.sweep_id}: the candles as of {record.data_as_of.isoformat()} are not"
            " those that were planned with"
        )
    return State(record, request, prepared, folds_of(request))


def folds_of(request: SweepRequest) -> tuple[Fold, ...]:
    """The folds of the walk-forward analysis; none without it."""
    if request.walk_forward is None:
        return ()
    return folds.plan(request.backtest, request.walk_forward)


def versions_of(request: SweepRequest) -> dict[str, str]:
    """What code makes the results."""
    strategy = request.strategy
    return {
        **code_versions(),
        "strategy": f"{strategy.name} {strategy.version}",
        **({"strategy_source": strategy.source} if strategy.source else {}),
    }


def telling(
    connect: Connect, dag_run_id: str, step: str, batch: int | None = None
) -> AbstractContextManager[None]:
    """End the record when the block fails, or note what a retry has to get past."""
    return ending.telling(sweeps.RECORDS, connect, dag_run_id, step, batch=batch)


def _stored(metrics: Metrics) -> dict[str, object]:
    """The figures as they are stored: the store knows no negative zero."""
    return {
        name: value + 0.0 if isinstance(value, float) else value
        for name, value in metrics.as_dict().items()
    }
