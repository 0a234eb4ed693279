"""The finer candles of the bars in doubt: read from the store, loaded first where missing."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence

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


class FinerCandles:
    """Answers a simulation's doubts; see result.FinerSource.

    Each bar in doubt is read once. `problems` tells what could not be loaded: those bars stay
    in doubt, which the result counts.
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
        self._revisions = revisions
        self._fetch = fetch
        finer = timeframe.parse(request.intrabar.timeframe)
        self._series = [
            dataclasses.replace(series, timeframe=finer) for series in request.all_series
        ]
        self._known: dict[tuple[int, int], Reading] = {}
        self._finer: Finer | None = None
        self.problems: list[str] = []

    def at_hand(self) -> Finer | None:
        """The candles of all bars looked for so far; None before any was."""
        return self._finer

    def look(self, simulation: Simulation) -> bool:
        """Read the candles of the bars in doubt; whether there was a new one."""
        asked = simulation.questions
        doubts = zip(asked["symbol"].tolist(), asked["row"].tolist(), strict=True)
        new = sorted(set(doubts) - set(self._known))
        times = simulation.log.open_time
        bars = {
            key: Window(int(times[key[1]]), int(times[key[1]]) + self._step_ms) for key in new
        }
        for position, series in enumerate(self._series):
            self._load(series, [bar for key, bar in bars.items() if key[0] == position])
        for key, bar in bars.items():
            self._known[key] = reading.read(
                self._connect, self._series[key[0]], bar, self._revisions
            )
        if new:
            self._finer = self._laid_out(len(self._series), len(times))
        return bool(new)

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

    def _load(self, series: Series, bars: Sequence[Window]) -> None:
        if self._fetch is None:
            return
        page_ms = _PAGE * series.timeframe.step_ms
        for window in _joined(windows.merge(bars), page_ms):
            if not reading.gathered(self._connect, series, window).lost:
                continue
            try:
                self._fetch(series, window)
            except CandlevaultError as error:
                if error.transient:
                    raise
                self.problems.append(f"{series} {window}: {error}")

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
