"""Many series in one go: the order of an initial load, and one failure never stops the rest."""

from __future__ import annotations

import psycopg

from candlevault.errors import CandlevaultError
from candlevault.ingest.load import Market
from candlevault.ingest.syncs import backfill, may_pass
from candlevault.series import Series
from candlevault.windows import Window

FIRST_INTRADAY = 20


def stages(series: list[Series], groups: int) -> list[list[list[Series]]]:
    """Three stages, each split into at most `groups` lists that can be loaded side by side.

    First every daily (and weekly) series, then the finer ones of the first 20 symbols in
    the order given, then the rest.
    """
    symbols = list(dict.fromkeys(one.symbol for one in series))
    first = set(symbols[:FIRST_INTRADAY])
    day_ms = 86_400_000
    daily = [one for one in series if one.timeframe.step_ms >= day_ms]
    finer = [one for one in series if one.timeframe.step_ms < day_ms]
    ordered = [
        daily,
        [one for one in finer if one.symbol in first],
        [one for one in finer if one.symbol not in first],
    ]
    return [[stage[i::groups] for i in range(groups) if stage[i::groups]] for stage in ordered]


def load_many(market: Market, series: list[Series], window: Window) -> list[dict[str, object]]:
    """Backfill each series; returns a report per series, with status `failed` and the error
    where it could not be loaded."""
    results: list[dict[str, object]] = []
    for number, one in enumerate(series, start=1):
        market.say(f"{one}: {number} of {len(series)}")
        try:
            results.append(backfill(market, one, window).as_dict())
        except (CandlevaultError, psycopg.Error) as error:
            market.say(f"{one}: failed: {error}")
            results.append(
                {
                    "symbol": one.symbol,
                    "timeframe": one.timeframe.code,
                    "status": "failed",
                    "errors": [f"{type(error).__name__}: {error}"[:500]],
                    "transient": may_pass(error),
                }
            )
    return results


def not_ended(market: Market, series: list[Series]) -> list[Series]:
    """Those of which something may still be missing: not stored yet, or still traded."""
    with market.connect() as connection:
        done = set(
            connection.execute(
                "SELECT n.symbol, n.timeframe FROM market.series_names n"
                " JOIN market.instruments i USING (instrument_id)"
                " JOIN market.series_status s USING (series_id)"
                " WHERE n.venue = %s AND n.market = %s AND NOT i.traded AND s.is_complete",
                (market.venue.venue, market.venue.market),
            ).fetchall()
        )
    return [one for one in series if (one.symbol, one.timeframe.code) not in done]


def storage_estimate(series: list[Series], window: Window) -> dict[str, int]:
    """Candles at most and bytes on disk of loading `window` of these series.

    170 bytes a candle, table and index together: measured on real 1h candles.
    """
    candles = sum((window.end_ms - window.start_ms) // one.timeframe.step_ms for one in series)
    return {"series": len(series), "candles_at_most": candles, "bytes": candles * 170}
