"""What a strategy wishes, short enough to be written beside the closes."""

from __future__ import annotations

from candlevault.backtest.data.frame import BacktestFrame
from candlevault.backtest.signals import Signals, checked
from candlevault.backtest.strategies import registry

LETTERS = {"enter_long": "L", "exit_long": "l", "enter_short": "S", "exit_short": "s"}


def signals_of(frame: BacktestFrame, name: str, **params: object) -> Signals:
    """The checked signals of the strategy called `name` on the bars of `frame`."""
    strategy, bars = registry.get(name), frame.bars()
    return checked(strategy.signals(bars, strategy.parse_params(params)), len(bars.close))


def wished(frame: BacktestFrame, name: str, **params: object) -> list[str]:
    """One word per bar: L and l to enter and leave long, S and s short, "" for nothing."""
    signals = signals_of(frame, name, **params)
    words = [""] * len(frame.bars().close)
    for side, letter in LETTERS.items():
        flags = getattr(signals, side)
        for row, flag in enumerate([] if flags is None else flags.tolist()):
            words[row] += letter if flag else ""
    return words
