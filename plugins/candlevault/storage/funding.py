"""Funding rates as rows: written window by window, read as they stood at an instant.

Rows are only ever added. Of an event the newest row at `as_of` counts; one without a rate
says that the venue has taken the event back. The ledger of windows tells a window in which
nothing was settled from one that nobody has asked for. All rows of one write carry one time
of recording, later than that of every write before it to the same instrument, so that a
state of the store can be named by an instant and read again for ever.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import pairwise

import numpy as np
import psycopg

from candlevault import windows
from candlevault.errors import InvalidRequest, LeaseLost, StorageError
from candlevault.funding import FundingEvent, FundingEvents, FundingPage, shares
from candlevault.provenance import Fetch
from candlevault.series import Series
from candlevault.storage import instruments
from candlevault.storage.database import Connect
from candlevault.storage.locks import begin_funding_write, wait_for_funding_writes
from candlevault.storage.series_registry import provider_ids
from candlevault.timeframe import from_ms, to_ms
from candlevault.windows import Window


@dataclass(frozen=True, slots=True, eq=False)
class Funding:
    """What is stored of a window: `events` ascending, and the parts never loaded, ascending.

    `fingerprint` is the SHA-256 (hex) of both as text: times in ms UTC, rates as the shortest
    exact decimals. It depends on nothing else, neither mark prices nor where or when the
    events were stored.
    """

    window: Window
    events: FundingEvents
    missing: tuple[Window, ...]
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Written:
    """What one write did, in events; `withdrawn` are those that the venue has no more."""

    inserted: int = 0
    changed: int = 0
    unchanged: int = 0
    withdrawn: int = 0


def newest_load(connection: psycopg.Connection, instrument_id: int) -> datetime | None:
    """When funding of the instrument was last written; None if never."""
    return connection.execute(
        "SELECT max(loaded_at) FROM market.funding_windows WHERE instrument_id = %s",
        (instrument_id,),
    ).fetchone()[0]


def missing(
    connection: psycopg.Connection,
    instrument_id: int,
    window: Window,
    as_of: datetime | None = None,
) -> list[Window]:
    """The parts of `window` that were never loaded (until `as_of`), ascending."""
    rows = connection.execute(
        "SELECT window_start, window_end FROM market.funding_windows"
        " WHERE instrument_id = %(instrument_id)s AND window_start < %(window_end)s"
        " AND window_end > %(window_start)s"
        " AND loaded_at <= coalesce(%(as_of)s::timestamptz, 'infinity')",
        _asked(instrument_id, window, as_of),
    ).fetchall()
    return windows.subtract(window, [Window(to_ms(start), to_ms(end)) for start, end in rows])


def read(
    connection: psycopg.Connection,
    instrument_id: int,
    window: Window,
    as_of: datetime | None = None,
) -> Funding:
    """The funding of an instrument in `window`: of now, or as it was stored at `as_of`.

    The answer for an `as_of` that has passed is the same for ever: a write that is being
    committed right now is waited for. Raises InvalidRequest for one without a time zone.
    """
    events, lacking = _stored(connection, instrument_id, window, as_of)
    return _funding(window, events, lacking)


def read_series(
    connection: psycopg.Connection, series: Series, window: Window, as_of: datetime | None = None
) -> Funding:
    """As read, of every instrument that the symbol has meant in `window`.

    Where nothing is known of an instrument its part of the window is missing. The timeframe
    plays no role.
    """
    events: list[tuple[int, Decimal]] = []
    lacking: list[Window] = []
    for share in shares(series):
        part = share.window.intersection(window)
        if part is None:
            continue
        place = (series.venue, series.market, series.symbol, share.lifetime.number)
        instrument_id = instruments.find(connection, *place)
        if instrument_id is None:
            lacking.append(part)
            continue
        found, unknown = _stored(connection, instrument_id, part, as_of)
        events += found
        lacking += unknown
    return _funding(window, events, windows.merge(lacking))


def write(
    connect: Connect, instrument_id: int, pages: Sequence[FundingPage], *, after: datetime | None
) -> Written:
    """Store what a load brought, and that its windows are loaded: all of it or nothing.

    `pages` ascend without a hole. `after` is what newest_load said before they were fetched:
    raises LeaseLost when anything was written since, because it may be newer than they are.
    Events that are stored and equal are left alone; a mark price that is not told does not
    differ from one that is. Stored events inside the windows that the pages do not hold are
    withdrawn. Raises StorageError, and stores nothing, when a value breaks a rule of the tables.
    """
    _refuse_incoherent(pages)
    try:
        with connect() as connection, connection.transaction():
            begin_funding_write(connection, instrument_id)
            if newest_load(connection, instrument_id) != after:
                raise LeaseLost(f"funding of instrument {instrument_id} was written meanwhile")
            return _write(connection, instrument_id, pages, after)
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        raise StorageError(f"the store refused funding: {error}"[:500]) from error


def _refuse_incoherent(pages: Sequence[FundingPage]) -> None:
    """The last line: a page that says more or less than it covers must not become history."""
    if not pages or any(
        earlier.covers.end_ms != later.covers.start_ms for earlier, later in pairwise(pages)
    ):
        raise StorageError("pages of funding must follow each other without a hole")
    for page in pages:
        if not all(page.covers.contains(event.time_ms) for event in page.events):
            raise StorageError(f"a page of funding holds events outside {page.covers}")


def _write(
    connection: psycopg.Connection,
    instrument_id: int,
    pages: Sequence[FundingPage],
    after: datetime | None,
) -> Written:
    recorded_at = connection.execute(
        # Later than the write before it, even if the clock was set back.
        "SELECT greatest(clock_timestamp(), %s::timestamptz + interval '1 microsecond')",
        (after,),
    ).fetchone()[0]
    fetch_ids = _insert_fetches(connection, instrument_id, [page.fetch for page in pages])
    whole = Window(pages[0].covers.start_ms, pages[-1].covers.end_ms)
    stored = {row[0]: row for row in _rows(connection, instrument_id, whole, None)}
    inserted = changed = unchanged = withdrawn = 0
    with connection.cursor().copy(
        "COPY market.funding_rates (instrument_id, funding_time, recorded_at, rate, mark_price,"
        " fetch_id) FROM STDIN"
    ) as copy:
        for page, fetch_id in zip(pages, fetch_ids, strict=True):
            for event in page.events:
                before = stored.pop(event.time_ms, None)
                if before is not None and _is_equal(event, before):
                    unchanged += 1
                    continue
                mark = event.mark_price
                if mark is None and before is not None:
                    mark = before[2]
                row = (event.rate, mark, fetch_id)
                copy.write_row((instrument_id, from_ms(event.time_ms), recorded_at, *row))
                inserted += before is None
                changed += before is not None
            for time_ms in [t for t in stored if page.covers.contains(t)]:
                del stored[time_ms]
                row = (None, None, fetch_id)
                copy.write_row((instrument_id, from_ms(time_ms), recorded_at, *row))
                withdrawn += 1
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO market.funding_windows (instrument_id, window_start, window_end,"
            " loaded_at, events, fetch_id) VALUES (%s, %s, %s, %s, %s, %s)",
            [
                (
                    instrument_id,
                    page.covers.start,
                    page.covers.end,
                    recorded_at,
                    len(page.events),
                    fetch_id,
                )
                for page, fetch_id in zip(pages, fetch_ids, strict=True)
            ],
        )
    return Written(inserted, changed, unchanged, withdrawn)


def _is_equal(event: FundingEvent, before: tuple[int, Decimal, Decimal | None]) -> bool:
    return event.rate == before[1] and event.mark_price in (None, before[2])


def _insert_fetches(
    connection: psycopg.Connection, instrument_id: int, fetches: Sequence[Fetch]
) -> list[int]:
    """Rows of market.fetches, in the order given; one answer to several pages is one row."""
    place = connection.execute(
        "SELECT venue, market FROM market.instruments WHERE instrument_id = %s", (instrument_id,)
    ).fetchone()
    providers = provider_ids(connection, [fetch.provider for fetch in fetches], *place)
    ids: dict[Fetch, int] = {}
    for fetch in fetches:
        if fetch not in ids:
            ids[fetch] = connection.execute(
                "INSERT INTO market.fetches (provider_id, url, sha256, bytes, rows,"
                " parser_version, fetched_at, duration_ms, etag, last_modified)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING fetch_id",
                (
                    providers[fetch.provider],
                    fetch.url,
                    fetch.sha256,
                    fetch.bytes,
                    fetch.rows,
                    fetch.parser_version,
                    fetch.fetched_at,
                    fetch.duration_ms,
                    fetch.etag,
                    fetch.last_modified,
                ),
            ).fetchone()[0]
    return [ids[fetch] for fetch in fetches]


def _stored(
    connection: psycopg.Connection, instrument_id: int, window: Window, as_of: datetime | None
) -> tuple[list[tuple[int, Decimal]], list[Window]]:
    """Events as (time, rate), and what is missing, of one state of the store."""
    if as_of is None:
        # Pinned, because two statements may see two states.
        as_of = newest_load(connection, instrument_id)
        if as_of is None:
            return [], [window]
    elif as_of.tzinfo is None:
        raise InvalidRequest("as_of", "must carry a time zone", as_of.isoformat())
    else:
        wait_for_funding_writes(connection, instrument_id)
    events = [row[:2] for row in _rows(connection, instrument_id, window, as_of)]
    return events, missing(connection, instrument_id, window, as_of)


def _rows(
    connection: psycopg.Connection, instrument_id: int, window: Window, as_of: datetime | None
) -> list[tuple[int, Decimal, Decimal | None]]:
    """(time in ms, rate, mark price) of the events in force, ascending."""
    return connection.execute(
        "SELECT (extract(epoch FROM funding_time) * 1000)::bigint, rate, mark_price FROM ("
        " SELECT DISTINCT ON (funding_time) funding_time, rate, mark_price"
        " FROM market.funding_rates WHERE instrument_id = %(instrument_id)s"
        " AND funding_time >= %(window_start)s AND funding_time < %(window_end)s"
        " AND recorded_at <= coalesce(%(as_of)s::timestamptz, 'infinity')"
        " ORDER BY funding_time, recorded_at DESC) newest"
        " WHERE rate IS NOT NULL ORDER BY funding_time",
        _asked(instrument_id, window, as_of),
    ).fetchall()


def _asked(instrument_id: int, window: Window, as_of: datetime | None) -> dict[str, object]:
    return {
        "instrument_id": instrument_id,
        "window_start": window.start,
        "window_end": window.end,
        "as_of": as_of,
    }


def _funding(
    window: Window, events: Sequence[tuple[int, Decimal]], lacking: Sequence[Window]
) -> Funding:
    digest = hashlib.sha256()
    for time_ms, rate in events:
        digest.update(f"{time_ms},{rate.normalize():f}\n".encode())
    digest.update(b"missing\n")
    for part in lacking:
        digest.update(f"{part.start_ms},{part.end_ms}\n".encode())
    times = np.array([time_ms for time_ms, _ in events], dtype=np.int64)
    rates = np.array([float(rate) for _, rate in events], dtype=np.float64)
    return Funding(window, FundingEvents(times, rates), tuple(lacking), digest.hexdigest())
