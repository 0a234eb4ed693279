"""Corrections: candles changed on purpose, from a file or by asking the venue again.

A correction is validated as a whole, applied only where it differs, and logged. A file that
breaks any rule changes nothing; the log says why.
"""

from __future__ import annotations

import hashlib
import os
import socket
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

import pyarrow as pa

from candlevault import candles, windows
from candlevault.errors import InvalidRequest
from candlevault.ingest import collect, correction_files
from candlevault.ingest.load import SETTLING_MS, Market, load
from candlevault.ingest.retention import refreeze
from candlevault.provenance import Fetch
from candlevault.quality.judge import judge
from candlevault.series import Series
from candlevault.storage import candle_reads, corrections, ledger, publish, series_registry
from candlevault.storage.corrections import Correction, Outcome
from candlevault.storage.database import retrying
from candlevault.storage.locks import series_lock
from candlevault.storage.series_registry import StoredSeries
from candlevault.timeframe import from_ms
from candlevault.windows import Window

_TOLD = 20
"""How many problems of a file are told."""

_ORDERS = {"rest": collect.REST_FIRST, "archive": collect.ARCHIVE_FIRST}


@dataclass(frozen=True, slots=True)
class CorrectionReport:
    """What a correction did. Plain values only; `window` is half-open, UTC."""

    symbol: str
    timeframe: str
    kind: str
    source: str
    window: str
    outcome: str
    rows_given: int
    records_updated: int
    records_inserted: int
    records_removed: int

    def as_dict(self) -> dict[str, object]:
        """The report as JSON-able values."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.symbol} {self.timeframe} {self.window}: {self.outcome}: "
            f"{self.records_updated} updated, {self.records_inserted} inserted, "
            f"{self.records_removed} removed"
        )


def apply_file(
    market: Market,
    series: Series,
    body: bytes,
    *,
    name: str,
    reason: str,
    requested_by: str = "",
) -> CorrectionReport:
    """Apply a CSV of candles (see correction_files) to a stored series.

    Columns that the file lacks keep their stored values. Raises InvalidRequest, after the
    refusal was logged, naming lines and rules: nothing of the file is then applied.
    """
    correction = Correction(
        "file",
        reason,
        name,
        hashlib.sha256(body).hexdigest(),
        requested_by=requested_by,
        dag_run_id=market.run_id,
    )
    now_ms = market.venue.server_time_ms()
    current = retrying(lambda: series_registry.get(market.connect, series))
    stored, hull = current, None
    try:
        given = correction_files.parse(body)
        correction = replace(correction, rows_given=given.num_rows)
        hull = _hull(given)
        stored = _named_by(market, series, hull)
    except InvalidRequest as error:
        _refuse(market, stored, hull, correction, error)
    with series_lock(market.connect, stored.series_id, sleep=market.sleep):
        return _apply(market, stored, given, len(body), correction, now_ms)


def addressed(market: Market, series: Series, body: bytes) -> StoredSeries:
    """The stored series that a CSV is about: that of the instrument that lived at its times.

    Raises InvalidRequest for a file that cannot be read, or is about two instruments.
    """
    return _named_by(market, series, _hull(correction_files.parse(body)))


def _hull(given: pa.Table) -> Window:
    times = candles.open_times(given)
    return Window(int(times.min()), int(times.max()) + 1)


def _named_by(market: Market, series: Series, hull: Window) -> StoredSeries:
    with market.connect() as connection:
        return series_registry.resolve(connection, series, hull, field="file")


def reread(
    market: Market,
    series: Series,
    window: Window,
    *,
    provider: str = "rest",
    reason: str = corrections.PROVIDER,
    requested_by: str = "",
) -> CorrectionReport:
    """Ask the venue again for `window` and apply what differs from what is stored.

    `provider` is who is asked first, rest or archive; the other one is asked for what that
    one lacks, and decides where the archive differs from what is stored. Raises as load.
    """
    if provider not in _ORDERS:
        raise InvalidRequest("provider", f"must be one of {', '.join(_ORDERS)}", provider)
    retrying(lambda: series_registry.get(market.connect, series))
    correction = Correction(
        "reread",
        reason,
        provider,
        requested_by=requested_by,
        dag_run_id=market.run_id,
    )
    report = load(
        market,
        series,
        window,
        purpose="correction",
        order=_ORDERS[provider],
        reread=window,
        reexamine=True,
        correction=correction,
    )
    changed = report.candles_added + report.candles_changed + report.candles_removed
    if not changed:
        _log_unchanged(market, series, window, correction)
    return CorrectionReport(
        series.symbol,
        series.timeframe.code,
        "reread",
        provider,
        report.window,
        "applied" if changed else "unchanged",
        report.candles_added + report.candles_changed + report.candles_unchanged,
        report.candles_changed,
        report.candles_added,
        report.candles_removed,
    )


def _log_unchanged(market: Market, series: Series, window: Window, correction: Correction) -> None:
    def log() -> None:
        with market.connect() as connection:
            for touched in series_registry.touched(connection, series, window):
                if touched.stored is not None:
                    corrections.record(
                        connection, touched.stored, touched.window, correction, Outcome()
                    )

    retrying(log)


def _apply(
    market: Market,
    stored: StoredSeries,
    given: pa.Table,
    size: int,
    correction: Correction,
    now_ms: int,
) -> CorrectionReport:
    """Judge and publish a parsed file, under the series' lock."""
    series = stored.series
    times = candles.open_times(given)
    window = Window(int(times.min()), int(times.max()) + series.timeframe.step_ms)
    with market.connect() as connection:
        revision = candle_reads.current_revision(connection, stored)
        held = candle_reads.read(connection, stored, window, revision)
        known = candle_reads.absences(connection, stored, window)
    table = correction_files.completed(given, held, series.timeframe)
    fetch = _fetch(series, correction, size, table.num_rows)
    closed_before_ms = now_ms - SETTLING_MS
    try:
        _refuse_absent(given, known)
        judged = judge(table, [fetch], series, window, closed_before_ms)
        if judged.rejected:
            told = [
                f"{from_ms(row.open_time_ms or 0):%Y-%m-%dT%H:%M:%SZ}: {', '.join(row.reasons)}"
                for row in judged.rejected[:_TOLD]
            ]
            raise InvalidRequest(
                "file", f"{len(judged.rejected)} candles break a rule: {'; '.join(told)}"
            )
    except InvalidRequest as error:
        _refuse(market, stored, window, correction, error)
    by = f"{socket.gethostname()}:{os.getpid()}:{market.run_id or '-'}"
    claim = retrying(
        lambda: ledger.claim(market.connect, stored.series_id, window, "correction", by)
    )
    batch = publish.Batch(
        candles=judged.accepted,
        fetches=[fetch],
        expected=windows.expected_count(window, series.timeframe),
        reason=correction.reason,
        correction=correction,
    )
    try:
        done = retrying(lambda: publish.publish(market.connect, stored, claim, batch))
    except BaseException as error:
        failure = error
        retrying(lambda: ledger.fail(market.connect, claim, failure))
        raise
    refreeze(market.connect, stored)
    if done.revision is None:
        _log_unchanged(market, series, window, correction)
    return CorrectionReport(
        series.symbol,
        series.timeframe.code,
        "file",
        correction.source,
        str(window),
        "applied" if done.inserted + done.changed else "unchanged",
        table.num_rows,
        done.changed,
        done.inserted,
        0,
    )


