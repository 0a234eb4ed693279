"""The windows of a walk-forward analysis, and the part of the inputs that belongs to a window.

A fold is a window in sample and the one out of sample right after it. The first one in sample
starts with the window of the request; each next fold lies `step_days` later, or, anchored, only
its end does. Boundaries are UTC instants whole days after the first open time; a candle belongs
to the window that its open time lies in, so windows hold whole candles and share none. The last
window out of sample ends with the data and may be shorter: the newest candles are the last
that should be left out.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from candlevault.backtest.data.frame import PRICES, BacktestFrame, Bars
from candlevault.backtest.data.inputs import Inputs
from candlevault.backtest.engine.simulation import stage
from candlevault.backtest.payload import BacktestRequest
from candlevault.backtest.search.request import WalkForward
from candlevault.errors import InvalidRequest
from candlevault.windows import Window, aligned

DAY_MS = 86_400_000
MOST_FOLDS = 1000


@dataclass(frozen=True, slots=True)
class Fold:
    """One fold, numbered from 1; both windows are aligned to the timeframe."""

    number: int
    in_sample: Window
    out_of_sample: Window


def plan(request: BacktestRequest, walk: WalkForward) -> tuple[Fold, ...]:
    """The folds of the request's window, ascending.

    Raises InvalidRequest when there is none, when there are more than 1000, and for windows
    that hold no candle.
    """
    timeframe = request.series.timeframe
    whole = aligned(request.window, timeframe)
    assert whole is not None
    folds: list[Fold] = []
    while True:
        moved = whole.start_ms + len(folds) * walk.step_days * DAY_MS
        split = moved + walk.in_sample_days * DAY_MS
        end = min(split + walk.out_of_sample_days * DAY_MS, whole.end_ms)
        if timeframe.ceil(split) >= whole.end_ms:
            break
        if len(folds) == MOST_FOLDS:
            raise InvalidRequest(
                "walk_forward.step_days", f"makes more than {MOST_FOLDS} folds", walk.step_days
            )
        windows = []
        for name, start, stop in (
            ("in_sample_days", whole.start_ms if walk.anchored else moved, split),
            ("out_of_sample_days", split, end),
        ):
            window = aligned(Window(start, stop), timeframe)
            if window is None:
                raise InvalidRequest(
                    f"walk_forward.{name}",
                    f"holds no candle of {timeframe} in {Window(start, stop)}",
                    getattr(walk, name),
                )
            windows.append(window)
        folds.append(Fold(len(folds) + 1, *windows))
    if not folds:
        raise InvalidRequest(
            "walk_forward.in_sample_days",
            "leaves nothing of the window to run on out of sample",
            walk.in_sample_days,
        )
    return tuple(folds)


def cut(inputs: Inputs, window: Window, lead_rows: int) -> Inputs:
    """The part of `inputs` that a backtest of the aligned `window` would read.

    The strategy sees the present candles of up to `lead_rows` rows before it, as far as
    `inputs` reach. Raises InvalidRequest when a symbol has no candle in `window`.
    """
    timeframe = inputs.frames[0].timeframe
    origin = int(inputs.stage.open_time[0])
    rows = slice(
        (window.start_ms - origin) // timeframe.step_ms,
        (window.end_ms - origin) // timeframe.step_ms,
    )
    oldest = window.start_ms - lead_rows * timeframe.step_ms
    frames, seen, leads = [], [], []
    for frame, bars, lead in zip(inputs.frames, inputs.seen, inputs.leads, strict=True):
        part = _part(frame, rows, window)
        before = _before(frame, bars, lead, oldest, rows.start)
        leads.append(len(before.close))
        columns = [np.concatenate(pair) for pair in zip(before, part.bars(), strict=True)]
        for column in columns:
            column.flags.writeable = False
        frames.append(part)
        seen.append(Bars(*columns))
    funding = inputs.funding and tuple(rates[rows] for rates in inputs.funding)
    return Inputs(tuple(frames), tuple(seen), tuple(leads), stage(frames, funding, seen), funding)


def _part(frame: BacktestFrame, rows: slice, window: Window) -> BacktestFrame:
    columns = {
        name: getattr(frame, name)[rows]
        for name in ("open_time", *PRICES, "volume", "present", "carried")
    }
    present = np.flatnonzero(columns["present"])
    if len(present) == 0:
        raise InvalidRequest("walk_forward", f"{window} holds no candle of one of the symbols")
    first = int(present[0])
    if columns["carried"][:first].any():
        # A backtest of this window would have nothing to carry there.
        for name in (*PRICES, "volume", "carried"):
            columns[name] = columns[name].copy()
            columns[name][:first] = False if name == "carried" else np.nan
            columns[name].flags.writeable = False
    return dataclasses.replace(frame, window=window, **columns)


def _before(frame: BacktestFrame, bars: Bars, lead: int, oldest: int, row: int) -> Bars:
    """The present candles of the frame's rows before `row`, after those that came before the
    frame, from the open time `oldest` on."""
    known = frame.present[:row]
    columns = [
        np.concatenate([earlier[:lead], getattr(frame, name)[:row][known]])
        for name, earlier in zip(Bars._fields, bars, strict=True)
    ]
    start = int(np.searchsorted(columns[0], oldest))
    return Bars(*(column[start:] for column in columns))
