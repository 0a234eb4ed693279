"""Series and providers as rows with small ids, and the instruments that a symbol has named."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from candlevault import identities
from candlevault.errors import InvalidRequest
from candlevault.identities import FOREVER_MS, Lifetime
from candlevault.instruments import InstrumentFacts
from candlevault.series import Series
from candlevault.series import parse as parse_series
from candlevault.storage import instruments
from candlevault.storage.database import Connect
from candlevault.windows import Window


@dataclass(frozen=True, slots=True)
class StoredSeries:
    """A series with its row: small id and the number of its last committed revision.

    `lifetime` tells which instrument of that symbol it is (see candlevault.identities), in
    force from `begins_ms` until `until_ms`; `listed_ms` and `ended_ms` are when the venue
    first and last (exclusive) published it, as far as known. All ms UTC.
    """

    series: Series
    series_id: int
    revision: int
    lifetime: int = 1
    begins_ms: int | None = None
    until_ms: int | None = None
    listed_ms: int | None = None
    ended_ms: int | None = None

    @property
    def share(self) -> Window:
        """The part of the time axis in which the symbol means this instrument."""
        floor = self.series.timeframe.floor
        start = 0 if self.begins_ms is None else floor(self.begins_ms)
        return Window(start, FOREVER_MS if self.until_ms is None else floor(self.until_ms))

    @property
    def life(self) -> Window:
        """The open times the venue could have published: the share, from listing to end."""
        timeframe, share = self.series.timeframe, self.share
        start, end = share.start_ms, share.end_ms
        if self.listed_ms is not None:
            start = max(start, timeframe.floor(self.listed_ms))
        if self.ended_ms is not None:
            end = min(end, timeframe.ceil(self.ended_ms))
        return Window(start, end) if start < end else share

    def __str__(self) -> str:
        return str(self.series) + (f" (lifetime {self.lifetime})" if self.lifetime > 1 else "")


@dataclass(frozen=True, slots=True)
class Touched:
    """An instrument whose life a window touches; `stored` is None while nothing is kept of it."""

    lifetime: Lifetime
    stored: StoredSeries | None
    window: Window


# What its own absences show of a series' life: their evidence names its first and last candle.
# An end that candles follow was none.
_LIVES = """
SELECT n.series_id, n.revision, n.lifetime, edges.first_ms, edges.last_ms,
       n.venue, n.market, n.symbol, n.timeframe
FROM market.series_names n
LEFT JOIN market.series_status s USING (series_id),
     LATERAL (SELECT max((a.evidence ->> 'first_open_time_ms')::bigint)
                         FILTER (WHERE a.reason = 'before_listing') AS first_ms,
                     min((a.evidence ->> 'last_open_time_ms')::bigint)
                         FILTER (WHERE a.reason = 'after_end' AND a.window_end
                                     > coalesce(s.newest_data_time, '-infinity')) AS last_ms
              FROM market.known_absences a
              WHERE a.series_id = n.series_id AND a.withdrawn_revision IS NULL
                AND a.reason IN ('before_listing', 'after_end')) AS edges
