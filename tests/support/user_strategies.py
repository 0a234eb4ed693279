"""Strategies of the user for tests: how a file is written, and where a planted line lies."""

from __future__ import annotations

import hashlib
import textwrap
from pathlib import Path

import numpy as np

from candlevault.backtest.data.frame import Bars
from candlevault.backtest.user_strategies.folder import StrategyFile

HOUR_MS = 3_600_000
START_MS = 1_704_067_200_000  # 2024-01-01T00:00:00Z

ABOVE_THE_MEAN = "return Signals(enter_long=bars.close > 100.0, exit_long=bars.close < 100.0)"
"""The body of an honest function `signals`."""

_FILE = """\
import numpy as np

from candlevault.backtest.signals import Signals
from candlevault.backtest.strategies.contract import Ascending, Parameter, Strategy
{top}

def lines(bars, params):
{lines}


def signals(bars, params):
{signals}


STRATEGY = Strategy(
    name={name!r}, version="1", title="Planted", description="Planted by a test.",
    parameters=({parameters}), signals=signals, lines=lines, {more}
)
"""


def text(
    signals: str = ABOVE_THE_MEAN,
    *,
    name: str = "planted",
    top: str = "",
    lines: str = "return {}",
    parameters: str = "",
    more: str = "",
) -> str:
    """The file of a strategy with the given bodies of its functions."""
    bodies = {
        word: textwrap.indent(textwrap.dedent(body).strip("\n"), "    ")
        for word, body in {"signals": signals, "lines": lines}.items()
    }
    return _FILE.format(
        name=name, top=textwrap.dedent(top), parameters=parameters, more=more, **bodies
    )


def file_of(source: str | bytes, name: str = "planted") -> StrategyFile:
    """The file as the folder would give it."""
    if isinstance(source, str):
        source = source.encode()
    return StrategyFile(name, f"{name}.py", source, hashlib.sha256(source).hexdigest())


def write(folder: Path, name: str, source: str | bytes | None = None) -> Path:
    """Put the file of the strategy `name` into `folder`."""
    source = text(name=name) if source is None else source
    path = folder / f"{name}.py"
    path.write_bytes(source.encode() if isinstance(source, str) else source)
    return path


def line_of(source: str, mark: str = "# here") -> int:
    """The number of the first line that holds `mark`."""
    return next(n for n, line in enumerate(source.splitlines(), 1) if mark in line)


def bars_of(count: int = 400, seed: int = 1) -> Bars:
    """A walk around 100, hour by hour from 2024-01-01."""
    chance = np.random.default_rng(seed)
    close = 100.0 + np.cumsum(chance.normal(0.0, 1.0, count)) % 20.0 - 10.0
    high, low = close + chance.random(count), close - chance.random(count)
    open_time = START_MS + HOUR_MS * np.arange(count, dtype=np.int64)
    return Bars(open_time, close, high, low, close, chance.random(count) + 1.0)
