"""Cross-validation: stored candles held against a second source.

A second source trades elsewhere, so its candles are never the same; they must be close. One
that claims to hold the same venue's candles must be equal. What is further apart is recorded
as a discrepancy; nothing is changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa

from candlevault import candles
from candlevault.errors import InvalidRequest
from candlevault.ingest import correction_files
from candlevault.ingest.load import Market, load
from candlevault.series import Series
from candlevault.storage import candle_reads, discrepancies, series_registry
from candlevault.storage.candle_reads import Absence
from candlevault.storage.database import retrying
from candlevault.storage.discrepancies import Disagreement
from candlevault.storage.series_registry import StoredSeries
from candlevault.timeframe import Timeframe, from_ms
from candlevault.windows import Window

KIND = "second_source"
TOLERANCE_PCT = 1.0

_MISSING = "candle"
"""The field of a disagreement about whether there is a candle at all."""


@dataclass(frozen=True, slots=True)
class ValidationReport:
    """What a comparison found. Plain values only."""

    symbol: str
    timeframe: str
    other: str
    window: str
    tolerance_pct: float
    compared: int
    only_stored: int
    only_other: int
    discrepancies: int
    new: int
    settled: int
    worst_pct: float

    def as_dict(self) -> dict[str, object]:
        """The report as JSON-able values."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.symbol} {self.timeframe} against {self.other}: {self.compared} candles"
            f" compared, {self.discrepancies} fields further apart than {self.tolerance_pct} %"
            f" (worst {self.worst_pct:.3f} %), {self.new} of them new, {self.settled} settled;"
            f" {self.only_stored} only stored, {self.only_other} only there"
        )


def against_source(
    market: Market,
    stored: StoredSeries,
    other: Market,
    other_series: Series,
    window: Window,
    *,
    tolerance_pct: float = TOLERANCE_PCT,
) -> ValidationReport:
    """Load `window` from a second source, into its own series, and compare prices.

    It is read again where it is stored: what the source says now is what counts.
    Where the source's candles are coarser, the stored ones are rolled up to them. Compared
    are candles of the same open_time. Raises as load.
    """
    if not 0 < tolerance_pct <= 100:
        raise InvalidRequest("tolerance_pct", "must lie in (0, 100]", tolerance_pct)
    load(other, other_series, window, purpose="cross_validation", reread=window)
    theirs_stored = retrying(lambda: series_registry.get(other.connect, other_series))
    ours, _ = _current(market, stored, window)
    theirs, _ = _current(other, theirs_stored, window)
    timeframe = other_series.timeframe
    if timeframe != stored.series.timeframe:
        ours = roll_up(ours, stored.series.timeframe, timeframe)
    name = f"{other_series.venue}/{other_series.market}/{other_series.symbol}/{timeframe}"
    found = differences(ours, theirs, name, tolerance_pct, candles.PRICES)
    return _conclude(market, stored, window, name, tolerance_pct, ours, theirs, found)


def against_file(
    market: Market,
    stored: StoredSeries,
    body: bytes,
    name: str,
    *,
    tolerance_pct: float = 0.0,
) -> ValidationReport:
    """Compare a CSV (see correction_files) with what is stored; nothing of it is stored.

    Prices and volume; by default for equality. A candle that only the file has is a
    discrepancy of its own.
    """
    theirs = correction_files.parse(body)
    times = candles.open_times(theirs)
    window = Window(int(times[0]), int(times[-1]) + stored.series.timeframe.step_ms)
    ours, known = _current(market, stored, window)
    found = differences(ours, theirs, name, tolerance_pct, (*candles.PRICES, "volume"))
    found += invented(ours, theirs, name, known)
    return _conclude(market, stored, window, name, tolerance_pct, ours, theirs, found)


def differences(
    ours: pa.Table,
    theirs: pa.Table,
    other: str,
    tolerance_pct: float,
    fields: Sequence[str],
) -> list[Disagreement]:
    """Fields of candles of the same open_time that are further apart than the tolerance.

    In percent of ours; where ours is 0, any other value is too far.
    """
    _, left, right = np.intersect1d(
        candles.open_times(ours), candles.open_times(theirs), return_indices=True
    )
    a, b = candles.take(ours, left), candles.take(theirs, right)
    times = candles.open_times(a)
    found = []
    for field in fields:
        x = a[field].cast(pa.float64()).to_numpy()
        y = b[field].cast(pa.float64()).to_numpy()
        apart = np.abs(y - x) > np.abs(x) * tolerance_pct / 100
        for row in np.flatnonzero(apart):
            found.append(
                Disagreement(
                    int(times[row]),
                    other,
                    field,
                    a[field][int(row)].as_py(),
                    b[field][int(row)].as_py(),
                )
            )
    return sorted(found, key=lambda one: (one.open_time_ms, one.field))