def _refuse(
    market: Market,
    stored: StoredSeries,
    window: Window | None,
    correction: Correction,
    error: InvalidRequest,
) -> None:
    refusal = error
    retrying(lambda: corrections.reject(market.connect, stored, window, correction, str(refusal)))
    market.say(f"{stored}: refused as a whole: {error}")
    raise error


def _refuse_absent(given: pa.Table, known: list[candle_reads.Absence]) -> None:
    """A candle that the venue is known not to have published cannot come from a file."""
    times = candles.open_times(given)
    for absence in known:
        inside = times[(times >= absence.window.start_ms) & (times < absence.window.end_ms)]
        if len(inside):
            raise InvalidRequest(
                "file",
                f"candle {from_ms(int(inside[0])):%Y-%m-%dT%H:%M:%SZ} lies in a known absence"
                f" ({absence.reason}, {absence.window}): the venue never published it",
            )


def _fetch(series: Series, correction: Correction, size: int, rows: int) -> Fetch:
    market = "" if series.market == "spot" else f"_{series.market}"
    assert correction.source_sha256 is not None
    return Fetch(
        provider=f"{series.venue}{market}_manual",
        symbol=series.symbol,
        timeframe=series.timeframe.code,
        url=f"file:{correction.source}",
        sha256=correction.source_sha256,
        bytes=size,
        rows=rows,
        fetched_at=datetime.now(UTC),
        duration_ms=0,
    )
