"""Walk-forward analysis: the best point of each window in sample runs on the window after it.

Nothing of a window out of sample can reach the choice: candidates are run on candles that end
where it begins. Out of sample the strategy sees the candles in sample as history, so that its
indicators are defined from the first bar on. Positions do not cross windows: each window is a
backtest of its own with the request's capital, whose equity is scaled to go on where the one
before ended. Between windows that do not touch, the account rests.

After R. Pardo, "The Evaluation and Optimization of Trading Strategies" (2008).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from candlevault.backtest import metrics
from candlevault.backtest.data.inputs import Inputs
from candlevault.backtest.engine.codes import REFUSALS
from candlevault.backtest.engine.simulation import Simulation, simulate
from candlevault.backtest.engine.tables import QUESTION, TRADE
from candlevault.backtest.engine.trades import TradeLog
from candlevault.backtest.metrics import Metrics
from candlevault.backtest.search import running
from candlevault.backtest.search.folds import Fold, cut
from candlevault.backtest.search.ranking import ordered
from candlevault.backtest.search.request import SweepRequest
from candlevault.backtest.signals import Signals
from candlevault.windows import Window

_MONEY = ("quantity", "entry_fee", "exit_fee", "funding", "pnl")


@dataclass(frozen=True, slots=True)
class FoldResult:
    """One fold: the number of the point chosen, its metrics in sample and out of sample.

    Where no point had a defined figure in sample, `point` and `in_sample` are None and the
    account rested.
    """

    fold: Fold
    point: int | None
    in_sample: Metrics | None
    out_of_sample: Metrics


@dataclass(frozen=True, slots=True, eq=False)
class WalkForwardResult:
    """All folds; the equity out of sample at the close of every row of `open_time` (int64 ms
    UTC, the grid from the first such window to the last), and its metrics.

    `in_sample_mean` is the mean over the folds of the chosen points' figure in sample that
    ranks; `efficiency` the annual return out of sample divided by the mean annual return in
    sample; None unless that is above 0. `profitable_folds_pct`: windows out of sample with a
    total return above 0.
    """

    folds: tuple[FoldResult, ...]
    open_time: np.ndarray
    equity: np.ndarray
    metrics: Metrics
    in_sample_mean: float | None
    efficiency: float | None
    profitable_folds_pct: float


def in_sample(request: SweepRequest, inputs: Inputs, fold: Fold) -> Inputs:
    """What a candidate sees and trades in sample."""
    return cut(inputs, fold.in_sample, request.backtest.data.warmup_bars)


def out_of_sample(request: SweepRequest, inputs: Inputs, fold: Fold) -> Inputs:
    """What the chosen point sees, all of the window in sample included, and what it trades."""
    before = fold.in_sample.end_ms - fold.in_sample.start_ms
    rows = before // request.backtest.series.timeframe.step_ms
    return cut(inputs, fold.out_of_sample, rows + request.backtest.data.warmup_bars)


def choose(metric: str, scores: Sequence[float | None]) -> int | None:
    """The number of the best point by its scores in sample; None where none is defined."""
    best = ordered(metric, scores)[0]
    return None if scores[best] is None else best + 1


def run(
    request: SweepRequest,
    inputs: Inputs,
    folds: Sequence[Fold],
    chosen: Sequence[int | None],
) -> WalkForwardResult:
    """Run the `chosen` point of each of `folds` and put the windows out of sample together."""
    results, parts = [], []
    for fold, number in zip(folds, chosen, strict=True):
        after = out_of_sample(request, inputs, fold)
        before = None
        if number is None:
            simulation, measured = _rest(request, after)
        else:
            point = request.point(number)
            before = running.run_point(request, point, in_sample(request, inputs, fold))[1]
            simulation, measured = running.run_point(request, point, after)
        results.append(FoldResult(fold, number, before, measured))
        parts.append(simulation)
    whole = cut(inputs, Window(folds[0].out_of_sample.start_ms, folds[-1].out_of_sample.end_ms), 0)
    stitched = stitch(whole.stage.open_time, parts, _capital(request))
    measured = metrics.measure(whole.stage, stitched, request.backtest.settings)
    known = [one.in_sample for one in results if one.in_sample is not None]
    figures = [getattr(one, request.rank_by) for one in known]
    annual = [one.annual_return_pct for one in known]
    return WalkForwardResult(
        folds=tuple(results),
        open_time=whole.stage.open_time,
        equity=stitched.equity,
        metrics=measured,
        in_sample_mean=_mean(figures),
        efficiency=_quotient(measured.annual_return_pct, _mean(annual)),
        profitable_folds_pct=sum(one.out_of_sample.total_return_pct > 0.0 for one in results)
        / len(results)
        * 100.0,
    )


def stitch(open_time: np.ndarray, parts: Sequence[Simulation], capital: float) -> Simulation:
    """One account on the grid `open_time` that goes through `parts` one after the other.

    Each part began with `capital`; its money is scaled to what the account held then. An
    account that is used up rests from then on.
    """
    equity = np.empty(len(open_time))
    held = np.zeros(len(open_time), dtype=np.bool_)
    records = []
    refused = dict.fromkeys(REFUSALS, 0)
    worth, row = capital, 0
    for part in parts:
        first = int(np.searchsorted(open_time, part.log.open_time[0]))
        rows = slice(first, first + len(part.equity))
        equity[row:first] = worth
        row = rows.stop
        if worth <= 0.0:
            equity[rows] = worth
            continue
        scale = worth / capital
        equity[rows] = part.equity * scale
        held[rows] = part.held
        records.append(_scaled(part.log.records, first, scale))
        for reason, count in part.refused.items():
            refused[reason] += count
        worth = float(equity[row - 1])
    equity[row:] = worth
    trades = np.concatenate(records) if records else np.empty(0, dtype=TRADE)
    return Simulation(
        log=TradeLog(trades, open_time),
        cash=np.empty(0),
        quantity=np.empty((0, 0)),
        equity=equity,
        held=held,
        questions=np.empty(0, dtype=QUESTION),
        unresolved=0,
        branching=0,
        refused=refused,
    )


def _scaled(records: np.ndarray, first: int, scale: float) -> np.ndarray:
    moved = records.copy()
    for name in ("signal_row", "entry_row", "exit_row"):
        moved[name] += first
    for name in _MONEY:
        moved[name] *= scale
    return moved


def _rest(request: SweepRequest, inputs: Inputs) -> tuple[Simulation, Metrics]:
    settings = request.backtest.settings
    simulation = simulate(inputs.stage, [Signals()] * len(inputs.frames), settings)
    return simulation, metrics.measure(inputs.stage, simulation, settings)


def _capital(request: SweepRequest) -> float:
    return float(request.backtest.settings.initial_capital)


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [float(value) for value in values if value is not None]
    return math.fsum(defined) / len(defined) if defined else None


def _quotient(part: float | None, whole: float | None) -> float | None:
    return None if part is None or whole is None or whole <= 0.0 else part / whole
