"""What the tasks of DAGs over many series do."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from candlevault import config
from candlevault.errors import CandlevaultError, PartlyFailed
from candlevault.ingest import many, syncs
from candlevault.ingest.load import Market
from candlevault.orchestration import choice, runtime
from candlevault.orchestration.house import START
from candlevault.orchestration.series_tasks import (
    check_life,
    check_window,
    refuse_unknown_keys,
    window_of,
)
from candlevault.series import Series, canonical_symbol
from candlevault.series import parse as parse_series
from candlevault.storage.series_registry import StoredSeries
from candlevault.timeframe import from_ms, to_ms
from candlevault.timeframe import parse as parse_timeframe
from candlevault.windows import Window


def plan_initial_load(params: Mapping[str, object]) -> dict[str, object]:
    """Task: which series, in which stages and groups, over which window."""
    with runtime.task_errors():
        refuse_unknown_keys(params)
        configured = config.universe()
        traded = str(params.get("market") or configured.market)
        market = runtime.market(config.setting("CANDLEVAULT_VENUE"), traded)
        window = window_of(params, START, from_ms(market.venue.server_time_ms()))
        series = [
            Series(market.venue.venue, traded, symbol, parse_timeframe(code))
            for symbol in _symbols(params, configured)
            for code in params["timeframes"]
        ]
        estimate = many.storage_estimate(series, window)
        market.say(
            f"{estimate['series']} series over {window}: at most {estimate['candles_at_most']:,}"
            f" candles, about {estimate['bytes'] / 1e6:,.0f} MB"
        )
        bounds = {"start": window.start.isoformat(), "end": window.end.isoformat()}
        stages = [
            [{"series": [_named(one) for one in group], **bounds} for group in stage]
            for stage in many.stages(series, int(str(params["groups"])))
        ]
        return {"stages": stages, **bounds}


def groups_of(plan: Mapping[str, object] | None, stage: int) -> list[dict[str, object]]:
    """Task: the groups of one stage (from 1); fails at once when there is no plan."""
    with runtime.task_errors():
        return _planned(plan)["stages"][stage - 1]


def load_group(group: Mapping[str, object]) -> list[dict[str, object]]:
    """Task: load the series of a group one after the other; fails if any of them failed."""
    with runtime.task_errors():
        series = [parse_series(*names) for names in group["series"]]
        market = runtime.market(series[0].venue, series[0].market)
        window = _window(group)
        reports = many.each(series, lambda one: syncs.backfill(market, one, window), market.say)
        return [
            {
                "symbol": report.symbol,
                "timeframe": report.timeframe,
                "status": report.status,
                "stored": report.stored,
                "known_absent": report.known_absent,
                "lost": report.lost,
            }
            for report in reports
        ]


def check_and_fill(plan: Mapping[str, object]) -> dict[str, object]:
    """Task: fill what is lost once more, check every series, fail if one of them fails."""
    with runtime.task_errors():
        window = _window(_planned(plan))
        series = [
            parse_series(*names)
            for stage in plan["stages"]
            for group in stage
            for names in group["series"]
        ]
        market = runtime.market(series[0].venue, series[0].market)

        def fill(one: Series) -> None:
            syncs.load(market, one, window, purpose="gap_fill")
            check_window(one, window)

        many.each(series, fill, market.say)
        return {"series": len(series), "failed": 0}


def quality_check(params: Mapping[str, object]) -> list[dict[str, object]]:
    """Task: check stored series over the last days; fails at the end if any of them fails."""
    with runtime.task_errors():
        refuse_unknown_keys(params)
        market = runtime.market(config.setting("CANDLEVAULT_VENUE"), config.universe().market)
        now_ms = market.venue.server_time_ms()
        chosen = choice.stored(params)
        window = Window(now_ms - int(str(params["days"])) * 86_400_000, now_ms)

        def check(stored: StoredSeries) -> dict[str, object] | None:
            part = _kept(market, stored, window).intersection(stored.life)
            return None if part is None else check_life(market, stored, part, now_ms)

        reports = many.each(chosen, check, market.say)
        return [report for report in reports if report is not None]


def market_sync(params: Mapping[str, object]) -> list[dict[str, object]]:
    """Task: keep the active list fresh; fails at the end if any symbol failed."""
    with runtime.task_errors():
        refuse_unknown_keys(params)
        configured = config.universe()
        market = runtime.market(config.setting("CANDLEVAULT_VENUE"), configured.market)
        timeframe = parse_timeframe(str(params["timeframe"]))
        series = [
            Series(market.venue.venue, configured.market, symbol, timeframe)
            for symbol in _symbols(params, configured)
        ]
        results = syncs.market_sync(market, series, count=int(str(params["candles"])))
        failed = [result for result in results if result["status"] == "failed"]
        for result in results:
            market.say(str(result))
        if failed:
            told = "; ".join(f"{r['symbol']}: {r['error']}" for r in failed)
            raise PartlyFailed(
                f"{len(failed)} of {len(results)} symbols failed: {told}",
                transient=any(result["transient"] for result in failed),
            )
        return results


def _planned(plan: Mapping[str, object] | None) -> Mapping[str, object]:
    if plan is None:
        raise CandlevaultError("there is no plan to work on: the task `plan` failed")
    return plan


def _kept(market: Market, stored: StoredSeries, window: Window) -> Window:
    """The part of `window` since the series' history begins; what was never asked for is
    not missing."""
    with market.connect() as connection:
        oldest = connection.execute(
            "SELECT oldest_data_time FROM market.series_status WHERE series_id = %s",
            (stored.series_id,),
        ).fetchone()
    if oldest is None or oldest[0] is None or oldest[0] <= window.start:
        return window
    market.say(f"{stored.series}: checked since its first stored candle, {oldest[0].isoformat()}")
    return Window(to_ms(oldest[0]), window.end_ms)


def _symbols(params: Mapping[str, object], configured: config.Universe) -> list[str]:
    given = params.get("symbols")
    if given:
        symbols = [
            canonical_symbol(name, configured.quote_asset, f"symbols[{i}]")
            for i, name in enumerate(given)
        ]
        return list(dict.fromkeys(symbols))
    limit = params.get("limit")
    return list(configured.symbols)[: int(str(limit)) if limit else None]


def _named(series: Series) -> list[str]:
    return [series.venue, series.market, series.symbol, series.timeframe.code]


def _window(bounds: Mapping[str, object]) -> Window:
    return Window.of(
        datetime.fromisoformat(str(bounds["start"])), datetime.fromisoformat(str(bounds["end"]))
    )
