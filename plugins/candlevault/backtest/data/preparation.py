"""From stored candles to the inputs of a run, and what was read for them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from candlevault import decimals
from candlevault.backtest.data import reading
from candlevault.backtest.data.finer import Fetch, FinerCandles
from candlevault.backtest.data.frame import BacktestFrame, build_frame
from candlevault.backtest.data.funding import on_grid
from candlevault.backtest.data.inputs import Inputs
from candlevault.backtest.data.reading import Reading, Revisions
from candlevault.backtest.payload import BacktestRequest
from candlevault.errors import DataMissing
from candlevault.storage.backtests import Read
from candlevault.storage.database import Connect
from candlevault.storage.funding import Funding

_COLUMNS = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """Inputs, the readings they were made of (one a symbol), those that only warm up, and who
    answers doubts inside bars (None unless the payload asks for that). `funding` of each symbol
    was read as of `funding_as_of`; none in markets without it.
    """

    inputs: Inputs
    readings: tuple[Reading, ...]
    warm_up: tuple[Reading, ...]
    finer: FinerCandles | None
    funding: tuple[Funding, ...] = ()
    funding_as_of: datetime | None = None

    @property
    def fingerprint(self) -> str:
        """The fingerprint of everything that was read from the store."""
        return reading.fingerprint(
            self.readings,
            *(one.fingerprint for one in self.warm_up),
            *(one.fingerprint for one in self.funding),
        )

    @property
    def reads(self) -> list[Read]:
        """Where the candles were read; those of the window come last."""
        finer = [] if self.finer is None else self.finer.reads
        return [
            *finer,
            *(read for one in self.warm_up for read in one.reads),
            *(read for one in self.readings for read in one.reads),
        ]


def prepare(
    connect: Connect,
    request: BacktestRequest,
    revisions: Revisions | None = None,
    fetch: Fetch | None = None,
    *,
    strict_warm_up: bool = True,
) -> Prepared:
    """Read what `request` needs; `revisions` are those of the payload's `as_of` if left out.

    `fetch` loads finer candles of bars in doubt; without it only what is stored is used. Lost
    candles before the window are refused only with `strict_warm_up`.
    Raises DataMissing when candles are lost, and what reading raises.
    """
    revisions = revisions or Revisions(request.data.as_of)
    readings, warm_up, frames, before = [], [], [], []
    for series in request.all_series:
        one = reading.read(connect, series, reading.grid_of(request, series), revisions)
        readings.append(one)
        # Whoever publishes meanwhile must not give the warm-up another state than the window.
        revisions = revisions.kept(one.reads)
        frames.append(_frame(one, request.data.absent))
        window = reading.warm_up_of(request, series)
        earlier = None if window is None else reading.read(connect, series, window, revisions)
        if earlier is not None and earlier.table.num_rows:
            warm_up.append(earlier)
            before.append(_frame(earlier, "mark", strict=strict_warm_up))
        else:
            before.append(None)
    paid, rates, funding_as_of = [], None, None
    if request.is_funded:
        paid, funding_as_of = reading.read_funding(connect, request, revisions)
        _refuse_missing(request, paid)
        rates = [
            on_grid(frame.open_time, frame.timeframe.step_ms, frame.present, one.events)
            for frame, one in zip(frames, paid, strict=True)
        ]
    return Prepared(
        inputs=Inputs.of(frames, before=before, funding=rates),
        readings=tuple(readings),
        warm_up=tuple(warm_up),
        finer=FinerCandles(connect, request, revisions, fetch)
        if request.intrabar.timeframe is not None
        else None,
        funding=tuple(paid),
        funding_as_of=funding_as_of,
    )


def _refuse_missing(request: BacktestRequest, paid: list[Funding]) -> None:
    for series, one in zip(request.all_series, paid, strict=True):
        if one.missing:
            raise DataMissing(
                f"{series}: funding was never loaded in"
                f" {', '.join(str(window) for window in one.missing[:5])}; run the backtest again,"
                " which loads it, with an as_of (if any) after that; or set"
                ' "funding" to false in the payload'
            )


def _frame(one: Reading, absent: str, *, strict: bool = True) -> BacktestFrame:
    columns = {"open_time": one.table["open_time"].to_numpy(zero_copy_only=False)}
    columns |= {name: decimals.floats(one.table[name]) for name in _COLUMNS}
    return build_frame(
        one.series.timeframe,
        one.window,
        columns,
        absent=absent,
        absences=[absence.window for absence in one.absences] if strict else None,
    )
