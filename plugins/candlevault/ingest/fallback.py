"""Loading by priority: the first provider that delivers, each into its own venue's series.

A venue's stored series is only ever filled by that venue. What another provider answers in
its place is kept as what it is: a series of that provider.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from candlevault.errors import (
    CandlevaultError,
    InvalidRequest,
    NotOffered,
    ProviderError,
    Unavailable,
)
from candlevault.ingest.load import LoadFailed, LoadReport, Market, load
from candlevault.providers import priority
from candlevault.providers.capabilities import CAPABILITIES, CRYPTO
from candlevault.providers.contract import Answer, CandleProvider, Problem
from candlevault.series import Series
from candlevault.storage import candle_reads, series_registry
from candlevault.timeframe import Timeframe
from candlevault.windows import Window

MarketOf = Callable[[str, str], Market]

_DELAY_MS = 2 * 86_400_000
"""Plans that answer a day late reach far enough all the same."""


@dataclass(frozen=True, slots=True)
class FallbackReport:
    """Who delivered, into which series, and why those before did not. Plain values only."""

    asset_class: str
    symbol: str
    provider: str
    series: str
    passed_over: list[str]
    load: dict[str, object]

    def as_dict(self) -> dict[str, object]:
        """The report as JSON-able values."""
        return asdict(self)

    def __str__(self) -> str:
        passed = f" (passed over: {'; '.join(self.passed_over)})" if self.passed_over else ""
        return f"{self.symbol}: {self.provider} delivered, stored as {self.series}{passed}"


def series_at(provider: str, asset_class: str, symbol: str, timeframe: Timeframe) -> Series:
    """The series that a provider would fill for a symbol of a class of assets.

    Sources without a market of their own quote coins in dollars: BTCUSDT is their BTCUSD.
    """
    if provider in CAPABILITIES:
        if asset_class == CRYPTO and symbol.endswith("USDT"):
            symbol = symbol.removesuffix("T")
        return Series(provider, asset_class, symbol, timeframe)
    if asset_class != CRYPTO:
        raise InvalidRequest("provider_priority", f"serves no {asset_class}", provider)
    return Series(provider, "spot", symbol, timeframe)


def load_by_priority(
    market_of: MarketOf,
    asset_class: str,
    symbol: str,
    timeframe: Timeframe,
    window: Window,
    order: Sequence[str],
    has_key: Callable[[str], bool],
    say: Callable[[str], None] = print,
) -> FallbackReport:
    """Load `window` from the first provider of `order` that delivers it.

    One has delivered when it left nothing unanswered, reaches back to all of the window, and
    a candle of the window is stored. A provider without its key, or that this home cannot
    ask, is passed over; so is one that did not deliver, and what it brought stays stored in
    its own series. Raises NoneDelivered with everybody's reason.
    """

    def attempt(provider: str) -> tuple[Series, LoadReport]:
        try:
            series = series_at(provider, asset_class, symbol, timeframe)
            market = market_of(series.venue, series.market)
        except InvalidRequest as error:
            raise ProviderError(str(error), provider=provider) from error
        say(f"{symbol}: asking {provider} for {series}")
        refused: list[Problem] = []
        noting = replace(market.venue, rest=_Noting(market.venue.rest, refused))
        try:
            report = load(replace(market, venue=noting), series, window, purpose="load")
        except LoadFailed as error:
            raise _cause(error, provider) from error
        if not report.stored:
            raise Unavailable(f"{series}: no candle came of {window}", provider=provider)
        beyond = _out_of_reach(market, series, window, refused)
        if beyond is not None:
            raise NotOffered(f"{series}: {beyond.error}", provider=provider)
        return series, report

    tried = priority.candidates(order, asset_class, timeframe.code, has_key)
    done = priority.try_in_order(tried, attempt)
    series, report = done.value
    return FallbackReport(
        asset_class,
        symbol,
        done.provider,
        str(series),
        [f"{one.provider}: {one.reason}" for one in done.passed_over],
        report.as_dict(),
    )


class _Noting:
    """A provider as it is; what it refuses because it does not offer it is noted."""

    def __init__(self, provider: CandleProvider, refused: list[Problem]) -> None:
        self._provider = provider
        self._refused = refused

    def __getattr__(self, name: str) -> Any:
        return getattr(self._provider, name)

    def candles(self, series: Series, window: Window, closed_before_ms: int) -> Answer:
        answer = self._provider.candles(series, window, closed_before_ms)
        self._refused += [one for one in answer.problems if isinstance(one.error, NotOffered)]
        return answer


def _out_of_reach(
    market: Market, series: Series, window: Window, refused: Sequence[Problem]
) -> Problem | None:
    """The first refusal that keeps candles of the window lost, the newest ones aside."""
    old = window.intersection(Window(0, market.venue.server_time_ms() - _DELAY_MS))
    if old is None or not refused:
        return None
    with market.connect() as connection:
        stored = series_registry.find(connection, series)
        assert stored is not None
        lost = candle_reads.account(connection, stored, old).lost_windows
    return next(
        (one for one in refused if any(one.window.intersection(part) for part in lost)), None
    )


def _cause(error: LoadFailed, provider: str) -> CandlevaultError:
    return (
        Unavailable(str(error), provider=provider)
        if error.transient
        else ProviderError(str(error), provider=provider)
    )
