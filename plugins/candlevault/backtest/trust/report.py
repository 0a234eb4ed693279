"""The trust report that every stored result carries."""

from __future__ import annotations

from datetime import datetime

import numpy as np

from candlevault import windows
from candlevault.backtest import result as results
from candlevault.backtest.data.preparation import Prepared, prepare
from candlevault.backtest.data.reading import Reading, Revisions
from candlevault.backtest.payload import BacktestRequest
from candlevault.backtest.result import BacktestResult
from candlevault.backtest.trust import touching, warm_up
from candlevault.backtest.trust.lookahead import Checked
from candlevault.storage import doubts, series_registry
from candlevault.storage.database import Connect


def build(
    connect: Connect,
    request: BacktestRequest,
    prepared: Prepared,
    result: BacktestResult,
    lookahead: Checked,
    *,
    same_again: bool,
) -> dict[str, object]:
    """The report as it is stored, JSON-able.

    - `data`: the fingerprint, the payload's `as_of`, and each series' revision with the time
      it was recorded (ISO, UTC); the time as of which funding was read, in market um; `finer`
      in mode resolved: see FinerCandles.report.
    - `touching`: see touching.Touching, by kind: known_absent, restated, flagged, discrepant, any.
    - `lookahead`: how many truncations were tried; a strategy that changed its mind about the
      past would have failed the run.
    - `warm_up`: see warm_up.sensitivity.
    - `repeats`: the run was done twice and gave the same bytes.
    """
    kinds = [_doubts(connect, reading) for reading in prepared.readings]
    return {
        "data": {
            "fingerprint": prepared.fingerprint,
            "as_of": None if request.data.as_of is None else request.data.as_of.isoformat(),
            "revisions": [_revision(connect, one) for one in prepared.readings],
            "funding_as_of": None
            if prepared.funding_as_of is None
            else prepared.funding_as_of.isoformat(),
            **({} if prepared.finer is None else {"finer": prepared.finer.report()}),
        },
        "touching": touching.report(result.simulation.log, kinds),
        "lookahead": lookahead.as_dict(),
        "warm_up": warm_up.sensitivity(
            request,
            result,
            lambda wider: _earlier(connect, wider, prepared),
        ),
        "repeats": same_again,
    }


def repeats(request: BacktestRequest, prepared: Prepared, result: BacktestResult) -> bool:
    """Run the request again on the same inputs: whether the bytes are the same."""
    again = results.run(
        request, prepared.inputs, data_version=prepared.fingerprint, finer=prepared.finer
    )
    return results.result_hash(again) == results.result_hash(result)


def _doubts(connect: Connect, reading: Reading) -> dict[str, np.ndarray]:
    known = windows.open_times_of(
        windows.merge(
            part
            for absence in reading.absences
            if (part := absence.window.intersection(reading.window)) is not None
        ),
        reading.series.timeframe,
    )
    found: dict[str, list[np.ndarray]] = {
        kind: [] for kind in (doubts.RESTATED, doubts.FLAGGED, doubts.DISCREPANT)
    }
    with connect() as connection:
        for read in reading.reads:
            stored = series_registry.by_id(connection, read.series_id)
            for kind, times in doubts.of_window(
                connection, read.series_id, stored, read.window
            ).items():
                found[kind].append(times)
    return {
        touching.KNOWN_ABSENT: known,
        **{
            kind: np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)
            for kind, parts in found.items()
        },
    }


def _revision(connect: Connect, reading: Reading) -> dict[str, object]:
    last = reading.reads[-1]
    with connect() as connection:
        row = connection.execute(
            "SELECT max(recorded_at) FROM market.series_revisions"
            " WHERE series_id = %s AND revision <= %s",
            (last.series_id, last.revision),
        ).fetchone()
    recorded: datetime | None = row[0]
    return {
        "series": str(reading.series),
        "revision": last.revision,
        "recorded_at": None if recorded is None else recorded.isoformat(),
    }


def _earlier(connect: Connect, wider: BacktestRequest, prepared: Prepared):
    """Inputs with more warm-up, at the revisions the run has read."""
    given = {read.series_id: read.revision for read in prepared.reads}
    revisions = Revisions(wider.data.as_of, given, prepared.funding_as_of)
    # Candles that are lost before the window are no reason to fail: what is stored counts.
    return prepare(connect, wider, revisions, strict_warm_up=False).inputs
