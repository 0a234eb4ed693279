"""Whether a result depends on where its indicators start.

A moving average, and more so a recursive indicator, remembers what came before the window. The
same request is run with candles before the window as warm-up; a result one can trust hardly
changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from candlevault.backtest.data.inputs import Inputs
from candlevault.backtest.engine.simulation import Simulation, simulate
from candlevault.backtest.payload import BacktestRequest
from candlevault.backtest.result import BacktestResult, signals_of

BARS = 1000
"""Candles before the window that are taken to be enough for any usual indicator."""


def sensitivity(
    request: BacktestRequest,
    result: BacktestResult,
    inputs_with: Callable[[BacktestRequest], Inputs],
) -> dict[str, object]:
    """How result and trades differ when the strategy sees `BARS` candles before the window.

    `inputs_with(request)` gives the inputs of a request with more warm-up, of stored candles
    only. `status` is `measured`, or `not measured` with a `reason`. `changed_trades` counts
    trades of one run that the other does not have (same symbol, side, entry and exit time).
    """
    if request.data.warmup_bars >= BARS:
        return {"status": "not measured", "reason": f"the run itself warms up over {BARS} bars"}
    wider = replace(request, data=replace(request.data, warmup_bars=BARS))
    inputs = inputs_with(wider)
    if max(inputs.leads) <= request.data.warmup_bars:
        return {"status": "not measured", "reason": "no earlier candles are stored"}
    mode = "pessimistic"
    warmed = simulate(inputs.stage, signals_of(wider, inputs), request.settings)
    plain = (
        result.simulation
        if request.intrabar.mode == mode
        else simulate(inputs.stage, result.signals, request.settings)
    )
    before, after = _trades(plain), _trades(warmed)
    capital = request.settings.initial_capital
    return {
        "status": "measured",
        "bars": max(inputs.leads),
        "total_return_pct": _return_pct(plain, capital),
        "warmed_total_return_pct": _return_pct(warmed, capital),
        "trades": len(before),
        "warmed_trades": len(after),
        "changed_trades": len(before ^ after),
    }


def _return_pct(simulation: Simulation, capital: float) -> float:
    return (float(simulation.equity[-1]) / capital - 1.0) * 100.0


def _trades(simulation: Simulation) -> set[tuple]:
    records = simulation.log.records
    return set(
        zip(
            *(records[name].tolist() for name in ("symbol", "side", "entry_row", "exit_row")),
            strict=True,
        )
    )
