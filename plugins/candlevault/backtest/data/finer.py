"""The finer candles of the bars in doubt: read from the store, loaded first where missing."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from candlevault import decimals, timeframe, windows
from candlevault.backtest.data import reading
from candlevault.backtest.data.reading import Reading, Revisions
from candlevault.backtest.engine.simulation import Simulation
from candlevault.backtest.engine.tables import Finer
from candlevault.backtest.payload import BacktestRequest
from candlevault.errors import CandlevaultError
from candlevault.series import Series
from candlevault.storage.backtests import Read
from candlevault.storage.database import Connect
from candlevault.windows import Window

Fetch = Callable[[Series, Window], object]
_PAGE = 1000
"""Bars in doubt this many finer candles apart are loaded together: a venue's page costs one
request however full it is."""
_PRICES = ("open", "high", "low", "close")
_MOST_PROBLEMS, _LONGEST_PROBLEM = 10, 500
_AS_OF = (
    "nothing is loaded for a run with data.as_of, as it would have been recorded too late;"
    " load these candles first and choose a later as_of, or leave it out"
)


class FinerCandles:
    """Answers a simulation's doubts; see result.FinerSource.

    All bars are read at one revision of each series. Bars without candles stay in doubt, which
    the result counts; `problems` tells what could not be loaded.
    """

    def __init__(
        self,
        connect: Connect,
        request: BacktestRequest,
        revisions: Revisions,
        fetch: Fetch | None = None,
    ) -> None:
        assert request.intrabar.timeframe is not None
        self._connect = connect
        self._step_ms = request.series.timeframe.step_ms
        self._wanted = revisions
        self._revisions = revisions
        self._fetch = fetch
        finer = timeframe.parse(request.intrabar.timeframe)
        self._series = [
            dataclasses.replace(series, timeframe=finer) for series in request.all_series
        ]
        self._known: dict[tuple[int, int], Reading] = {}
        self._asked: set[tuple[int, int]] = set()
        self._finer: Finer | None = None
        self.problems: list[str] = []

    def at_hand(self) -> Finer | None:
        """The candles of all bars looked for so far; None before any was."""
        return self._finer

    def look(self, simulation: Simulation) -> bool:
        """Read the candles of the bars in doubt; whether there was a new one.

        Loading makes new revisions: all that was read before is then read again. If any of it
        has changed, everything is forgotten: whoever asks starts anew and sees one state only.
        """
        asked = simulation.questions
        doubts = zip(asked["symbol"].tolist(), asked["row"].tolist(), strict=True)
        new = sorted(set(doubts) - set(self._known))
        if not new:
            return False
        times = simulation.log.open_time
        bars = {key: Window(int(times[key[1]]), int(times[key[1]]) + self._step_ms) for key in new}
        if self._load(bars):
            self._revisions = self._wanted
            before = self._known
            self._known = self._read({key: one.window for key, one in before.items()})
            if any(one.fingerprint != before[key].fingerprint for key, one in self._known.items()):
                self._known, self._finer = {}, None
                return True
        self._known |= self._read(bars)
        self._finer = self._laid_out(len(self._series), len(times))
        return True

    @property
    def reads(self) -> list[Read]:
        """Where the candles were read, ascending in time for each symbol."""
        return [read for _, one in sorted(self._known.items()) for read in one.reads]

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of all that was read."""
        digest = hashlib.sha256()
        for _, one in sorted(self._known.items()):
            digest.update(f"{one.series} {one.window} {one.fingerprint}\n".encode())
        return digest.hexdigest()

    def summary(self) -> dict[str, object]:
        """What stands in the result: bars in doubt, those with candles, and the fingerprint."""
        return {
            "timeframe": self._series[0].timeframe.code,
            "bars": len(self._known),
            "bars_with_candles": sum(one.table.num_rows > 0 for one in self._known.values()),
            "fingerprint": self.fingerprint,
        }

    def report(self) -> dict[str, object]:
        """What stands in the trust report: how many bars in doubt have candles, and if some
        have none, the `reason` for which nothing was loaded and the `problems` of loading."""
        counted = {name: value for name, value in self.summary().items() if name != "fingerprint"}
        lacking = counted["bars_with_candles"] != counted["bars"]
        problems = [problem[:_LONGEST_PROBLEM] for problem in self.problems[:_MOST_PROBLEMS]]
        if len(self.problems) > _MOST_PROBLEMS:
            problems.append(f"and {len(self.problems) - _MOST_PROBLEMS} more")
        return {
            **counted,
            "reason": _AS_OF if lacking and self._wanted.as_of is not None else None,
            "problems": problems,
        }

    def _read(self, bars: Mapping[tuple[int, int], Window]) -> dict[tuple[int, int], Reading]:
        found = {}
        for key, bar in bars.items():
            one = reading.read(self._connect, self._series[key[0]], bar, self._revisions)
            self._revisions = self._revisions.kept(one.reads)
            found[key] = one
        return found

    def _load(self, bars: Mapping[tuple[int, int], Window]) -> bool:
        """Load what is missing of bars not asked for before; whether anything was asked for."""
        # What is loaded now was not recorded as of a time that has passed.
        if self._fetch is None or self._wanted.as_of is not None:
            return False
        asked = False
        for position, series in enumerate(self._series):
            wanted = [
                bar for key, bar in bars.items() if key[0] == position and key not in self._asked
            ]
            for window in _joined(windows.merge(wanted), _PAGE * series.timeframe.step_ms):
                if not reading.gathered(self._connect, series, window).lost:
                    continue
                asked = True
                try:
                    self._fetch(series, window)
                except CandlevaultError as error:
                    if error.transient:
                        raise
                    self.problems.append(f"{series} {window}: {error}")
        self._asked |= set(bars)
        return asked

    def _laid_out(self, symbols: int, rows: int) -> Finer:
        first = np.zeros((symbols, rows), dtype=np.int64)
        last = np.zeros((symbols, rows), dtype=np.int64)
        columns: dict[str, list[np.ndarray]] = {name: [np.empty(0)] for name in _PRICES}
        count = 0
        for (symbol, row), one in sorted(self._known.items()):
            first[symbol, row] = count
            count += one.table.num_rows
            last[symbol, row] = count
            for name in _PRICES:
                columns[name].append(decimals.floats(one.table[name]))
        return Finer(first, last, *(np.concatenate(columns[name]) for name in _PRICES))


def _joined(bars: Sequence[Window], distance_ms: int) -> list[Window]:
    joined: list[Window] = []
    for bar in bars:
        if joined and bar.start_ms - joined[-1].end_ms <= distance_ms:
            joined[-1] = Window(joined[-1].start_ms, bar.end_ms)
        else:
            joined.append(bar)
    return joined
