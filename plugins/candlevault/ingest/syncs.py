"""The syncs people schedule: backfill, increment, gap fill, and the five-minute sync."""

from __future__ import annotations

import psycopg

from candlevault.errors import CandlevaultError, InvalidRequest, SeriesBusy
from candlevault.ingest import collect
from candlevault.ingest.load import LoadReport, Market, load
from candlevault.series import Series
from candlevault.storage import series_registry
from candlevault.storage.database import is_transient
from candlevault.timeframe import to_ms
from candlevault.windows import Window

OVERLAP_MS = 3 * 86_400_000
"""Every sync reads the last three days again and replaces what the venue has changed."""

_PATIENCE_S = 5.0
"""How long the five-minute sync waits for a series that another run is loading."""


def backfill(market: Market, series: Series, window: Window) -> LoadReport:
    """Load what is missing of `window`; see load."""
    return load(market, series, window, purpose="backfill")


def increment(market: Market, series: Series) -> LoadReport:
    """Load from three days before the newest stored candle up to now, by the venue's clock.

    A series without history gets its last three days; its past is a backfill's work.
    """
    now_ms = market.venue.server_time_ms()
    newest_ms = _newest_ms(market, series)
    anchor = now_ms if newest_ms is None else newest_ms + series.timeframe.step_ms
    start = series.timeframe.floor(min(anchor, now_ms) - OVERLAP_MS)
    if newest_ms is None:
        market.say(f"{series}: no history stored yet; loading the last three days only")
    window = Window(start, now_ms)
    return load(
        market, series, window, purpose="increment", order=collect.REST_FIRST, reread=window
    )


def gap_fill(market: Market, series: Series, *, days: int = 90, max_rounds: int = 3) -> LoadReport:
    """Find and fill the gaps of the last `days` days, asking again for known absences.

    Repeated until nothing is lost or `max_rounds` rounds are done.
    """
    if not 1 <= days <= 36_500:
        raise InvalidRequest("days", "must be from 1 to 36500", days)
    now_ms = market.venue.server_time_ms()
    newest_ms = _newest_ms(market, series)
    if newest_ms is None:
        raise InvalidRequest(
            "symbol", "nothing is stored of this series; backfill it first", series
        )
    window = Window(now_ms - days * 86_400_000, now_ms)
    report = load(market, series, window, purpose="gap_fill", reexamine=True)
    for round_number in range(2, max_rounds + 1):
        if not report.lost:
            break
        market.say(f"{series}: {report.lost} candles still lost, round {round_number}")
        report = load(market, series, window, purpose="gap_fill")
    return report


def market_sync(
    market: Market, series: list[Series], *, count: int = 500
) -> list[dict[str, object]]:
    """Re-read the last `count` candles of each series; one failure never stops the others.

    A series that another run is loading is passed over as `busy`. Returns a result per
    series: symbol, status, candles_added, total_candles, error, transient.
    """
    if not 1 <= count <= 1000:
        raise InvalidRequest("candles", "must be from 1 to 1000", count)
    results: list[dict[str, object]] = []
    for one in series:
        result: dict[str, object] = {
            "symbol": one.symbol,
            "status": "completed",
            "candles_added": 0,
            "total_candles": 0,
            "error": None,
            "transient": False,
        }
        try:
            now_ms = market.venue.server_time_ms()
            window = Window(one.timeframe.floor(now_ms) - count * one.timeframe.step_ms, now_ms)
            report = load(
                market,
                one,
                window,
                purpose="market_sync",
                order=collect.REST_FIRST,
                reread=window,
                wait_s=_PATIENCE_S,
            )
            result |= {
                "status": report.status,
                "candles_added": report.candles_added,
                "total_candles": report.total_candles,
            }
        except SeriesBusy as busy:
            result |= {"status": "busy", "error": str(busy)}
        except (CandlevaultError, psycopg.Error) as error:
            result |= {
                "status": "failed",
                "error": f"{type(error).__name__}: {error}"[:500],
                "transient": may_pass(error),
            }
            market.say(f"{one}: {result['error']}")
        results.append(result)
    return results


def may_pass(error: CandlevaultError | psycopg.Error) -> bool:
    """Whether the same work may succeed when it is tried again."""
    return error.transient if isinstance(error, CandlevaultError) else is_transient(error)


def _newest_ms(market: Market, series: Series) -> int | None:
    with market.connect() as connection:
        stored = series_registry.find(connection, series)
        if stored is None:
            return None
        row = connection.execute(
            "SELECT newest_data_time FROM market.series_status WHERE series_id = %s",
            (stored.series_id,),
        ).fetchone()
    return None if row is None or row[0] is None else to_ms(row[0])
