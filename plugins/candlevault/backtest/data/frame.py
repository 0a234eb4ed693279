"""The frame a backtest reads: one row for every expected open time of the window.

What happens with rows that the venue never published is the caller's choice, `absent`:

- `mark`: the row stays, empty (NaN) and flagged. Indicators see the other rows only, as
  if these followed each other directly.
- `carry`: the row becomes a flat candle at the last close with volume 0, flagged.
  Indicators see it. Rows before the first stored candle have nothing to carry and stay
  empty, as in `mark`.
- `forbid`: the frame is refused.

In no mode does anything trade in a row that is not `present`: the venue was closed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from candlevault.errors import DataMissing, InvalidRequest
from candlevault.timeframe import Timeframe
from candlevault.windows import Window, account, expected_open_times, runs

ABSENT_MODES = ("mark", "carry", "forbid")
"""How known absent rows are bridged; the first is the default."""

PRICES = ("open", "high", "low", "close")
_NAMED_WINDOWS = 10


class Bars(NamedTuple):
    """What a strategy sees: equally long arrays without holes, ascending by `open_time`.

    `open_time` is int64 ms UTC; the others are float64, prices in quote per base, `volume`
    in base. Every row is a closed candle.
    """

    open_time: np.ndarray
    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    volume: np.ndarray

    def head(self, count: int) -> Bars:
        """The oldest `count` rows; itself where these are all, so that it is known again."""
        if count == len(self.close):
            return self
        return Bars(*(column[:count] for column in self))


@dataclass(frozen=True, slots=True, eq=False)
class BacktestFrame:
    """Candles of one series on the continuous grid of `window`, ascending, read-only arrays.

    `open_time` is int64 ms UTC; `open`, `high`, `low`, `close` and `volume` are float64;
    `present` is False where no candle is stored; `carried` is True where a row that is not
    present was filled with the last close. Rows that are neither present nor carried hold
    NaN. At least one row is present.
    """

    timeframe: Timeframe
    window: Window
    absent: str
    open_time: np.ndarray
    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    volume: np.ndarray
    present: np.ndarray
    carried: np.ndarray

    def __len__(self) -> int:
        return len(self.open_time)

    @property
    def absent_windows(self) -> list[Window]:
        """Maximal windows of rows that are not present, ascending."""
        return runs(self.open_time[~self.present], self.timeframe)

    def bars(self) -> Bars:
        """The rows that hold prices (present or carried), for strategies and indicators."""
        rows = self.present | self.carried
        # Most frames have no holes: nothing is copied then.
        chosen = slice(None) if rows.all() else rows
        columns = [getattr(self, name)[chosen] for name in Bars._fields]
        for column in columns:
            column.flags.writeable = False
        return Bars(*columns)

    def on_grid(self, values: np.ndarray, empty: float) -> np.ndarray:
        """`values`, one per row of `bars()`, spread over all rows; `empty` in the others.

        The values themselves where there are no others.
        """
        rows = self.present | self.carried
        count = int(np.count_nonzero(rows))
        if len(values) != count:
            raise ValueError(f"{len(values)} values for {count} bars")
        if count == len(self):
            return np.asarray(values)
        spread = np.full(len(self), empty, dtype=np.asarray(values).dtype)
        spread[rows] = values
        return spread

    def fingerprint(self) -> str:
        """SHA-256 (hex) of everything a run can read here, the absent mode included."""
        digest = hashlib.sha256(f"{self.timeframe.code} {self.absent}\n".encode())
        for name in ("open_time", *PRICES, "volume", "present", "carried"):
            column = getattr(self, name)
            digest.update(f"{name} {len(column)}\n".encode())
            digest.update(column.astype(column.dtype.newbyteorder("<")).tobytes())
        return digest.hexdigest()


def build_frame(
    timeframe: Timeframe,
    window: Window,
    candles: Mapping[str, object],
    *,
    absent: str = "mark",
    absences: Iterable[Window] | None = None,
) -> BacktestFrame:
    """The frame of `window` from its stored candles.

    `candles` gives by name equally long columns: `open_time` (integers, ms UTC, strictly
    ascending, aligned, inside the window) and open, high, low, close, volume (decimals,
    decimal strings or floats; converted to float64 here and only here).

    `absences` are the known absent windows: where they are given, a row that is neither
    stored nor known absent is lost and refused in every mode. Without them every row that
    is not stored is taken as known absent, on the word of the caller's data gate.

    Raises InvalidRequest for columns that break the rules above or hold impossible
    candles, and DataMissing (naming windows) when candles are lost, when any is missing
    under `forbid`, or when none is stored at all.
    """
    if absent not in ABSENT_MODES:
        raise InvalidRequest("absent", f"must be one of {', '.join(ABSENT_MODES)}", absent)
    stored = _open_times(candles, timeframe, window)
    values = {name: _floats(candles, name, len(stored)) for name in (*PRICES, "volume")}
    _refuse_impossible(values)
    grid = expected_open_times(window, timeframe)
    if len(grid) == 0:
        raise InvalidRequest("window", f"holds no open time of {timeframe}", str(window))
    _refuse_missing(grid, stored, timeframe, window, absent, absences)

    rows = np.searchsorted(grid, stored)
    present = np.zeros(len(grid), dtype=bool)
    present[rows] = True
    columns = {}
    for name, column in values.items():
        columns[name] = np.full(len(grid), np.nan)
        columns[name][rows] = column
    carried = np.zeros(len(grid), dtype=bool)
    if absent == "carry":
        carried = ~present & (grid > stored[0])
        last_present = np.maximum.accumulate(np.where(present, np.arange(len(grid)), 0))
        for name in PRICES:
            columns[name][carried] = columns["close"][last_present[carried]]
        columns["volume"][carried] = 0.0
    frame = BacktestFrame(
        timeframe=timeframe,
        window=window,
        absent=absent,
        open_time=grid,
        present=present,
        carried=carried,
        **columns,
    )
    for array in (grid, present, carried, *columns.values()):
        array.flags.writeable = False
    return frame


def _open_times(candles: Mapping, timeframe: Timeframe, window: Window) -> np.ndarray:
    given = np.asarray(candles["open_time"])
    if len(given) == 0:
        raise DataMissing(f"no candle of {timeframe} is stored in {window}")
    if given.dtype.kind not in "iu":
        raise InvalidRequest("candles.open_time", "must be integers, ms UTC", given.dtype)
    stored = given.astype(np.int64)
    if np.any(np.diff(stored) <= 0):
        raise InvalidRequest("candles.open_time", "must be strictly ascending")
    if stored[0] < window.start_ms or stored[-1] >= window.end_ms:
        raise InvalidRequest("candles.open_time", f"must lie inside {window}")
    if np.any((stored - timeframe.origin_ms) % timeframe.step_ms != 0):
        raise InvalidRequest("candles.open_time", f"must be aligned to {timeframe}")
    return stored


def _floats(candles: Mapping, name: str, count: int) -> np.ndarray:
    column = np.asarray(candles[name])
    if column.shape != (count,):
        raise InvalidRequest(f"candles.{name}", f"must hold {count} values", column.shape)
    try:
        return column.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"candles.{name}", f"must be numbers: {error}") from None


def _refuse_impossible(values: Mapping[str, np.ndarray]) -> None:
    """The store's constraints once more: a fill price must never come from a broken candle."""
    for name, column in values.items():
        if not np.all(np.isfinite(column)):
            raise InvalidRequest(f"candles.{name}", "must be finite numbers")
        if np.any(column < 0) or (name != "volume" and np.any(column == 0)):
            raise InvalidRequest(f"candles.{name}", "must be positive (volume: not negative)")
    top = np.maximum(values["open"], values["close"])
    bottom = np.minimum(values["open"], values["close"])
    if np.any(values["high"] < top):
        raise InvalidRequest("candles.high", "must not lie below open or close")
    if np.any(values["low"] > bottom):
        raise InvalidRequest("candles.low", "must not lie above open or close")


def _refuse_missing(
    grid: np.ndarray,
    stored: np.ndarray,
    timeframe: Timeframe,
    window: Window,
    absent: str,
    absences: Iterable[Window] | None,
) -> None:
    if absences is not None:
        lost = account(window, timeframe, stored, absences).lost_windows
        if lost:
            raise DataMissing(f"candles of {timeframe} are lost in {_names(lost)}")
    if absent == "forbid":
        missing = runs(np.setdiff1d(grid, stored, assume_unique=True), timeframe)
        if missing:
            raise DataMissing(
                f"absent is 'forbid' and candles of {timeframe} are missing in {_names(missing)}"
            )


def _names(windows: list[Window]) -> str:
    named = ", ".join(str(window) for window in windows[:_NAMED_WINDOWS])
    more = len(windows) - _NAMED_WINDOWS
    return f"{named} and {more} more windows" if more > 0 else named
