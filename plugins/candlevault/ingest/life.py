"""The life of a series: nothing is expected before its listing or after its end.

A venue that has forgotten a delisted symbol still has its files in the archive: then the
archive alone tells both ends. A symbol that came to mean another instrument ended, as the
one before, with its last candle ahead of that.
"""

from __future__ import annotations

from candlevault.errors import ProviderError, UnknownSymbol
from candlevault.identities import Share
from candlevault.instruments import InstrumentFacts
from candlevault.providers.contract import Evidence, Venue
from candlevault.series import Series
from candlevault.storage.publish import NewAbsence
from candlevault.windows import Account, Window

ARCHIVED = "ARCHIVED"
"""Status of a symbol that the venue does not know any more and its archive still holds."""

REPLACED = "REPLACED"
"""Status of an instrument whose symbol means another one by now."""

_FORGETS_MS = 32 * 86_400_000
"""REST's last candle may lie this far before the archive's last file: a month's file ends with
the month. Where the archive goes on longer, REST has only forgotten the rest."""


def facts_of(
    venue: Venue, symbol: str, series: Series, *, archived: bool = False
) -> InstrumentFacts:
    """What the venue says of the symbol; an archived but unlisted one is `ARCHIVED`.

    With `archived` it was so before, and the archive, which forgets nothing, is not listed
    again. Raises UnknownSymbol when neither the venue nor its archive knows it.
    """
    try:
        return venue.instrument(symbol)
    except UnknownSymbol:
        if archived:
            return InstrumentFacts(symbol, symbol, "", "", ARCHIVED, trading=False)
        end_ms = venue.archive.newest_file_end_ms(series) if venue.archive else None
        if end_ms is None:
            raise
        return InstrumentFacts(symbol, symbol, "", "", ARCHIVED, trading=False)


def facts_in(share: Share, facts: InstrumentFacts) -> InstrumentFacts:
    """What `facts` of a symbol mean for one of the instruments it has meant."""
    if share.last:
        return facts
    return InstrumentFacts(
        facts.symbol, facts.venue_symbol, facts.base_asset, facts.quote_asset, REPLACED, False
    )


def life_absences(
    venue: Venue, series: Series, share: Share, facts: InstrumentFacts, account: Account
) -> tuple[list[NewAbsence], list[Evidence]]:
    """Absences before the first and after the last candle ever published, with evidence.

    `share` is the instrument and its whole part of the time axis. The venue is asked only
    when the account has a loss at that end of its window. Returns (absences, the evidence
    they rest on).
    """
    found: list[NewAbsence] = []
    evidence: list[Evidence] = []
    lost = account.lost_windows
    if not lost or not venue.knows_life:
        return found, evidence
    step_ms = series.timeframe.step_ms
    if lost[0].start_ms == int(account.expected[0]):
        first, by = _first(venue, series, share, facts)
        if first is not None and first.open_time_ms >= lost[0].start_ms + step_ms:
            listed_ms = series.timeframe.floor(first.open_time_ms)
            if len(account.stored) and listed_ms > int(account.stored[0]):
                # What is stored before the venue's first candle of today was published once.
                listed_ms = int(account.stored[0])
            part = Window(lost[0].start_ms, min(listed_ms, lost[0].end_ms))
            proof = {"first_open_time_ms": listed_ms, by: [_answer(first)], **_said(share, facts)}
            found.append(NewAbsence(part, "before_listing", proof))
            evidence.append(first)
    if not facts.trading and lost[-1].end_ms > int(account.expected[-1]):
        last, by = _last(venue, series, share, facts)
        if last is not None:
            last_ms = series.timeframe.floor(last.open_time_ms)
            after_ms = max(lost[-1].start_ms, last_ms + step_ms)
            if after_ms < lost[-1].end_ms:
                part = Window(after_ms, lost[-1].end_ms)
                proof = {"last_open_time_ms": last_ms, by: [_answer(last)], **_said(share, facts)}
                found.append(NewAbsence(part, "after_end", proof))
                evidence.append(last)
    return found, evidence


def _first(
    venue: Venue, series: Series, share: Share, facts: InstrumentFacts
) -> tuple[Evidence | None, str]:
    """The first candle of the share and who has shown it; None if unsure."""
    try:
        if facts.status != ARCHIVED:
            seen, by = venue.first_candle(series, share.window.start_ms), "rest"
        elif share.window.start_ms == 0 and venue.archive is not None:
            seen, by = venue.archive.first_candle(series), "archive"
        else:
            return None, ""
    except ProviderError as error:
        if error.transient:
            raise
        return None, ""
    return _inside(share, seen), by


def _last(
    venue: Venue, series: Series, share: Share, facts: InstrumentFacts
) -> tuple[Evidence | None, str]:
    """The last candle of a share that trades no more and who has shown it; None if unsure."""
    archive = venue.archive
    try:
        if not share.last:
            if facts.status == ARCHIVED:
                return None, ""
            return _inside(share, venue.last_candle(series, share.window.end_ms)), "rest"
        files_end_ms = archive.newest_file_end_ms(series) if archive else None
        if facts.status != ARCHIVED:
            seen = venue.last_candle(series)
            forgotten = (
                files_end_ms is not None
                and seen.open_time_ms is not None
                and files_end_ms > seen.open_time_ms + _FORGETS_MS
            )
            if not forgotten:
                return _inside(share, seen), "rest"
        if archive is None:
            return None, ""
        return _inside(share, archive.last_candle(series)), "archive"
    except ProviderError as error:
        if error.transient:
            raise
        return None, ""


def _inside(share: Share, seen: Evidence | None) -> Evidence | None:
    if seen is None or seen.open_time_ms is None or not share.window.contains(seen.open_time_ms):
        return None
    return seen


def _said(share: Share, facts: InstrumentFacts) -> dict[str, object]:
    """What was known of the instrument when this was concluded."""
    said: dict[str, object] = {"status": facts.status}
    if share.lifetime.source:
        said |= {"instrument": share.lifetime.name, "identity_source": share.lifetime.source}
    return said


def _answer(seen: Evidence) -> dict[str, str]:
    return {
        "url": seen.fetch.url,
        "sha256": seen.fetch.sha256,
        "fetched_at": seen.fetch.fetched_at.isoformat(),
    }
