"""Many series in one go: the order of an initial load, and one failure never stops the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import psycopg

from candlevault import identities
from candlevault.errors import CandlevaultError, PartlyFailed
from candlevault.ingest.load import LoadReport, Market
from candlevault.ingest.syncs import backfill, increment, may_pass
from candlevault.series import Series
from candlevault.storage import series_registry
from candlevault.windows import Window

T = TypeVar("T")
R = TypeVar("R")

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


def each(
    items: Sequence[T],
    work: Callable[[T], R],
    say: Callable[[str], None],
    *,
    what: str = "series",
) -> list[R]:
    """`work` on every item, in order; one that fails never stops the rest.

    Returns what it returned. Raises PartlyFailed at the end if one failed, with every reason;
    it is transient if any of them may pass.
    """
    done: list[R] = []
    failed: list[str] = []
    transient = False
    for number, item in enumerate(items, start=1):
        say(f"{item}: {number} of {len(items)}")
        try:
            done.append(work(item))
        except (CandlevaultError, psycopg.Error) as error:
            failed.append(f"{item}: {type(error).__name__}: {error}"[:500])
            transient = transient or may_pass(error)
            say(failed[-1])
    if failed:
        raise PartlyFailed(
            f"{len(failed)} of {len(items)} {what} failed: {'; '.join(failed)}",
            transient=transient,
        )
    return done


def bring_up_to_date(market: Market, series: Series, window: Window) -> LoadReport:
    """Re-read the last three days where there is history, then load what `window` lacks."""
    if _has_history(market, series):
        increment(market, series)
    return backfill(market, series, window)


def _has_history(market: Market, series: Series) -> bool:
    """Whether a candle is stored of the instrument that the symbol means today."""
    with market.connect() as connection:
        stored = series_registry.find(connection, series)
        return stored is not None and bool(
            connection.execute(
                "SELECT newest_data_time IS NOT NULL FROM market.series_status"
                " WHERE series_id = %s",
                (stored.series_id,),
            ).fetchone()[0]
        )


def not_ended(market: Market, series: list[Series]) -> list[Series]:
    """Those of which something may still be missing: not stored yet, or still traded.

    What counts is the instrument that the symbol means today, not those before it.
    """
    with market.connect() as connection:
        done = set(
            connection.execute(
                "SELECT n.symbol, n.timeframe, n.lifetime FROM market.series_names n"
                " JOIN market.instruments i USING (instrument_id)"
                " JOIN market.series_status s USING (series_id)"
                " WHERE n.venue = %s AND n.market = %s AND NOT i.traded AND s.is_complete",
                (market.venue.venue, market.venue.market),
            ).fetchall()
        )

    def today(one: Series) -> tuple[str, str, int]:
        newest = identities.lifetimes(one.venue, one.market, one.symbol)[-1]
        return one.symbol, one.timeframe.code, newest.number

    return [one for one in series if today(one) not in done]


def storage_estimate(series: list[Series], window: Window) -> dict[str, int]:
    """Candles at most and bytes on disk of loading `window` of these series.

    170 bytes a candle, table and index together: measured on real 1h candles.
    """
    candles = sum((window.end_ms - window.start_ms) // one.timeframe.step_ms for one in series)
    return {"series": len(series), "candles_at_most": candles, "bytes": candles * 170}
