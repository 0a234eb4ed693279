"""Runs many points on the same candles: signals, fills, figures, and nothing else.

Every point gives exactly what a backtest with its settings gives. Indicators that several
points share are computed once, and compiled code lets two threads work side by side; the
answers keep the order of the points, however the threads take turns.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from candlevault.backtest import evaluation, metrics
from candlevault.backtest.data.inputs import Inputs
from candlevault.backtest.engine.codes import INTRABAR_MODES
from candlevault.backtest.engine.simulation import Simulation, simulate
from candlevault.backtest.indicators import remembering
from candlevault.backtest.metrics import Metrics
from candlevault.backtest.search.request import Point, SweepRequest
from candlevault.backtest.signals import Signals
from candlevault.errors import StrategyFailed

T = TypeVar("T")

CHUNK = 32
"""Points that are worked on together: between chunks progress is told and a cancellation seen."""

_LEAST_MEMORY = 64 * 1024 * 1024
_MOST_MEMORY = 256 * 1024 * 1024
_REMEMBERED_COLUMNS = 64
_CHUNK_MEMORY = 64 * 1024 * 1024
_BYTES_A_BAR = 8


def evaluate(
    request: SweepRequest,
    numbers: Sequence[int],
    inputs: Inputs,
    keep: Callable[[Metrics], T],
    *,
    threads: int | None = None,
    after_chunk: Callable[[int], None] = lambda count: None,
) -> list[T]:
    """What `keep` makes of the metrics of each point of `numbers` (ascending), in their order.

    `after_chunk` gets the number of points that came to an end since it was called last; what
    it raises ends the work. Raises StrategyFailed naming the point whose settings the strategy
    cannot cope with. `threads` is 2 where the machine has them.
    """
    threads = threads or min(2, os.cpu_count() or 1)
    chunks = _chunks(numbers, inputs)
    # One process does all points of a strategy of the user's, ahead of the threads.
    apart = request.strategy.source is not None
    stream = _signals(request, _points(request, numbers), inputs) if apart else None

    def work(chunk: Sequence[int], ahead: list[tuple[Signals, ...]] | None) -> list[T]:
        points = list(_points(request, chunk))
        signals = _signals(request, points, inputs) if ahead is None else ahead
        return [
            keep(_run(request, point, wished, inputs)[1])
            for point, wished in zip(points, signals, strict=True)
        ]

    tasks = ((chunk, None if stream is None else [next(stream) for _ in chunk]) for chunk in chunks)
    kept: list[T] = []
    with remembering(_memory(inputs)):
        for answers in _in_order(work, tasks, threads):
            kept += answers
            after_chunk(len(answers))
    return kept


def run_point(request: SweepRequest, point: Point, inputs: Inputs) -> tuple[Simulation, Metrics]:
    """The run of one point, and its metrics."""
    (signals,) = _signals(request, [point], inputs)
    return _run(request, point, signals, inputs)


def _run(
    request: SweepRequest, point: Point, signals: Sequence[Signals], inputs: Inputs
) -> tuple[Simulation, Metrics]:
    mode = INTRABAR_MODES.index(request.backtest.intrabar.mode)
    simulation = simulate(inputs.stage, signals, point.settings, mode=mode)
    return simulation, metrics.measure(inputs.stage, simulation, point.settings)


def _points(request: SweepRequest, numbers: Iterable[int]) -> Iterator[Point]:
    return (request.point(number) for number in numbers)


def _signals(
    request: SweepRequest, points: Iterable[Point], inputs: Inputs
) -> Iterator[tuple[Signals, ...]]:
    """The signals of each point, one for each symbol, of the window's bars only.

    Points that follow each other with the same settings of the strategy share them.
    """
    points = list(points)
    firsts = [
        point
        for before, point in zip([None, *points], points, strict=False)
        if before is None or point.params != before.params
    ]
    streams = [
        evaluation.each(
            request.strategy, bars, [(point.params, len(bars.close)) for point in firsts]
        )
        for bars in inputs.seen
    ]
    wished: tuple[Signals, ...] = ()
    before = None
    for point in points:
        if before is None or point.params != before.params:
            answers = [_next(request, stream, point) for stream in streams]
            wished = tuple(
                answer.tail(lead) for answer, lead in zip(answers, inputs.leads, strict=True)
            )
        yield wished
        before = point


def _next(
    request: SweepRequest, stream: Iterator[Signals | StrategyFailed], point: Point
) -> Signals:
    try:
        answer = next(stream)
    except StrategyFailed as error:
        answer = error
    if isinstance(answer, StrategyFailed):
        settings = json.dumps(point.given)
        raise StrategyFailed(
            request.strategy.name,
            f"failed at point {point.number}, {settings}: {answer.what}",
            file=answer.file,
            line=answer.line,
        ) from answer
    return answer


def _chunks(numbers: Sequence[int], inputs: Inputs) -> list[Sequence[int]]:
    bars = sum(len(bars.close) for bars in inputs.seen)
    size = max(1, min(CHUNK, _CHUNK_MEMORY // (bars * _BYTES_A_BAR)))
    return [numbers[i : i + size] for i in range(0, len(numbers), size)]


def _memory(inputs: Inputs) -> int:
    """Bytes for the indicators that points share."""
    column = sum(bars.close.nbytes for bars in inputs.seen)
    return max(_LEAST_MEMORY, min(_MOST_MEMORY, _REMEMBERED_COLUMNS * column))


def _in_order(
    work: Callable[..., list[T]], tasks: Iterable[tuple], threads: int
) -> Iterator[list[T]]:
    """The answers of `work` to `tasks`, in their order; a few are worked on ahead."""
    if threads == 1:
        yield from (work(*task) for task in tasks)
        return
    pool = ThreadPoolExecutor(threads)
    try:
        waiting: deque[Future] = deque()
        for task in tasks:
            waiting.append(pool.submit(work, *task))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
