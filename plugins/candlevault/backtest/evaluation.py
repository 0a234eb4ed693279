"""Signals and lines of any strategy: what goes wrong is a StrategyFailed that says where.

A built-in strategy is called in this process, one of the user's in a process of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from candlevault.backtest.data.frame import Bars
from candlevault.backtest.signals import Signals, checked
from candlevault.backtest.strategies.contract import Params, Strategy
from candlevault.backtest.user_strategies.description import ConfinedSignals
from candlevault.errors import CandlevaultError, InvalidRequest, StrategyFailed

_log = logging.getLogger(__name__)


def evaluate(strategy: Strategy, bars: Bars, params_list: Iterable[Params]) -> Generator[Signals]:
    """The checked signals on `bars` for each set of settings, in order.

    One process does all of them for a strategy of the user's, and is ended with the iterator.
    Raises StrategyFailed at the first set that fails.
    """
    count = len(bars.close)
    with closing(each(strategy, bars, [(params, count) for params in params_list])) as answers:
        for answer in answers:
            if isinstance(answer, StrategyFailed):
                raise answer
            yield answer


def each(
    strategy: Strategy, bars: Bars, wanted: Sequence[tuple[Params, int]]
) -> Generator[Signals | StrategyFailed]:
    """The checked signals for each pair of settings and a count of the oldest bars, in order.

    Where one fails, the error stands in its place. A process that ends raises StrategyFailed.
    """
    if isinstance(strategy.signals, ConfinedSignals):
        yield from strategy.signals.each(bars, wanted)
        return
    for params, count in wanted:
        try:
            yield checked(strategy.signals(bars.head(count), params), count)
        except StrategyFailed as failed:
            yield failed
        except InvalidRequest as error:
            yield failure(strategy, f"returned what cannot be traded: {error}")
        except CandlevaultError:
            raise
        except Exception as error:
            _log.exception("strategy %s failed", strategy.name)
            yield failure(strategy, f"raised {type(error).__name__}: {str(error)[:300]}")


def lines(
    strategy: Strategy, bars: Bars, params: Params
) -> tuple[dict[str, np.ndarray], str | None]:
    """The indicator arrays by name, and None; or none of them, and why.

    A strategy need not have any. Lines are for charts: no run calls this.
    """
    if strategy.lines is None:
        return {}, None
    try:
        return strategy.lines(bars, params), None
    except StrategyFailed as failed:
        return {}, str(failed)


def failure(strategy: Strategy, what: str) -> StrategyFailed:
    """The error that names the strategy and the beginning of its function `signals`."""
    function = strategy.signals
    if isinstance(function, ConfinedSignals):
        return StrategyFailed(strategy.name, what, file=function.file.file, line=function.line)
    code = getattr(function, "__code__", None)
    if code is None:
        return StrategyFailed(strategy.name, what)
    file = Path(code.co_filename).name
    return StrategyFailed(strategy.name, what, file=file, line=code.co_firstlineno)
