"""Run a backtest and put its result into bytes that are the same every time.

Equal request, equal candles and equal code give equal bytes: nothing in a result depends
on the clock, the machine, the environment or the order of a dictionary.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass

import numpy as np

from candlevault.backtest import engine, metrics
from candlevault.backtest.engine import Trade
from candlevault.backtest.frame import BacktestFrame
from candlevault.backtest.metrics import Metrics
from candlevault.backtest.payload import BacktestRequest, canonical, payload_hash
from candlevault.backtest.strategies import registry
from candlevault.backtest.versions import code_versions
from candlevault.errors import InvalidRequest
from candlevault.windows import expected_open_times


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
    open_time: np.ndarray
    equity: np.ndarray
    trades: tuple[Trade, ...]
    metrics: Metrics


def run(
    request: BacktestRequest, frame: BacktestFrame, *, data_version: str | None = None
) -> BacktestResult:
    """Signals, fills and metrics of `request` on `frame`.

    `data_version` is what the caller knows about the state of the stored candles (such as
    the series' revision); it is only passed on. Raises InvalidRequest when the frame does
    not cover exactly the request's window, timeframe and absent mode.
    """
    _refuse_other_frame(request, frame)
    strategy = registry.get(request.strategy.name)
    signals = strategy.signals(frame.bars(), request.strategy.params)
    costs = {
        "initial_capital": request.initial_capital,
        "fee_rate": request.fee_rate,
        "slippage_bps": request.slippage_bps,
    }
    simulation = engine.simulate(frame, signals, risk=request.risk, **costs)
    present = int(frame.present.sum())
    return BacktestResult(
        payload=canonical(request),
        payload_hash=payload_hash(request),
        versions={**code_versions(), "strategy": f"{strategy.name} {strategy.version}"},
        data={
            "fingerprint": frame.fingerprint(),
            "rows": len(frame),
            "present": present,
            "absent": len(frame) - present,
            "absent_mode": frame.absent,
            "data_version": data_version,
        },
        open_time=frame.open_time,
        equity=simulation.equity,
        trades=simulation.trades,
        metrics=metrics.measure(frame, simulation, **costs),
    )


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
        "trades": [dataclasses.asdict(trade) for trade in result.trades],
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


def _refuse_other_frame(request: BacktestRequest, frame: BacktestFrame) -> None:
    if frame.timeframe != request.series.timeframe:
        raise InvalidRequest(
            "frame.timeframe", f"must be {request.series.timeframe}", frame.timeframe
        )
    if frame.absent != request.data.absent:
        raise InvalidRequest("frame.absent", f"must be {request.data.absent}", frame.absent)
    expected = expected_open_times(request.window, frame.timeframe)
    if not np.array_equal(expected, frame.open_time):
        raise InvalidRequest("frame.window", f"must hold the open times of {request.window}")
