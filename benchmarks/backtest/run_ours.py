"""Our side: a run from candles to metrics, and a sweep over the grid."""

from __future__ import annotations

import datetime

from benchmarks import serving
from benchmarks.backtest import workload
from candlevault import timeframe
from candlevault.backtest import metrics
from candlevault.backtest.data.frame import BacktestFrame, build_frame
from candlevault.backtest.data.inputs import Inputs
from candlevault.backtest.engine import simulation
from candlevault.backtest.metrics import Metrics
from candlevault.backtest.risk import Settings
from candlevault.backtest.search import parsing, running
from candlevault.backtest.strategies import sma_cross
from candlevault.windows import Window

SETTINGS = Settings(initial_capital=workload.CAPITAL, fee_rate=workload.FEE_RATE)
NAMES = {
    "final_equity": "final_equity",
    "max_drawdown_pct": "max_drawdown_pct",
    "win_rate_pct": "win_rate_pct",
    "profit_factor": "profit_factor",
    "trades": "trade_count",
}


def frame_of(rows: int = workload.ROWS) -> BacktestFrame:
    candles = workload.candles(rows)._asdict()
    end_ms = workload.START_MS + rows * workload.HOUR_MS
    candles["volume"] = candles["close"]
    return build_frame(timeframe.parse("1h"), Window(workload.START_MS, end_ms), candles)


def prepare_one():
    params = {"fast": workload.FAST, "slow": workload.SLOW}

    def ready():
        # A frame of its own for every run, so that nothing is remembered.
        frame = frame_of()

        def run() -> list[Metrics]:
            stage = simulation.stage([frame])
            signals = sma_cross.signals(stage.bars[0], params)
            done = simulation.simulate(stage, [signals], SETTINGS)
            return [metrics.measure(stage, done, SETTINGS)]

        return run

    ready()()
    return ready


def prepare_sweep():
    # Compiled code comes from its cache; the first sweep would load it.
    swept(500)
    return lambda: swept


def swept(rows: int = workload.ROWS) -> list[Metrics]:
    frame = frame_of(rows)
    end = datetime.datetime.fromtimestamp(frame.window.end_ms / 1000, datetime.UTC)
    request = parsing.parse(
        {
            "backtest": {
                "symbol": "BTCUSDT",
                "timeframe": "1h",
                "start_time": "2020-01-01T00:00:00Z",
                "end_time": end.isoformat(),
                "strategy": {"name": "sma_cross"},
                "initial_capital": workload.CAPITAL,
                "fee_rate": workload.FEE_RATE,
            },
            "search": {
                "params": {"fast": list(workload.GRID_FAST), "slow": list(workload.GRID_SLOW)}
            },
        }
    )
    numbers = range(1, len(request) + 1)
    return running.evaluate(request, numbers, Inputs.of([frame]), lambda found: found)


def figures(found: list[Metrics]) -> serving.Figures:
    return {name: [getattr(one, field) for one in found] for name, field in NAMES.items()}


if __name__ == "__main__":
    serving.serve("", {"one": prepare_one, "sweep": prepare_sweep}, figures)
