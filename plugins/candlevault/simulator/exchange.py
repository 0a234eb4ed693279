"""The simulated exchange: candles, clock, budgets, faults and counts in one object."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from candlevault.errors import ConfigurationError
from candlevault.simulator.clock import MINUTE_MS, Clock, instant_ms, iso
from candlevault.simulator.data import ReplayFiles
from candlevault.simulator.faults import FaultBook
from candlevault.simulator.published import PublishedArchives
from candlevault.simulator.restate import Restatements
from candlevault.simulator.source import CandleSeries, Source
from candlevault.simulator.stats import Stats
from candlevault.simulator.walk import Walk
from candlevault.simulator.weights import FIRST_BAN_SECONDS, Budget

SPOT_WEIGHT_LIMIT = 6000
UM_WEIGHT_LIMIT = 2400
FUNDING_CALLS, FUNDING_MINUTES = 500, 5


@dataclass
class Exchange:
    """All state of a running simulator. `reset` brings back the state of the start."""

    source: Source
    clock: Clock
    budgets: dict[str, Budget]
    latency_ms: int = 0
    published: PublishedArchives | None = None
    faults: FaultBook = field(default_factory=FaultBook)
    restatements: Restatements = field(default_factory=Restatements)
    stats: Stats = field(default_factory=Stats)
    funding_budget: Budget = field(
        default_factory=lambda: Budget(FUNDING_CALLS, minutes=FUNDING_MINUTES)
    )

    def __post_init__(self) -> None:
        self._home = (None if self.clock.is_real else self.clock.now_ms(), self.clock.running)

    def reset(self) -> None:
        """Faults off, history as it was, counts and budgets at zero, clock where it stood at
        the start."""
        self.faults.clear()
        self.restatements.clear()
        self.stats.reset()
        for budget in (*self.budgets.values(), self.funding_budget):
            budget.reset()
        self.clock.set(*self._home)

    def is_trading(self, market: str, symbol: str) -> bool:
        """False once the instrument has ended by the venue's clock."""
        ended = self.source.ended_ms(market, symbol)
        return ended is None or ended > self.clock.now_ms()

    def listed(self, market: str) -> list[str]:
        """The symbols that REST knows: not those that it has forgotten."""
        return [
            symbol
            for symbol in self.source.symbols(market)
            if not self.source.is_forgotten(market, symbol) or self.is_trading(market, symbol)
        ]

    def series(self, surface: str, market: str, symbol: str, timeframe: str) -> CandleSeries:
        """A series as a surface (`rest`, `monthly`, `daily`) tells it; raises NoCandleData."""
        told = self.source.series(market, symbol, timeframe)
        return self.restatements.over(told, surface, (market, symbol, timeframe))

    def __str__(self) -> str:
        return f"{self.source.label}, venue time {iso(self.clock.now_ms())}"


def build_exchange(
    exchange: str,
    *,
    now: str | int | None = None,
    end: str | int | None = None,
    seed: int = 7,
    symbols: tuple[str, ...] | None = None,
    pieces: tuple[str, ...] = (),
    latency_ms: int = 0,
    weight_limit: int | None = None,
    ban_after: int = 10,
    ban_seconds: int = FIRST_BAN_SECONDS,
) -> Exchange:
    """The exchange that `replay:DIR` or `simulated` names.

    The clock stands frozen at `now`, else one minute after `end`; without both a replay
    stands one minute after the close of its biggest file and the walk runs with the real
    time. Instants are ISO or epoch milliseconds. Raises ConfigurationError or InvalidRequest.
    """
    published = None
    source: ReplayFiles | Walk
    if exchange.startswith("replay:"):
        root = Path(exchange.removeprefix("replay:")).expanduser()
        if not root.is_dir():
            raise ConfigurationError(f"{root}: no such replay directory")
        source = ReplayFiles(root, pieces, symbols)
        published = PublishedArchives.find(root)
    elif exchange == "simulated":
        if pieces:
            raise ConfigurationError("pieces belong to replay:DIR")
        source = Walk(seed, symbols)
    else:
        raise ConfigurationError(f"exchange {exchange!r}: must be replay:DIR or simulated")

    if now is not None:
        now_ms: int | None = instant_ms(now, "now")
    elif end is not None:
        now_ms = instant_ms(end, "end") + MINUTE_MS
    elif isinstance(source, ReplayFiles):
        biggest = source.biggest()
        if biggest is None:
            raise ConfigurationError(f"{source.root}: no candle file to take the time from")
        now_ms = biggest.last_ms + biggest.timeframe.step_ms + MINUTE_MS
    else:
        now_ms = None
    limits = {"spot": SPOT_WEIGHT_LIMIT, "um": UM_WEIGHT_LIMIT}
    budgets = {
        market: Budget(weight_limit or limit, ban_after, ban_seconds)
        for market, limit in limits.items()
    }
    return Exchange(source, Clock(now_ms), budgets, latency_ms, published)
