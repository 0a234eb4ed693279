"""Builders of small frames and payloads for the backtest tests."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from candlevault import timeframe as timeframes
from candlevault.backtest.data.frame import build_frame
from candlevault.windows import Window

START_MS = 1_704_067_200_000  # 2024-01-01T00:00:00Z, a Monday
REPOSITORY = Path(__file__).resolve().parents[2]


def _frame_of(rows, timeframe="1h", absent="mark", volume=1.0):
    """The frame of `rows`: (open, high, low, close), one price for a flat candle, or None
    for a candle that the venue never published; adjacent from 2024-01-01 on."""
    frame = timeframes.parse(timeframe)
    stored = [(i, (row,) * 4 if not isinstance(row, tuple) else row)
              for i, row in enumerate(rows) if row is not None]
    columns = {"open_time": np.array([START_MS + i * frame.step_ms for i, _ in stored])}
    for position, name in enumerate(("open", "high", "low", "close")):
        columns[name] = np.array([row[position] for _, row in stored], dtype=float)
    columns["volume"] = np.full(len(stored), volume)
    window = Window(START_MS, START_MS + len(rows) * frame.step_ms)
    return build_frame(frame, window, columns, absent=absent)


@pytest.fixture(scope="session")
def frame_of():
    return _frame_of


@pytest.fixture
def payload():
    """The smallest payload: required fields only."""
    return {
        "symbol": "BTCUSDT",
        "timeframe": "1h",
        "start_time": "2023-01-01T00:00:00Z",
        "end_time": "2024-01-01T00:00:00Z",
        "strategy": {"name": "sma_cross"},
    }


@pytest.fixture(scope="session")
def real_candles():
    """A function (market, symbol, timeframe) -> DataFrame of the shared candles; skips aloud
    where they are not at hand."""
    given = os.environ.get("CANDLEVAULT_SHARED_DATA")
    root = Path(given) if given else REPOSITORY.parent / "shared" / "data"

    def read(market: str, symbol: str, timeframe: str) -> pd.DataFrame:
        path = root / "klines" / market / symbol / f"{timeframe}.csv.gz"
        if not path.is_file():
            pytest.skip(
                f"real candles are not at hand: {path} is missing "
                "(set CANDLEVAULT_SHARED_DATA to the folder that holds klines/)"
            )
        columns = ["open_time", "open", "high", "low", "close", "volume"]
        with gzip.open(path, "rt") as text:
            return pd.read_csv(text, usecols=columns)[columns]

    return read
