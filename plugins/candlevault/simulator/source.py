"""What the exchange needs from whoever supplies its candles (replay files or the walk)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from candlevault.errors import CandlevaultError
from candlevault.simulator.block import Block, Row
from candlevault.timeframe import Timeframe


class NoCandleData(CandlevaultError):
    """The simulator itself lacks what a real venue would have. Answered as HTTP 503."""


class CandleSeries(Protocol):
    """The final candles of one market, symbol and timeframe, the future ones included."""

    timeframe: Timeframe
    first_ms: int
    """Open time of the first candle: the listing."""

    last_ms: int | None
    """Open time of the last candle held; None when there is no end."""

    ended_ms: int | None
    """When the instrument ended; None while it lives."""

    name: str
    """What messages call it, such as `replay data of BTCUSDT 1h`."""

    def blocks(self, first_ms: int, last_ms: int, newest_first: bool) -> Iterator[Block]:
        """Blocks that together hold every candle with first_ms <= open_time <= last_ms.

        Blocks may hold more on both sides; they come in the order asked for.
        """

    def has_candle(self, first_ms: int, last_ms: int) -> bool:
        """Whether a candle opens in first_ms <= open_time <= last_ms."""


@dataclass(frozen=True, slots=True)
class FundingRow:
    """One settlement of funding as Binance answers it: texts as sent, `mark_price` may be ""."""

    time_ms: int
    rate: str
    mark_price: str


class FundingRates(Protocol):
    """The funding rates of one contract, the future ones included."""

    name: str
    """What messages call them."""

    first_ms: int
    """When the first one was settled."""

    until_ms: int | None
    """From here on nothing is held, though there ought to be some; None: there is no end."""

    def between(
        self, first_ms: int, last_ms: int, limit: int, *, newest: bool = False
    ) -> list[FundingRow]:
        """What is settled in first_ms to last_ms, both inclusive, ascending: the oldest
        `limit` of it, or the newest."""


class Source(Protocol):
    """All series of a venue."""

    label: str
    """What the ready line calls it, such as `replay /data`."""

    def symbols(self, market: str) -> list[str]:
        """Sorted symbols the venue knows in `market`."""

    def timeframes(self, market: str, symbol: str) -> list[str]:
        """Timeframe codes with candles, finest first."""

    def series(self, market: str, symbol: str, timeframe: str) -> CandleSeries:
        """The series; raises NoCandleData when the venue lacks it."""

    def funding(self, market: str, symbol: str) -> FundingRates:
        """The funding rates of a perpetual contract; raises NoCandleData when they lack."""

    def ended_ms(self, market: str, symbol: str) -> int | None:
        """When the instrument ended, or None."""

    def is_forgotten(self, market: str, symbol: str) -> bool:
        """Whether REST knows the instrument no more once it has ended."""

    def describe(self, market: str, symbol: str, timeframe: str) -> dict:
        """What is known of a series, for the control listing."""


def find_row(series: CandleSeries, open_ms: int) -> Row | None:
    """The candle that opens at `open_ms`, or None."""
    for block in series.blocks(open_ms, open_ms, True):
        i, j = block.span(open_ms, open_ms)
        if i < j:
            return block.rows(i, j)[0]
    return None
