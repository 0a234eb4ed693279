"""What the tasks do that look beyond the configured series: all pairs, other providers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from candlevault import config
from candlevault.ingest import fallback, many, retention, universe
from candlevault.ingest.load import Market
from candlevault.orchestration import runtime
from candlevault.orchestration.house import START
from candlevault.orchestration.series_tasks import refuse_unknown_keys, window_of
from candlevault.providers import priority
from candlevault.providers.capabilities import CAPABILITIES, CRYPTO
from candlevault.series import Series, canonical_symbol
from candlevault.series import parse as parse_series
from candlevault.storage import series_registry
from candlevault.timeframe import from_ms
from candlevault.timeframe import parse as parse_timeframe
from candlevault.windows import Window


def refresh_universe(params: Mapping[str, object]) -> dict[str, object]:
    """Task: ask the venue for every pair; returns them, and in which groups to load them."""
    with runtime.task_errors():
        refuse_unknown_keys(params)
        configured = config.universe()
        market = runtime.market(config.setting("CANDLEVAULT_VENUE"), configured.market)
        report = universe.refresh(market, configured.quote_asset)
        market.say(str(report))
        extended = configured.extended
        load = extended.enabled if params.get("load") is None else bool(params["load"])
        symbols = [*report.active, *report.ended] if load else []
        series = [
            Series(market.venue.venue, configured.market, symbol, parse_timeframe(code))
            for symbol in symbols
            for code in extended.timeframes
        ]
        window = Window.of(extended.start, from_ms(market.venue.server_time_ms()))
        estimate = many.storage_estimate(series, window)
        market.say(
            f"{estimate['series']} series to load: at most {estimate['candles_at_most']:,}"
            f" candles, about {estimate['bytes'] / 1e6:,.0f} MB"
        )
        groups = [series[i :: extended.groups] for i in range(extended.groups)]
        return {
            "active": len(report.active),
            "ended": len(report.ended),
            "leveraged": len(report.leveraged),
            "listed_now": report.listed_now[:100],
            "ended_now": report.ended_now[:100],
            "groups": [
                [[one.venue, one.market, one.symbol, one.timeframe.code] for one in group]
                for group in groups
                if group
            ],
        }


def load_extended(group: list[list[str]]) -> dict[str, object]:
    """Task: bring the series of a group up to date and move to the cold tier what is due.

    A series with history is synced with the overlap of an increment before its gaps are
    filled; an ended one, once loaded, is only kept under the retention policy.
    """
    with runtime.task_errors():
        series = [parse_series(*names) for names in group]
        market = runtime.market(series[0].venue, series[0].market)
        now = from_ms(market.venue.server_time_ms())
        window = Window.of(config.universe().extended.start, now)
        wanted = set(many.not_ended(market, series))

        def keep(one: Series) -> None:
            if one in wanted:
                many.bring_up_to_date(market, one, window)
            _retain(market, one, now)

        many.each(series, keep, market.say)
        return {"series": len(series), "loaded": len(wanted)}


def _retain(market: Market, series: Series, now: datetime) -> None:
    """Move the months that are due by the configured policy of the series' timeframe."""
    months = _retention_months(series)
    if months is None:
        return
    with market.connect() as connection:
        lives = series_registry.lives(connection, series)
    for stored in lives:
        report = retention.apply(market.connect, stored, months, now, market.say)
        if report.months_moved:
            market.say(str(report))


def _retention_months(series: Series) -> int | None:
    """How long the series stays hot: its own policy, or else its timeframe's in that market."""
    configured = config.universe()
    policy = configured.policy(series)
    if policy is not None:
        return policy.retention_months
    return next(
        (
            one.retention_months
            for one in configured.policies
            if (one.series.market, one.series.timeframe) == (series.market, series.timeframe)
        ),
        None,
    )


def load_by_priority(params: Mapping[str, object]) -> list[dict[str, object]]:
    """Task: load symbols of a class of assets from the first provider that delivers."""
    with runtime.task_errors():
        refuse_unknown_keys(params)
        configured = config.universe()
        asset_class = str(params["asset_class"])
        timeframe = parse_timeframe(str(params["timeframe"]))
        given = params.get("provider_priority") or configured.provider_priority.get(asset_class)
        order = priority.parse_priority(
            list(given) if given else None, asset_class, also=_exchanges(given)
        )
        now = datetime.now(UTC)
        window = window_of(params, START, now)
        quote = configured.quote_asset if asset_class == CRYPTO else ""
        symbols = [
            canonical_symbol(name, quote, f"symbols[{number}]") if quote else name.upper()
            for number, name in enumerate(params["symbols"])
        ]

        def load(symbol: str) -> dict[str, object]:
            report = fallback.load_by_priority(
                runtime.market,
                asset_class,
                symbol,
                timeframe,
                window,
                order,
                runtime.has_key,
                runtime.say,
            )
            runtime.say(str(report))
            return report.as_dict()

        return many.each(symbols, load, runtime.say, what="symbols")


def _exchanges(order: object) -> list[str]:
    """Names of an order that are no providers of ours: exchanges, checked when asked."""
    names = [str(name) for name in order] if isinstance(order, (list, tuple)) else []
    return [name for name in names if name not in CAPABILITIES]
