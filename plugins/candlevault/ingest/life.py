"""The life of a series: nothing is expected before its listing or after its end."""

from __future__ import annotations

from candlevault.errors import ProviderError, UnknownSymbol
from candlevault.instruments import InstrumentFacts
from candlevault.providers.contract import Evidence, Venue
from candlevault.series import Series
from candlevault.storage.publish import NewAbsence
from candlevault.windows import Account, Window


def facts_of(venue: Venue, symbol: str, series: Series) -> InstrumentFacts:
    """What the venue says of the symbol; an archived but unlisted one is `ARCHIVED`.

    Delisted symbols can vanish from the venue's list while the archive keeps them. Raises
    UnknownSymbol when neither knows it.
    """
    try:
        return venue.instrument(symbol)
    except UnknownSymbol:
        end_ms = venue.archive.newest_file_end_ms(series) if venue.archive else None
        if end_ms is None:
            raise
        return InstrumentFacts(symbol, symbol, "", "", "ARCHIVED", trading=False)


def life_absences(
    venue: Venue, series: Series, facts: InstrumentFacts, account: Account
) -> tuple[list[NewAbsence], list[Evidence]]:
    """Absences before the first and after the last candle ever published, with evidence.

    The venue is asked only when the account has a loss at that end of its window.
    Returns (absences, the evidence they rest on).
    """
    found: list[NewAbsence] = []
    evidence: list[Evidence] = []
    lost = account.lost_windows
    if not lost:
        return found, evidence
    step_ms = series.timeframe.step_ms
    first_lost_ms = lost[0].start_ms
    if first_lost_ms == int(account.expected[0]) and facts.status != "ARCHIVED":
        first = venue.first_candle(series)
        if first.open_time_ms is not None and first.open_time_ms >= first_lost_ms + step_ms:
            # What is stored before the venue's first candle of today was published once.
            listed_ms = series.timeframe.floor(first.open_time_ms)
            part = Window(first_lost_ms, min(listed_ms, lost[0].end_ms))
            found.append(NewAbsence(part, "before_listing", _proof("first", first)))
            evidence.append(first)
    if not facts.trading and lost[-1].end_ms > int(account.expected[-1]):
        end = _end_of_life(venue, series, facts)
        if end is not None:
            last_ms, proof, seen = end
            after_ms = max(lost[-1].start_ms, series.timeframe.floor(last_ms) + step_ms)
            if after_ms < lost[-1].end_ms:
                part = Window(after_ms, lost[-1].end_ms)
                found.append(NewAbsence(part, "after_end", proof))
                evidence += seen
    return found, evidence


def _end_of_life(
    venue: Venue, series: Series, facts: InstrumentFacts
) -> tuple[int, dict[str, object], list[Evidence]] | None:
    """The last open_time of a series that trades no more, with its proof; None if unsure."""
    archive_end_ms = venue.archive.newest_file_end_ms(series) if venue.archive else None
    try:
        last = venue.last_candle(series)
    except ProviderError:
        return None
    if last.open_time_ms is None:
        return None
    if archive_end_ms is not None and archive_end_ms > last.open_time_ms + 32 * 86_400_000:
        # The archive goes on where REST stopped: not ended, REST only forgot.
        return None
    proof = _proof("last", last) | {"status": facts.status, "archive_end_ms": archive_end_ms}
    return last.open_time_ms, proof, [last]


def _proof(kind: str, seen: Evidence) -> dict[str, object]:
    return {
        f"{kind}_open_time_ms": seen.open_time_ms,
        "rest": [
            {
                "url": seen.fetch.url,
                "sha256": seen.fetch.sha256,
                "fetched_at": seen.fetch.fetched_at.isoformat(),
            }
        ],
    }
