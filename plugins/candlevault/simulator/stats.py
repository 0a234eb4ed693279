"""What the simulator was asked and what it answered."""

from __future__ import annotations

from collections import Counter


class Stats:
    """Counts since the start or the last reset."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start counting anew."""
        self._by_kind: Counter = Counter()
        self._by_status: Counter = Counter()
        self._unexpected: Counter = Counter()
        self.rows_served = 0
        self._served: Counter = Counter()

    def count(self, kind: str, status: int, path: str) -> None:
        """Note one answer. Of kind `unexpected` the path is kept too."""
        self._by_kind[kind] += 1
        self._by_status[status] += 1
        if kind == "unexpected" and (path in self._unexpected or len(self._unexpected) < 1000):
            self._unexpected[path] += 1

    def status(self, status: int) -> int:
        """How many answers had this status."""
        return self._by_status[status]

    def count_series(self, name: str, rows: int) -> None:
        """Note a klines answer of `rows` candles of the series `name`."""
        self.rows_served += rows
        self._served[name] += 1

    def describe(self) -> dict:
        """The counts as plain values."""
        return {
            "requests": sum(self._by_kind.values()),
            "by_kind": dict(sorted(self._by_kind.items())),
            "by_status": {str(k): v for k, v in sorted(self._by_status.items())},
            "klines_rows": self.rows_served,
            "klines_by_series": dict(sorted(self._served.items())),
            "unexpected_paths": dict(sorted(self._unexpected.items())),
        }
