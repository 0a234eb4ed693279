"""Sweeps over frames made by hand: the request that fits a frame, and candles that wander."""

from __future__ import annotations

import numpy as np

from candlevault import timeframe as timeframes
from candlevault.backtest.data.frame import BacktestFrame, build_frame
from candlevault.backtest.search.parsing import parse
from candlevault.backtest.search.request import SweepRequest
from candlevault.windows import Window

START_MS = 1_704_067_200_000  # 2024-01-01T00:00:00Z, a Monday


def text_of(ms: int) -> str:
    """The time of a payload."""
    return timeframes.from_ms(ms).isoformat().replace("+00:00", "Z")


def payload_over(frame: BacktestFrame, strategy="sma_cross", params=None, **more) -> dict:
    """The payload of one backtest over the window of `frame`, without fees unless given."""
    return {
        "symbol": "BTCUSDT",
        "timeframe": frame.timeframe.code,
        "start_time": text_of(frame.window.start_ms),
        "end_time": text_of(frame.window.end_ms),
        "strategy": {"name": strategy, "params": params or {}},
        "fee_rate": 0.0,
        "data": {"absent": frame.absent},
    } | more


def sweep_over(frame: BacktestFrame, search: dict, *, backtest=None, **more) -> SweepRequest:
    """The request of a sweep over `frame`; `backtest` changes the payload of one backtest."""
    given = payload_over(frame, **(backtest or {}))
    return parse({"backtest": given, "search": search, **more})


def wandering(
    count: int, *, seed: int = 1, timeframe: str = "1h", absent: str = "mark", holes=()
) -> BacktestFrame:
    """`count` candles of a random walk from 2024-01-01 on; rows in `holes` were never published."""
    chance = np.random.default_rng(seed)
    close = 100.0 * np.cumprod(1.0 + chance.normal(0.0, 0.01, count))
    open_ = np.concatenate([[100.0], close[:-1]])
    spread = 1.0 + np.abs(chance.normal(0.0, 0.004, (2, count)))
    return frame_from(
        {
            "open": open_,
            "high": np.maximum(open_, close) * spread[0],
            "low": np.minimum(open_, close) / spread[1],
            "close": close,
            "volume": np.ones(count),
        },
        timeframe=timeframe,
        absent=absent,
        holes=holes,
    )


def frame_from(
    columns: dict[str, np.ndarray], *, timeframe: str = "1h", absent: str = "mark", holes=()
) -> BacktestFrame:
    """The frame of adjacent candles from 2024-01-01 on."""
    step = timeframes.parse(timeframe)
    count = len(columns["close"])
    kept = np.setdiff1d(np.arange(count), np.asarray(list(holes), dtype=np.int64))
    window = Window(START_MS, START_MS + count * step.step_ms)
    candles = {"open_time": START_MS + kept * step.step_ms}
    candles |= {name: column[kept] for name, column in columns.items()}
    return build_frame(step, window, candles, absent=absent)