"""


def _stored(row: tuple) -> StoredSeries:
    series = parse_series(*row[5:9])
    known = identities.lifetimes(series.venue, series.market, series.symbol)
    begins = known[row[2] - 1].begins_ms if row[2] <= len(known) else None
    until = known[row[2]].begins_ms if row[2] < len(known) else None
    ended = None if row[4] is None else row[4] + series.timeframe.step_ms
    return StoredSeries(series, row[0], row[1], row[2], begins, until, row[3], ended)


def lives(connection: psycopg.Connection, series: Series) -> list[StoredSeries]:
    """Every stored series of this name, one per lifetime of its symbol, ascending."""
    rows = connection.execute(
        _LIVES + "WHERE n.venue = %s AND n.market = %s AND n.symbol = %s AND n.timeframe = %s"
        " ORDER BY n.lifetime",
        (series.venue, series.market, series.symbol, series.timeframe.code),
    ).fetchall()
    return [_stored(row) for row in rows]


def find(connection: psycopg.Connection, series: Series) -> StoredSeries | None:
    """The stored series of the instrument that the symbol means today, or None when nothing
    was ever kept of it."""
    known = lives(connection, series)
    return known[-1] if known else None


def by_id(connection: psycopg.Connection, series_id: int) -> StoredSeries:
    """The stored series of an id that a row names."""
    return _stored(connection.execute(_LIVES + "WHERE n.series_id = %s", (series_id,)).fetchone())


def get(connect: Connect, series: Series) -> StoredSeries:
    """As find; raises InvalidRequest when nothing was ever kept of it."""
    with connect() as connection:
        stored = find(connection, series)
    if stored is None:
        raise _never_loaded(series)
    return stored


def touched(connection: psycopg.Connection, series: Series, window: Window) -> list[Touched]:
    """The instruments whose lives `window` touches, ascending, each with its part of it.

    Where a life is not known more closely, the instrument's whole share of the time axis
    counts. A window in which no instrument lived is given to the one whose share it is.
    """
    kept = {stored.lifetime: stored for stored in lives(connection, series)}
    shares = [part for s in identities.shares(series) if (part := s.within(window)) is not None]
    found = []
    for share in shares:
        stored = kept.get(share.lifetime.number)
        part = share.window if stored is None else share.window.intersection(stored.life)
        if part is not None:
            found.append(Touched(share.lifetime, stored, part))
    if not found:
        first = shares[0].lifetime
        found = [Touched(first, kept.get(first.number), shares[0].window)]
    return found


def resolve(
    connection: psycopg.Connection, series: Series, window: Window, *, field: str = "window"
) -> StoredSeries:
    """The one stored series that `window` is about.

    Raises InvalidRequest, naming `field`, when the window touches two instruments of the
    same symbol, or when nothing was ever kept of the one it touches.
    """
    found = touched(connection, series, window)
    refuse_crossing(series, found, field)
    stored = found[0].stored
    if stored is None:
        raise _never_loaded(series)
    return stored


def refuse_crossing(series: Series, found: list[Touched], field: str = "window") -> None:
    """Raise InvalidRequest when more than one instrument is touched."""
    if len(found) > 1:
        told = "; ".join(f"{one.lifetime.name} in {one.window}" for one in found)
        raise InvalidRequest(
            field,
            f"{series.symbol} is {len(found)} instruments here ({told}); what happens across"
            " them has no meaning unless it is asked for (across_identities)",
        )


def _never_loaded(series: Series) -> InvalidRequest:
    return InvalidRequest(
        "symbol",
        "no candles of this series were ever loaded (DAG initial_load loads them)",
        str(series),
    )


_FIRST = Lifetime()


def register(
    connect: Connect, series: Series, facts: InstrumentFacts, lifetime: Lifetime = _FIRST
) -> StoredSeries:
    """Make sure that instrument and series have rows, with the venue's latest facts.

    `facts` are of the instrument of that lifetime; one that trades again has not ended.
    """
    with connect() as connection, connection.transaction():
        instrument_id = instruments.record(connection, series.venue, series.market, facts, lifetime)
        row = connection.execute(
            "SELECT series_id FROM market.series WHERE instrument_id = %s AND timeframe = %s",
            (instrument_id, series.timeframe.code),
        ).fetchone()
        if row is None:
            connection.execute(
                "INSERT INTO market.series (instrument_id, timeframe) VALUES (%s, %s)"
                " ON CONFLICT DO NOTHING",
                (instrument_id, series.timeframe.code),
            )
            connection.execute(
                "INSERT INTO market.series_status (series_id, sync_status)"
                " SELECT series_id, 'pending' FROM market.series"
                " WHERE instrument_id = %s AND timeframe = %s ON CONFLICT DO NOTHING",
                (instrument_id, series.timeframe.code),
            )
        found = lives(connection, series)
    return next(stored for stored in found if stored.lifetime == lifetime.number)


def everything(connect: Connect) -> list[StoredSeries]:
    """All stored series, by symbol, lifetime and timeframe."""
    with connect() as connection:
        rows = connection.execute(
            _LIVES + "ORDER BY n.symbol, n.lifetime, n.timeframe, n.venue, n.market"
        ).fetchall()
    return [_stored(row) for row in rows]


def provider_ids(
    connection: psycopg.Connection, names: list[str], venue: str, market: str
) -> dict[str, int]:
    """The ids of these providers of a venue and market, made where missing."""
    wanted = sorted(set(names))

    def known() -> dict[str, int]:
        return dict(
            connection.execute(
                "SELECT name, provider_id FROM market.providers"
                " WHERE name = ANY(%s) AND venue = %s AND market = %s",
                (wanted, venue, market),
            ).fetchall()
        )

    # Looked up first: an upsert would burn a number of a small sequence at every call.
    found = known()
    for name in wanted:
        if name not in found:
            connection.execute(
                "INSERT INTO market.providers (name, venue, market) VALUES (%s, %s, %s)"
                " ON CONFLICT DO NOTHING",
                (name, venue, market),
            )
    return known()
