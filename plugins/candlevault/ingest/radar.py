"""The restatement radar: archive files that were rewritten after they were loaded.

A venue rewrites published files without a word. The listing tells: a file whose ETag is not
that of the version last compared is loaded again, and what differs becomes a correction.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

from candlevault import identities
from candlevault.errors import CandlevaultError, GeoBlocked, InvalidRequest, RateLimited
from candlevault.ingest import collect
from candlevault.ingest.load import Market, load
from candlevault.providers.contract import ArchiveFile
from candlevault.storage import archive_files
from candlevault.storage.corrections import PROVIDER, Correction
from candlevault.storage.database import retrying
from candlevault.storage.series_registry import StoredSeries

_ORDERS = {"monthly": collect.ARCHIVE_FIRST, "daily": collect.DAILY_FIRST}


@dataclass(slots=True)
class RadarReport:
    """What the listing of a series' files showed. Plain values only."""

    symbol: str
    timeframe: str
    files: int = 0
    new: int = 0
    rewritten: list[str] = field(default_factory=list)
    candles_changed: int = 0
    candles_added: int = 0
    candles_removed: int = 0
    failed: list[str] = field(default_factory=list)
    transient: bool = False

    def as_dict(self) -> dict[str, object]:
        """The report as JSON-able values."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.symbol} {self.timeframe}: {self.files} files listed, {self.new} new,"
            f" {len(self.rewritten)} rewritten; {self.candles_changed} candles changed,"
            f" {self.candles_added} added, {self.candles_removed} removed"
        )


def examine(market: Market, stored: StoredSeries) -> RadarReport:
    """List the files of a series and load those again that were rewritten.

    The first listing of a file is compared with the version its candles were loaded from,
    if they came from it. A file that fails is told and examined again next time.
    """
    archive = market.venue.archive
    if archive is None:
        raise InvalidRequest("venue", "has no archive", market.venue.venue)
    report = RadarReport(stored.series.symbol, stored.series.timeframe.code)
    for file, examined in _listed(market, stored, archive.files(stored.series), report):
        if examined is None or examined == file.etag:
            continue
        report.rewritten.append(file.key)
        market.say(f"{stored}: {file.key} was rewritten ({examined} is {file.etag} now)")
        try:
            _reload(market, stored, file, report)
        except (RateLimited, GeoBlocked):
            raise
        except CandlevaultError as error:
            report.transient = report.transient or error.transient
            report.failed.append(f"{file.key}: {type(error).__name__}: {error}"[:500])
            market.say(f"{stored}: {report.failed[-1]}")
    return report


def _listed(
    market: Market, stored: StoredSeries, files: list[ArchiveFile], report: RadarReport
) -> Iterator[tuple[ArchiveFile, str | None]]:
    """The files of this instrument and the ETag they were last compared at."""
    share = identities.shares(stored.series)[stored.lifetime - 1]
    ours = [file for file in files if file.window.intersection(share.window) is not None]
    report.files = len(ours)
    known = retrying(lambda: archive_files.note(market.connect, stored, ours))
    report.new = sum(1 for file in ours if known[file.key] is None)
    yield from ((file, known[file.key]) for file in ours)


def _reload(market: Market, stored: StoredSeries, file: ArchiveFile, report: RadarReport) -> None:
    done = load(
        market,
        stored.series,
        file.window,
        purpose="restatement",
        order=_ORDERS[file.granularity],
        reread=file.window,
        correction=Correction("restatement", PROVIDER, file.key, dag_run_id=market.run_id),
    )
    report.candles_changed += done.candles_changed
    report.candles_added += done.candles_added
    report.candles_removed += done.candles_removed
    retrying(lambda: archive_files.examined(market.connect, stored, file))
