"""Loading by priority: the first provider that delivers, each into its own venue's series.

A venue's stored series is only ever filled by that venue. What another provider answers in
its place is kept as what it is: a series of that provider.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from candlevault.errors import CandlevaultError, InvalidRequest, ProviderError, Unavailable
from candlevault.ingest.load import LoadFailed, LoadReport, Market, load
from candlevault.providers import priority
from candlevault.providers.capabilities import CAPABILITIES, CRYPTO
from candlevault.series import Series
from candlevault.timeframe import Timeframe
from candlevault.windows import Window

MarketOf = Callable[[str, str], Market]


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

    A provider without its key is skipped; one that fails, or leaves batches unanswered, is
    passed over. Raises NoneDelivered with everybody's reason.
    """

    def attempt(provider: str) -> tuple[Series, LoadReport]:
        series = series_at(provider, asset_class, symbol, timeframe)
        say(f"{symbol}: asking {provider} for {series}")
        try:
            report = load(market_of(series.venue, series.market), series, window, purpose="load")
        except LoadFailed as error:
            raise _cause(error, provider) from error
        if not report.stored:
            raise Unavailable(f"{series}: no candle came of {window}", provider=provider)
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


def _cause(error: LoadFailed, provider: str) -> CandlevaultError:
    return (
        Unavailable(str(error), provider=provider)
        if error.transient
        else ProviderError(str(error), provider=provider)
    )
