"""What a backtest or a sweep calls where candles or funding are missing."""

from __future__ import annotations

from collections.abc import Callable

from candlevault.ingest import funding, syncs
from candlevault.ingest.load import Market
from candlevault.series import Series
from candlevault.windows import Window

Fetch = Callable[[Series, Window], object]


def candles_by(market: Market) -> Fetch:
    """A function that loads the missing candles of a window, and says so first."""

    def fetch(series: Series, window: Window) -> object:
        market.say(f"{series}: candles of {window} are missing; loading them first")
        return syncs.load(market, series, window, purpose="backtest")

    return fetch


def funding_by(market: Market) -> Fetch:
    """A function that loads the missing funding of a window, and says so first."""

    def fetch(series: Series, window: Window) -> object:
        market.say(f"{series}: funding of {window} is missing; loading it first")
        return funding.load(market, series, window)

    return fetch