def invented(
    ours: pa.Table, theirs: pa.Table, other: str, known: Sequence[Absence]
) -> list[Disagreement]:
    """Candles that only the other source has: known absences explain them."""
    extra = ~np.isin(candles.open_times(theirs), candles.open_times(ours))
    found = []
    for row in candles.take(theirs, extra).to_pylist():
        time_ms = row["open_time"]
        absence = next((one for one in known if one.window.contains(time_ms)), None)
        why = absence and (
            f"the venue never published this candle ({absence.reason}, absence"
            f" {absence.absence_id}); {other} does not have it from there"
        )
        found.append(Disagreement(time_ms, other, _MISSING, None, row["close"], why))
    return found


def roll_up(table: pa.Table, fine: Timeframe, coarse: Timeframe) -> pa.Table:
    """Coarse candles of fine ones, only where every fine one is there; columns as given.

    A fine candle without volume repeats an old price and supplies none, unless all do.
    Volumes and trades are sums; `close_time` is that of the last fine candle.
    """
    if coarse.step_ms % fine.step_ms or coarse.step_ms < fine.step_ms:
        raise InvalidRequest("timeframe", f"{coarse} is no multiple of {fine}", coarse.code)
    times = candles.open_times(table)
    buckets = times - (times - coarse.origin_ms) % coarse.step_ms
    starts, first, counts = np.unique(buckets, return_index=True, return_counts=True)
    rows = []
    for start, at, count in zip(starts, first, counts, strict=True):
        if count == coarse.step_ms // fine.step_ms:
            rows.append(_merged(int(start), table.slice(int(at), int(count)).to_pylist()))
    return pa.Table.from_pylist(rows, candles.SCHEMA)


def _merged(open_time: int, fine: list[dict]) -> dict:
    priced = [row for row in fine if row["volume"] > 0] or fine
    return {
        "open_time": open_time,
        "open": priced[0]["open"],
        "high": max(row["high"] for row in priced),
        "low": min(row["low"] for row in priced),
        "close": priced[-1]["close"],
        **{name: sum(row[name] for row in fine) for name in (*candles.AMOUNTS, "trades_count")},
        "close_time": fine[-1]["close_time"],
        "source": 0,
    }


def _current(
    market: Market, stored: StoredSeries, window: Window
) -> tuple[pa.Table, list[Absence]]:
    def read() -> tuple[pa.Table, list[Absence]]:
        with market.connect() as connection:
            revision = candle_reads.current_revision(connection, stored)
            return (
                candle_reads.read(connection, stored, window, revision),
                candle_reads.absences(connection, stored, window, revision),
            )

    return retrying(read)


def _conclude(
    market: Market,
    stored: StoredSeries,
    window: Window,
    other: str,
    tolerance_pct: float,
    ours: pa.Table,
    theirs: pa.Table,
    found: list[Disagreement],
) -> ValidationReport:
    """Record what was found, settle what was compared and is gone, and count."""
    x, y = candles.open_times(ours), candles.open_times(theirs)
    both = np.intersect1d(x, y)
    still = [(one.open_time_ms, one.field) for one in found]
    told = f"within {tolerance_pct} % of {other}" if tolerance_pct else f"equal to {other}"

    def record() -> tuple[int, int]:
        with market.connect() as connection, connection.transaction():
            new = discrepancies.hold(connection, stored, KIND, found, market.run_id)
            over = discrepancies.settle(
                connection, stored, KIND, other, window, still, both.tolist(), f"{told} by now"
            )
        return new, over

    new, settled = retrying(record)
    apart = [abs(one.difference_pct) for one in found if one.difference_pct is not None]
    report = ValidationReport(
        symbol=stored.series.symbol,
        timeframe=stored.series.timeframe.code,
        other=other,
        window=str(window),
        tolerance_pct=tolerance_pct,
        compared=len(both),
        only_stored=len(x) - len(both),
        only_other=len(y) - len(both),
        discrepancies=len(found),
        new=new,
        settled=settled,
        worst_pct=max(apart, default=0.0),
    )
    for one in found[:20]:
        market.say(
            f"{stored}: {from_ms(one.open_time_ms):%Y-%m-%dT%H:%M}Z {one.field}: stored"
            f" {one.ours}, {other} {one.theirs}"
            + (f" ({one.explanation})" if one.explanation else "")
        )
    return report
