"""Monthly consolidation: a past month is filled, checked as a whole, and certified.

The verdict stays in the partition ledger with the revision it was given at. It holds as
long as nothing of the month changes; only then is the work done again.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import date

from candlevault.errors import InvalidRequest
from candlevault.ingest.load import SETTLING_MS, Market, load
from candlevault.quality import check as quality
from candlevault.quality import months
from candlevault.storage import candle_reads, cold
from candlevault.storage.database import retrying
from candlevault.storage.series_registry import StoredSeries
from candlevault.windows import Window

CERTIFIED = "certified"
UNCHANGED = "unchanged"
REFUSED = "refused"
OUTSIDE = "outside its life"


@dataclass(slots=True)
class Verdict:
    """What became of a month of a series. `refused` says why in `reasons`."""

    symbol: str
    timeframe: str
    month: str
    outcome: str
    expected: int = 0
    stored: int = 0
    known_absent: int = 0
    lost: int = 0
    filled: int = 0
    open_discrepancies: int = 0
    reasons: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        """The verdict as JSON-able values."""
        return asdict(self)

    def __str__(self) -> str:
        why = f": {'; '.join(self.reasons)}" if self.reasons else ""
        return (
            f"{self.symbol} {self.timeframe} {self.month}: {self.outcome}, {self.stored:,} of"
            f" {self.expected:,} stored, {self.known_absent} known absent, {self.lost} lost"
            f", {self.filled} filled now{why}"
        )


def consolidate(
    market: Market, stored: StoredSeries, month: date, *, again: bool = False
) -> Verdict:
    """Fill and check a past month (`month` is its first day, UTC) and record the verdict.

    A month that was certified and has not changed since is left alone unless `again`. A
    month with lost candles or a failed check is not certified; open discrepancies do not
    refuse it: they are counted and stay visible.
    """
    window = cold.month_window(month)
    now_ms = market.venue.server_time_ms()
    if window.end_ms > now_ms - SETTLING_MS:
        raise InvalidRequest("month", "is not over yet", f"{month:%Y-%m}")
    series = stored.series
    verdict = Verdict(series.symbol, series.timeframe.code, f"{month:%Y-%m}", UNCHANGED)
    life = window.intersection(stored.life)
    if life is None:
        verdict.outcome = OUTSIDE
        return verdict
    if not again and _holds(market, stored, month, window):
        _count(market, stored, life, verdict)
        return verdict
    _count(market, stored, life, verdict)
    if verdict.lost:
        verdict.filled = load(market, series, life, purpose="consolidation").candles_added
    with market.connect() as connection:
        revision = candle_reads.current_revision(connection, stored)
    outcome = quality.check(market.connect, stored, life, now_ms - SETTLING_MS, market.run_id)
    verdict.expected, verdict.stored = outcome.expected, outcome.stored
    verdict.known_absent, verdict.lost = outcome.known_absent, outcome.lost
    verdict.reasons = [f"{f.check}: {f.count} ({f.why})" for f in outcome.failures]
    verdict.outcome = REFUSED if outcome.failures or outcome.lost else CERTIFIED
    retrying(lambda: _record(market, stored, month, window, verdict, outcome, revision))
    return verdict


def _holds(market: Market, stored: StoredSeries, month: date, window: Window) -> bool:
    """Whether the month was certified and nothing of it has changed since."""
    with market.connect() as connection:
        row = connection.execute(
            "SELECT certified_revision FROM market.series_months WHERE series_id = %s"
            " AND month = %s AND certified_revision IS NOT NULL",
            (stored.series_id, month),
        ).fetchone()
        if row is None:
            return False
        return months.touched_months(connection, stored, window).get(month, 0) <= row[0]


def _count(market: Market, stored: StoredSeries, window: Window, verdict: Verdict) -> None:
    with market.connect() as connection:
        account = candle_reads.account(connection, stored, window)
    verdict.expected, verdict.stored = len(account.expected), len(account.stored)
    verdict.known_absent, verdict.lost = len(account.absent), len(account.lost)


def _record(
    market: Market,
    stored: StoredSeries,
    month: date,
    window: Window,
    verdict: Verdict,
    outcome: quality.QualityReport,
    revision: int,
) -> None:
    findings = [asdict(finding) for finding in (*outcome.failures, *outcome.warnings)]
    certified = verdict.outcome == CERTIFIED
    with market.connect() as connection:
        verdict.open_discrepancies = connection.execute(
            "SELECT count(*) FROM market.discrepancies WHERE series_id = %s AND state = 'open'"
            " AND open_time >= %s AND open_time < %s",
            (stored.series_id, window.start, window.end),
        ).fetchone()[0]
        connection.execute(
            "UPDATE market.series_months SET certified_revision = %(revision)s,"
            " certified_at = CASE WHEN %(certified)s THEN clock_timestamp() END,"
            " findings = %(findings)s, open_discrepancies = %(open)s"
            " WHERE series_id = %(series_id)s AND month = %(month)s",
            {
                "revision": revision if certified else None,
                "certified": certified,
                "findings": json.dumps(findings),
                "open": verdict.open_discrepancies,
                "series_id": stored.series_id,
                "month": month,
            },
        )
