"""What all sources with one way to ask them share: the venue around them, and how they answer.

Such a source has no archive, and its first and last candle do not tell when an instrument
was listed: it reaches back a while from now, or as far as somebody collected.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from candlevault import windows
from candlevault.errors import NotOffered, UnknownSymbol
from candlevault.instruments import InstrumentFacts
from candlevault.providers.capabilities import Capabilities, Offer
from candlevault.providers.contract import Answer, Evidence, Traffic
from candlevault.providers.paging import gather, question, within_reach
from candlevault.series import Series
from candlevault.windows import Window

Clock = Callable[[], int]


def now_ms() -> int:
    """This machine's clock, ms UTC: these sources have none of their own to ask."""
    return time.time_ns() // 1_000_000


class SingleSource(ABC):
    """A CandleProvider (see the contract) of one market of one source.

    `name` is the source's and labels every candle. Rows are cut into calls of
    `Offer.rows` candles on a fixed grid; a window before the reach of the source is a
    Problem that names the reach. Prices are rounded half-even to eight places, missing
    volumes are 0. Raises NotOffered for a timeframe that the source does not have, and
    KeyMissing besides what the contract says.
    """

    def __init__(
        self,
        capabilities: Capabilities,
        market: str,
        traffic: Traffic,
        clock: Clock = now_ms,
    ) -> None:
        self.name = capabilities.provider
        self.capabilities = capabilities
        self.market = market
        self.traffic = traffic
        self._clock = clock

    def candles(self, series: Series, window: Window, closed_before_ms: int) -> Answer:
        """See CandleProvider."""
        if series.market != self.market:
            what = f"these are the {self.market} of {self.name}, not its {series.market}"
            raise NotOffered(what, provider=self.name, symbol=series.symbol)
        offer = self.capabilities.offer(series)
        asked = question(series, window, closed_before_ms)
        if asked is None:
            return Answer()
        days = self._reach_days(offer)
        near, beyond = within_reach(self.name, series, asked, days, self._clock())
        found = gather(
            _parts(near, series, offer),
            lambda part: self._ask(series, offer, part, closed_before_ms),
        )
        return Answer(found.pages, beyond + found.problems)

    @abstractmethod
    def instrument(self, symbol: str) -> InstrumentFacts:
        """What the source says of a symbol; raises UnknownSymbol."""

    @abstractmethod
    def _ask(self, series: Series, offer: Offer, part: Window, closed_before_ms: int) -> Answer:
        """The answer to one call for the open times of `part`, which is on the grid."""

    def _reach_days(self, offer: Offer) -> int | None:
        return offer.days

    def _unknown(self, symbol: str, why: str) -> UnknownSymbol:
        return UnknownSymbol(why, provider=self.name, symbol=symbol)


def _parts(asked: Window | None, series: Series, offer: Offer) -> Iterable[Window]:
    """What one call each is made for."""
    if asked is None:
        return ()
    if offer.rows is None:
        return (asked,)
    return windows.chunks(asked, series.timeframe, offer.rows)


@dataclass(slots=True)
class SingleSourceVenue:
    """A Venue (see the contract) around one source; `clock` stands for the venue's own."""

    venue: str
    market: str
    rest: SingleSource
    clock: Clock = now_ms
    archive: None = None
    witnesses: tuple[str, ...] = ("rest",)
    knows_life: bool = False
    funding: None = None

    def server_time_ms(self) -> int:
        """The clock, ms UTC."""
        return self.clock()

    def instrument(self, symbol: str) -> InstrumentFacts:
        """What the source says of a symbol; raises UnknownSymbol."""
        return self.rest.instrument(symbol)

    def first_candle(self, series: Series, from_ms: int = 0) -> Evidence:
        """Raises NotOffered: the source cannot tell."""
        raise self._cannot_tell("first", series)

    def last_candle(self, series: Series, before_ms: int | None = None) -> Evidence:
        """Raises NotOffered: the source cannot tell."""
        raise self._cannot_tell("last", series)

    def _cannot_tell(self, which: str, series: Series) -> NotOffered:
        return NotOffered(
            f"{self.venue} cannot tell which candle is its {which}",
            provider=self.rest.name,
            symbol=series.symbol,
        )
