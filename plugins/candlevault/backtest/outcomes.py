"""From prepared inputs to everything that is stored of a run: checked, measured, judged."""

from __future__ import annotations

from dataclasses import asdict

from candlevault.backtest import result as results
from candlevault.backtest.data.preparation import Prepared
from candlevault.backtest.metrics import drawdowns
from candlevault.backtest.payload import BacktestRequest
from candlevault.backtest.result import BacktestResult
from candlevault.backtest.significance import bootstrap, random_entry, seed_of
from candlevault.backtest.strategies import registry
from candlevault.backtest.trust import lookahead, report
from candlevault.errors import StrategyFailed
from candlevault.storage.backtests import EquityCurve, Outcome
from candlevault.storage.database import Connect


def produce(connect: Connect, request: BacktestRequest, prepared: Prepared) -> Outcome:
    """Run `request` twice, check its strategy for lookahead, and measure what came out.

    Raises StrategyFailed for a strategy that changes its mind about the past or does not give
    the same result twice.
    """
    strategy = registry.get(request.strategy.name)
    seed = int(results.payload_hash(request)[:15], 16)
    checks = [
        lookahead.check(strategy, bars, request.strategy.params, seed=seed)
        for bars in prepared.inputs.seen
    ]
    result = results.run(
        request, prepared.inputs, data_version=prepared.fingerprint, finer=prepared.finer
    )
    if not report.repeats(request, prepared, result):
        raise StrategyFailed(strategy.name, "gave another result when it was run again")
    trust = report.build(connect, request, prepared, result, checks[0], same_again=True)
    return Outcome(
        trades=_named(result),
        equity=_curve(request, result),
        metrics=result.metrics.as_dict(),
        bounds=result.bounds.as_dict(),
        refused=result.simulation.refused,
        trust=trust,
        significance=_significance(request, prepared, result),
        versions=result.versions,
        data_summary=result.data,
        data_fingerprint=prepared.fingerprint,
        reads=prepared.reads,
        result_hash=results.result_hash(result),
    )


def _significance(
    request: BacktestRequest, prepared: Prepared, result: BacktestResult
) -> dict[str, object]:
    """Confidence intervals and the comparison with random entries, drawn by the payload."""
    around = (prepared.inputs.stage, result.simulation, request.settings)
    return {
        "bootstrap": asdict(
            bootstrap(*around, seed=seed_of(result.payload_hash, "bootstrap"))
        ),
        "random_entry": asdict(
            random_entry(*around, seed=seed_of(result.payload_hash, "random entry"))
        ),
    }


def _named(result: BacktestResult) -> dict[str, list]:
    """The trade log with the symbols by name."""
    names = [result.payload["symbol"], *result.payload["also"]]
    columns = result.simulation.log.columns()
    return {**columns, "symbol": [names[number] for number in columns["symbol"]]}


def _curve(request: BacktestRequest, result: BacktestResult) -> EquityCurve:
    equity = result.equity
    return EquityCurve(
        first_open_time_ms=int(result.open_time[0]),
        timeframe=request.series.timeframe.code,
        equity=equity.tolist(),
        drawdown_pct=drawdowns.curve(equity).tolist(),
    )
