"""Run a backtest and put its result into bytes that are the same every time.

Equal request, equal candles and equal code give equal bytes: nothing in a result depends
on the clock, the machine, the environment or the order of a dictionary.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from candlevault.backtest import metrics
from candlevault.backtest.data.frame import BacktestFrame
from candlevault.backtest.data.inputs import Inputs
from candlevault.backtest.engine.codes import INTRABAR_MODES, RESOLVED
from candlevault.backtest.engine.simulation import Simulation, simulate
from candlevault.backtest.engine.tables import Finer
from candlevault.backtest.engine.trades import Trade
from candlevault.backtest.evaluation import evaluate
from candlevault.backtest.metrics import Metrics
from candlevault.backtest.payload import BacktestRequest, canonical, payload_hash
from candlevault.backtest.signals import Signals
from candlevault.backtest.strategies import registry
from candlevault.backtest.trust import bounds
from candlevault.backtest.trust.bounds import Bounds
from candlevault.backtest.versions import code_versions
from candlevault.errors import InvalidRequest
from candlevault.windows import expected_open_times


class FinerSource(Protocol):
    """Who has the finer candles of bars in doubt."""

    def at_hand(self) -> Finer | None:
        """Those looked for so far; None before any was."""

    def look(self, simulation: Simulation) -> bool:
        """Look for those of the bars in doubt of a simulation; whether there was a new one."""

    def summary(self) -> dict[str, object]:
        """What stands in the result about them."""


@dataclass(frozen=True, slots=True, eq=False)
class BacktestResult:
    """Everything a run produced. `open_time` (int64 ms UTC) and `equity` (quote) have one
    value per grid row. `versions` names release, engine, sources and strategy; `data` says
    what was read: fingerprint, counts, absent mode and the caller's data version.
    """

    payload: dict
    payload_hash: str
    versions: dict[str, str]
    data: dict[str, object]
    signals: tuple[Signals, ...]
    simulation: Simulation
    metrics: Metrics
    bounds: Bounds

    @property
    def open_time(self) -> np.ndarray:
        """The grid, int64 ms UTC."""
        return self.simulation.log.open_time

    @property
    def equity(self) -> np.ndarray:
        """Equity at each row's close, quote."""
        return self.simulation.equity

    @property
    def trades(self) -> tuple[Trade, ...]:
        """The trades in the order in which they were closed."""
        return self.simulation.trades


def run(
    request: BacktestRequest,
    inputs: Inputs,
    *,
    data_version: str | None = None,
    finer: FinerSource | None = None,
) -> BacktestResult:
    """Signals, fills and metrics of `request` on `inputs`.

    `data_version` is what the caller knows about the state of the stored candles (such as
    the series' revision); it is only passed on. `finer` is asked in mode `resolved` until no
    new bar is in doubt. Raises InvalidRequest when the frames do not cover exactly the
    request's symbols, window, timeframe and absent mode, and StrategyFailed for a strategy
    that does not do what it should.
    """
    _refuse_other_frames(request, inputs.frames)
    strategy = registry.get(request.strategy.name)
    signals = signals_of(request, inputs)
    settings, symbols = request.settings, len(inputs.frames)
    mode = INTRABAR_MODES.index(request.intrabar.mode)
    resolving = finer if mode == RESOLVED else None
    simulation = simulate(
        inputs.stage, signals, settings, mode=mode, finer=resolving and resolving.at_hand()
    )
    while resolving is not None and resolving.look(simulation):
        simulation = simulate(
            inputs.stage, signals, settings, mode=mode, finer=resolving.at_hand()
        )
    present = sum(int(frame.present.sum()) for frame in inputs.frames)
    rows = sum(len(frame) for frame in inputs.frames)
    return BacktestResult(
        payload=canonical(request),
        payload_hash=payload_hash(request),
        versions={
            **code_versions(),
            "strategy": f"{strategy.name} {strategy.version}",
            **({"strategy_source": strategy.source} if strategy.source else {}),
        },
        data={
            "fingerprint": inputs.fingerprint(),
            "rows": rows,
            "present": present,
            "absent": rows - present,
            "absent_mode": request.data.absent,
            "warmup_bars": list(inputs.leads),
            "data_version": data_version,
            **({} if resolving is None else {"finer": resolving.summary()}),
        },
        signals=signals,
        simulation=simulation,
        metrics=metrics.measure(inputs.stage, simulation, settings),
        bounds=bounds.find(
            lambda mode, choices: simulate(
                inputs.stage, signals, settings, mode=mode, choices=choices
            ),
            simulation,
            settings,
            symbols,
            resolved=mode == RESOLVED,
        ),
    )


def signals_of(request: BacktestRequest, inputs: Inputs) -> tuple[Signals, ...]:
    """The signals of the request's strategy, one for each symbol, of the window's bars only."""
    strategy = registry.get(request.strategy.name)
    wished = []
    for bars, lead in zip(inputs.seen, inputs.leads, strict=True):
        (signals,) = evaluate(strategy, bars, [request.strategy.params])
        wished.append(signals.tail(lead))
    return tuple(wished)


def canonical_bytes(result: BacktestResult) -> bytes:
    """The whole result as UTF-8 JSON: sorted keys, no spaces, floats in their shortest exact
    form, times in ms UTC. The equity curve is given by its first open time and step.
    """
    times = result.open_time
    document = {
        "payload": result.payload,
        "payload_hash": result.payload_hash,
        "versions": result.versions,
        "data": result.data,
        "metrics": result.metrics.as_dict(),
        "bounds": result.bounds.as_dict(),
        "refused": result.simulation.refused,
        "trades": result.simulation.log.columns(),
        "equity": {
            "first_open_time": int(times[0]),
            "step": int(times[1] - times[0]) if len(times) > 1 else None,
            "values": result.equity.tolist(),
        },
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def result_hash(result: BacktestResult) -> str:
    """SHA-256 (hex) of `canonical_bytes`."""
    return hashlib.sha256(canonical_bytes(result)).hexdigest()


def _refuse_other_frames(request: BacktestRequest, frames: Sequence[BacktestFrame]) -> None:
    if len(frames) != len(request.all_series):
        raise InvalidRequest("frames", f"must be {len(request.all_series)}", len(frames))
    for frame in frames:
        if frame.timeframe != request.series.timeframe:
            raise InvalidRequest(
                "frame.timeframe", f"must be {request.series.timeframe}", frame.timeframe
            )
        if frame.absent != request.data.absent:
            raise InvalidRequest("frame.absent", f"must be {request.data.absent}", frame.absent)
        expected = expected_open_times(request.window, frame.timeframe)
        if not np.array_equal(expected, frame.open_time):
            raise InvalidRequest("frame.window", f"must hold the open times of {request.window}")
