"""Trades that follow from conventions, walked candle by candle and written apart from engines."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tests.support.backtest_peers import LEVELS, Market


def high_first(open_: float, high: float, low: float, cut_off: bool) -> bool:
    """Whether nautilus_trader's adaptive order goes to the high first: it is nearer to the open.

    It compares the distances in units of 1e-16 and in 64 bits, which hold 922.34 of them at
    most (either sign): what is beyond is `cut_off`.
    """

    def distance(one: float, other: float) -> int:
        units = (round(one * 1e8) - round(other * 1e8)) * 10**8
        return abs((units + 2**63) % 2**64 - 2**63) if cut_off else units

    return distance(high, open_) < distance(open_, low)


@dataclass(frozen=True)
class Conventions:
    """What the engines differ in.

    `fill`: at the `open` after a wish or at its `close`. `watched`: stop and target are looked
    for in the candle of the entry too. `exit_first`: an exit due at an open comes before the
    stop or target that the candle touches. `open_first`: a target that the open has passed comes
    before the stop that the candle touches later. `both`: what a candle that touches both takes:
    the `stop`, the `target`, or what lies on the side `nearer` to its open. `better`: a target
    that the open has passed is filled at the open. `base`: levels refer to the price `paid` or to
    the close of the `signal`. `end`: what is open at the end is left at the last `close` or
    `open`.
    """

    fill: str = "open"
    watched: bool = True
    exit_first: bool = True
    open_first: bool = True
    both: str = "stop"
    better: bool = True
    base: str = "paid"
    end: str = "close"


OURS = Conventions()


def rules_of_thumb(market: Market, strategy: str, rules: Conventions) -> list[tuple]:
    """The trades that follow from `rules`, walked candle by candle; written apart from engines."""
    wishes, trades, free = market.wishes[strategy], [], 0
    for signal in np.flatnonzero(wishes.enter_long[:-1]).tolist():
        if signal < free:
            continue
        at_close = rules.fill == "close"
        paid = float(market.close[signal] if at_close else market.open[signal + 1])
        free, got = _left(market, strategy, rules, signal, paid)
        trades.append((signal if at_close else signal + 1, free, paid, got))
    return trades


def _left(market, strategy, rules, signal, paid) -> tuple[int, float]:
    base = paid if rules.base == "paid" else float(market.close[signal])
    stop, target = LEVELS[strategy] or (100.0, math.inf)
    stop, target = base * (100.0 - stop) / 100.0, base * (100.0 + target) / 100.0
    leave = market.wishes[strategy].exit_long
    for candle in range(signal + 1, len(market.close)):
        open_ = float(market.open[candle])
        due = bool(leave[candle - 1]) and candle - 1 > signal
        if due and rules.exit_first:
            at_close = rules.fill == "close"
            return (candle - 1, float(market.close[candle - 1])) if at_close else (candle, open_)
        if rules.watched or candle > signal + 1:
            price = _touched(market, rules, candle, open_, stop, target)
            if price is not None:
                return candle, price
        if due:
            return candle, open_
    last = len(market.close) - 1
    return last, float((market.close if rules.end == "close" else market.open)[last])


def _touched(market, rules, candle, open_, stop, target) -> float | None:
    high, low = float(market.high[candle]), float(market.low[candle])
    if open_ <= stop or (open_ >= target and (rules.open_first or low > stop)):
        return open_ if rules.better else min(open_, target)
    if low <= stop and high >= target:
        nearer = target if high_first(open_, high, low, cut_off=True) else stop
        return {"stop": stop, "target": target, "nearer": nearer}[rules.both]
    return stop if low <= stop else target if high >= target else None
