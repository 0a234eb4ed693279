"""The end of a sweep: which point did best, what that is worth, and the walk-forward analysis."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

import numpy as np

from candlevault.backtest.metrics import Metrics
from candlevault.backtest.search import parsing, running, walk_forward
from candlevault.backtest.search.deflated_sharpe import deflate
from candlevault.backtest.search.jobs import Say, State, read, telling
from candlevault.backtest.search.ranking import Ranking, rank
from candlevault.backtest.search.walk_forward import WalkForwardResult
from candlevault.backtest.trust import lookahead
from candlevault.errors import NotRepeated
from candlevault.storage import sweep_results, sweeps
from candlevault.storage.backtests import EquityCurve
from candlevault.storage.database import Connect
from candlevault.storage.sweep_results import Conclusion, FoldRow, PointResult


class _Surface:
    """Of all stored points, in their order, what the judgement needs; and a hash of all."""

    def __init__(self, metric: str) -> None:
        self._metric = metric
        self._digest = hashlib.sha256()
        self.values: list[float | None] = []
        self.total_returns: list[float] = []
        self.sharpes: list[float | None] = []
        self.fold_scores: list[Sequence[float | None]] = []

    def add(self, point: PointResult) -> None:
        """Take the next point."""
        figures = {name: _float(value) for name, value in point.metrics.items()}
        self.values.append(figures[self._metric])
        self.total_returns.append(figures["total_return_pct"])
        self.sharpes.append(figures["period_sharpe"])
        self.fold_scores.append(point.fold_scores or ())
        told = [point.number, point.params, figures, point.fold_scores]
        self._digest.update(_bytes(told) + b"\n")

    @property
    def sha256(self) -> str:
        """The hash, hex."""
        return self._digest.hexdigest()


def conclude(
    connect: Connect, dag_run_id: str, *, say: Say = lambda text: None
) -> dict[str, object]:
    """Rank the points, judge the best one, choose and run the folds, and complete the record.

    Returns the headline figures; those stored before, if the sweep had completed. Raises
    StorageError while points are missing, NotRepeated when the best point comes out different
    when it is run again, and StrategyFailed when its strategy knew the future.
    """
    before = sweeps.summary(connect, dag_run_id)
    if before is not None:
        return before
    with telling(connect, dag_run_id, "conclude"):
        sweep_results.refuse_incomplete(connect, dag_run_id)
        sweeps.advance(connect, dag_run_id, "running")
        state = read(connect, dag_run_id)
        request = state.request
        surface = _Surface(request.rank_by)
        for point in sweep_results.points(connect, dag_run_id):
            surface.add(point)
        ranking = rank(request.rank_by, surface.values, surface.total_returns, request.places())
        best = _best_again(connect, dag_run_id, state, ranking)
        say(f"best of {len(request)} points: {ranking.best + 1}, {ranking.best_value}")
        deflated = deflate(
            surface.sharpes,
            sharpe=best.period_sharpe,
            skewness=best.skewness,
            kurtosis=best.kurtosis,
            periods=best.periods,
        ).as_dict()
        walked = _walk(state, surface)
        _check_past(state, ranking, walked)
        folds = [] if walked is None else [_row(state, one) for one in walked.folds]
        summary = None if walked is None else _walk_summary(request.rank_by, walked)
        figures = {"points": len(request), **ranking.as_dict()}
        conclusion = Conclusion(
            ranks=ranking.ranks,
            best_point=ranking.best + 1,
            ranking=figures,
            deflated_sharpe=deflated,
            walk_forward=summary,
            folds=folds,
            curve=None if walked is None else _curve(state, walked),
            result_hash=_hash(state, surface, [figures, deflated, summary], folds, walked),
        )
        sweep_results.complete(connect, dag_run_id, conclusion)
    stored = sweeps.summary(connect, dag_run_id)
    assert stored is not None
    return stored


def _best_again(connect: Connect, dag_run_id: str, state: State, ranking: Ranking) -> Metrics:
    """The metrics of the best point, run again here and compared with what a batch stored."""
    number = ranking.best + 1
    _, metrics = running.run_point(state.request, state.request.point(number), state.inputs)
    stored = sweep_results.point(connect, dag_run_id, number)
    now = {name: _float(value) for name, value in metrics.as_dict().items()}
    if now != {name: _float(value) for name, value in stored.metrics.items()}:
        raise NotRepeated(
            f"sweep {state.record.sweep_id}: point {number} came out different when it was run"
            " again"
        )
    return metrics


def _check_past(state: State, ranking: Ranking, walked: WalkForwardResult | None) -> None:
    """Refuse a sweep whose chosen settings make the strategy look ahead."""
    numbers = {ranking.best + 1}
    if walked is not None:
        numbers |= {one.point for one in walked.folds if one.point is not None}
    seed = int(parsing.sweep_hash(state.request)[:15], 16)
    for number in sorted(numbers):
        params = state.request.point(number).params
        for bars in state.inputs.seen:
            lookahead.check(state.request.strategy, bars, params, seed=seed)


def _walk(state: State, surface: _Surface) -> WalkForwardResult | None:
    if not state.folds:
        return None
    chosen = [
        walk_forward.choose(state.request.rank_by, scores)
        for scores in zip(*surface.fold_scores, strict=True)
    ]
    return walk_forward.run(state.request, state.inputs, state.folds, chosen)


def _row(state: State, one: walk_forward.FoldResult) -> FoldRow:
    return FoldRow(
        number=one.fold.number,
        in_sample_window=one.fold.in_sample,
        out_of_sample_window=one.fold.out_of_sample,
        point=one.point,
        params=None if one.point is None else state.request.given(one.point),
        in_sample=None if one.in_sample is None else one.in_sample.as_dict(),
        out_of_sample=one.out_of_sample.as_dict(),
    )


def _walk_summary(metric: str, walked: WalkForwardResult) -> dict[str, object]:
    return {
        "folds": len(walked.folds),
        "in_sample_mean": walked.in_sample_mean,
        "out_of_sample": getattr(walked.metrics, metric),
        "efficiency": walked.efficiency,
        "profitable_folds_pct": walked.profitable_folds_pct,
        "metrics": walked.metrics.as_dict(),
    }


def _curve(state: State, walked: WalkForwardResult) -> EquityCurve:
    equity = walked.equity
    capital = float(state.request.backtest.settings.initial_capital)
    peaks = np.maximum(np.maximum.accumulate(equity), capital)
    return EquityCurve(
        first_open_time_ms=int(walked.open_time[0]),
        timeframe=state.request.backtest.series.timeframe.code,
        equity=equity.tolist(),
        drawdown_pct=((peaks - equity) / peaks * 100.0).tolist(),
    )


def _hash(
    state: State,
    surface: _Surface,
    figures: Sequence[Mapping[str, object] | None],
    folds: Sequence[FoldRow],
    walked: WalkForwardResult | None,
) -> str:
    """SHA-256 (hex) of everything that came out, and of what it was made of."""
    document = {
        "payload": parsing.canonical(state.request),
        "versions": state.record.versions,
        "data": state.record.data_fingerprint,
        "points": surface.sha256,
        "figures": list(figures),
        "folds": [
            [fold.number, fold.point, fold.params, fold.in_sample, fold.out_of_sample]
            for fold in folds
        ],
        "equity": None if walked is None else walked.equity.tolist(),
    }
    return hashlib.sha256(_bytes(document)).hexdigest()


def _bytes(document: object) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _float(value: object) -> float | None:
    """A figure as a float: the store gives whole ones back as whole numbers."""
    return None if value is None else float(value) + 0.0
