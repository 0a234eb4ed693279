"""Funding of perpetual futures: what longs pay to shorts, event by event.

An event is settled at its funding time: whoever holds a position then pays or receives
rate * notional. A venue's clock is a few milliseconds late at it, so events belong to the
minute they lie in, and whatever is loaded or read is loaded or read by whole minutes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from candlevault import identities
from candlevault.identities import Share
from candlevault.provenance import Fetch
from candlevault.series import Series
from candlevault.timeframe import ALL as TIMEFRAMES
from candlevault.windows import Window

MINUTE_MS = 60_000
LONGEST_INTERVAL_MS = 8 * 3_600_000
"""No contract of Binance is funded less often; some are every four hours, or every hour."""

_PAYING_MARKETS = ("um",)


def is_paid(market: str) -> bool:
    """Whether positions in this market pay funding: perpetual futures do, spot does not."""
    return market in _PAYING_MARKETS


@dataclass(frozen=True, slots=True)
class FundingEvent:
    """One settlement: `time_ms` as the venue told it, ms UTC; `rate` a part of the notional,
    positive where longs pay; `mark_price` in quote, None where the venue told none."""

    time_ms: int
    rate: Decimal
    mark_price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class FundingPage:
    """One answer: the events inside `covers`, strictly ascending, which it answers completely."""

    covers: Window
    events: tuple[FundingEvent, ...]
    fetch: Fetch


class FundingEvents(NamedTuple):
    """Events as a backtest reads them, ascending: int64 ms UTC and float64 rates."""

    times: np.ndarray
    rates: np.ndarray


def whole_minutes(window: Window) -> Window:
    """The window widened to whole minutes."""
    return Window(
        window.start_ms - window.start_ms % MINUTE_MS, window.end_ms + -window.end_ms % MINUTE_MS
    )


def shares(series: Series) -> list[Share]:
    """The instruments that the series' symbol has meant, each with its part of the time axis.

    Cut by minutes, not on the series' grid: an event is that of one instrument, whichever
    timeframe is tested.
    """
    return identities.shares(replace(series, timeframe=TIMEFRAMES["1m"]))


def silences(times: np.ndarray) -> list[Window]:
    """Where two events follow each other later than any contract's interval, ascending.

    A window begins with the earlier event and ends with the later one. Before the first and
    after the last event nothing is silent: a contract has a beginning and an end.
    """
    late = np.flatnonzero(np.diff(times) > LONGEST_INTERVAL_MS + MINUTE_MS)
    return [Window(int(times[i]), int(times[i + 1])) for i in late]
