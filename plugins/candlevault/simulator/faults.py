"""Faults that are switched on per request pattern.

A fault names a kind, a regular expression searched in `path?query`, how often it strikes
(`times`; null or left out: until it is cleared) and arguments. Kinds fall into four groups:
the answer is replaced (429, 418, 403, 451, 500, 503, html, empty, error200), its transport
is disturbed (latency, cut_body), its candles are changed (the row kinds), or an archive file
is spoilt (the zip kinds).
"""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from candlevault.errors import InvalidRequest
from candlevault.simulator.block import Row
from candlevault.simulator.clock import instant_ms

REPLACING = ("429", "418", "403", "451", "500", "503", "html", "empty", "error200")
TRANSPORT = ("latency", "cut_body")
ROWS = ("drop_rows", "restated", "duplicate_rows", "reversed", "misaligned")
ZIPS = ("bad_zip", "bad_checksum", "wrong_member")
KINDS = (*REPLACING, *TRANSPORT, *ROWS, *ZIPS)
_EVERYWHERE = ("drop_rows", "restated")
"""These change both surfaces unless told otherwise; the other row kinds only REST."""

COLUMN = {
    "open": 1,
    "high": 2,
    "low": 3,
    "close": 4,
    "volume": 5,
    "close_time": 6,
    "quote_volume": 7,
    "count": 8,
    "taker_buy_volume": 9,
    "taker_buy_quote_volume": 10,
}
"""Where each column stands in a row."""
FUNDING_COLUMNS = ("funding_rate", "mark_price")
"""What a funding event has besides its time, which faults call its open time."""
WHOLE = ("close_time", "count")
"""Columns of whole numbers; the others are decimal texts."""

_ARGS = {
    "429": {"retry_after"},
    "418": {"retry_after", "enforce"},
    "403": {"body"},
    "451": set(),
    "500": {"body"},
    "503": {"body"},
    "html": {"status", "body"},
    "empty": {"status", "body"},
    "error200": {"code", "msg"},
    "latency": {"ms", "chunk_bytes", "chunk_ms"},
    "cut_body": {"keep_ratio"},
    "drop_rows": {"open_times", "start", "end"},
    "restated": {"rows"},
    "duplicate_rows": {"open_times", "conflict"},
    "reversed": set(),
    "misaligned": {"open_times", "shift_ms"},
    "bad_zip": {"mode"},
    "bad_checksum": {"mode"},
    "wrong_member": {"name", "extra"},
}
_ROW_ARGS = {"surfaces", "market", "symbol", "timeframe"}


@dataclass(slots=True, eq=False)
class Fault:
    """One fault; `left` counts down to 0, None never ends. `struck` counts applications."""

    id: int
    kind: str
    match: str
    times: int | None
    args: dict
    set_at_ms: int
    left: int | None = None
    struck: int = 0
    pattern: re.Pattern = field(default=None, repr=False)
    surfaces: tuple[str, ...] = ()
    dropped: np.ndarray = field(default=None, repr=False)
    dropped_window: tuple[int, int] | None = None
    restated: dict[int, dict] = field(default_factory=dict, repr=False)

    def describe(self) -> dict:
        """What was set and what became of it."""
        return {
            "id": self.id,
            "match": self.match,
            "kind": self.kind,
            "times": self.times,
            "left": self.left,
            "struck": self.struck,
            "args": self.args,
        }

    def concerns(self, surface: str, market: str, symbol: str, timeframe: str) -> bool:
        """Whether a row fault speaks of this surface and series."""
        args = self.args
        return (
            surface in self.surfaces
            and args.get("market", market) == market
            and args.get("symbol", symbol) == symbol
            and args.get("timeframe", timeframe) == timeframe
        )

    def drops(self, open_times: np.ndarray) -> np.ndarray:
        """Which of `open_times` are left out, as a boolean array."""
        gone = np.isin(open_times, self.dropped)
        if self.dropped_window:
            start, end = self.dropped_window
            gone |= (open_times >= start) & (open_times < end)
        return gone

    def drops_within(self, first_ms: int, last_ms: int) -> bool:
        """Whether a dropped open time lies in first_ms to last_ms, both inclusive."""
        if self.dropped_window:
            start, end = self.dropped_window
            return start <= last_ms and first_ms < end
        return bool(((self.dropped >= first_ms) & (self.dropped <= last_ms)).any())


def parse(entry: object, number: int, set_at_ms: int) -> Fault:
    """A Fault of its JSON form; raises InvalidRequest naming the wrong part."""
    where = "fault"
    if not isinstance(entry, dict):
        raise InvalidRequest(where, "must be an object", entry)
    if unknown := set(entry) - {"match", "kind", "times", "args"}:
        raise InvalidRequest(where, f"has unknown keys {sorted(unknown)}")
    kind = str(entry.get("kind"))
    if kind not in KINDS:
        raise InvalidRequest(f"{where}.kind", f"must be one of {', '.join(KINDS)}", kind)
    times = entry.get("times")
    if times is not None and (isinstance(times, bool) or not isinstance(times, int) or times < 1):
        raise InvalidRequest(f"{where}.times", "must be null or at least 1", times)
    match = entry.get("match", "")
    try:
        pattern = re.compile(match)
    except (re.error, TypeError) as error:
        raise InvalidRequest(
            f"{where}.match", f"must be a regular expression: {error}", match
        ) from None
    args = entry.get("args") or {}
    allowed = _ARGS[kind] | (_ROW_ARGS if kind in ROWS else set())
    if not isinstance(args, dict) or set(args) - allowed:
        raise InvalidRequest(
            f"{where}.args", f"of {kind} may have {sorted(allowed) or 'no keys'}", args
        )
    fault = Fault(number, kind, match, times, args, set_at_ms, times, pattern=pattern)
    fault.dropped = np.empty(0, dtype=np.int64)
    if kind in ROWS:
        _parse_rows(fault, f"{where}.args")
    return fault


def _parse_rows(fault: Fault, where: str) -> None:
    args = fault.args
    usual = ("rest", "archive") if fault.kind in _EVERYWHERE else ("rest",)
    fault.surfaces = tuple(args.get("surfaces", usual))
    if not set(fault.surfaces) <= {"rest", "archive"}:
        raise InvalidRequest(f"{where}.surfaces", "may name rest and archive", fault.surfaces)
    if "open_times" in args:
        named = [instant_ms(value, f"{where}.open_times") for value in args["open_times"]]
        fault.dropped = np.array(sorted(named), dtype=np.int64)
    if fault.kind == "drop_rows":
        if ("start" in args) != ("end" in args) or ("start" in args) == ("open_times" in args):
            raise InvalidRequest(where, "of drop_rows needs open_times, or start and end", args)
        if "start" in args:
            fault.dropped_window = (
                instant_ms(args["start"], f"{where}.start"),
                instant_ms(args["end"], f"{where}.end"),
            )
    if fault.kind == "restated":
        rows = args.get("rows")
        if not isinstance(rows, list) or not rows:
            raise InvalidRequest(f"{where}.rows", "must be a list of rows", rows)
        for row in rows:
            known = ("open_time", *COLUMN, *FUNDING_COLUMNS)
            if not isinstance(row, dict) or set(row) - set(known):
                raise InvalidRequest(f"{where}.rows", f"may have {', '.join(known)}", row)
            key = instant_ms(row.get("open_time"), f"{where}.rows.open_time")
            fault.restated[key] = {k: v for k, v in row.items() if k != "open_time"}


class FaultBook:
    """The faults that are switched on. Safe to use from several threads."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def add(self, entries: object, set_at_ms: int) -> list[Fault]:
        """Switch on one fault or a list; all or none."""
        given = entries if isinstance(entries, list) else [entries]
        parsed = [parse(entry, next(self._numbers), set_at_ms) for entry in given]
        with self._lock:
            self._faults += parsed
        return parsed

    def clear(self) -> None:
        """Switch all off."""
        with self._lock:
            self._faults = []

    def describe(self) -> list[dict]:
        """Every fault in the order set, the spent ones too."""
        return [fault.describe() for fault in self._faults]

    def strike(self, kinds: Iterable[str], target: str) -> list[Fault]:
        """Faults of `kinds` that match `target`, each counted as applied once."""
        return self._take([f for f in self._active(kinds) if f.pattern.search(target)])

    def strike_first(self, kinds: Iterable[str], target: str) -> Fault | None:
        """The first fault that matches, counted as applied; later ones keep their turn."""
        for fault in self.seen(kinds, target):
            if self._take([fault]):
                return fault
        return None

    def row_faults(
        self, surface: str, market: str, symbol: str, timeframe: str, target: str
    ) -> list[Fault]:
        """Row faults for a series on a surface, without counting them as applied."""
        return [
            fault
            for fault in self._active(ROWS)
            if fault.concerns(surface, market, symbol, timeframe) and fault.pattern.search(target)
        ]

    def seen(self, kinds: Iterable[str], target: str) -> list[Fault]:
        """Like strike, without counting."""
        return [f for f in self._active(kinds) if f.pattern.search(target)]

    def active(self, kinds: Iterable[str]) -> bool:
        """Whether any fault of `kinds` may still strike."""
        return bool(self._active(kinds))

    def strike_one(self, fault: Fault) -> bool:
        """Count one fault as applied; False when another request used it up meanwhile."""
        return bool(self._take([fault]))

    def count(self, faults: list[Fault]) -> None:
        """Count faults found by row_faults or seen as applied."""
        self._take(faults)

    def _active(self, kinds: Iterable[str]) -> list[Fault]:
        if not self._faults:
            return []
        kinds = tuple(kinds)
        return [f for f in self._faults if f.left != 0 and f.kind in kinds]

    def _take(self, faults: list[Fault]) -> list[Fault]:
        taken = []
        with self._lock:
            for fault in faults:
                if fault.left == 0:
                    continue
                if fault.left is not None:
                    fault.left -= 1
                fault.struck += 1
                taken.append(fault)
        return taken


class Absences:
    """Marks the open times that drop_rows faults leave out."""

    def __init__(self, faults: list[Fault]) -> None:
        self._faults = faults

    def __call__(self, open_times: np.ndarray) -> np.ndarray:
        gone = np.zeros(len(open_times), dtype=bool)
        for fault in self._faults:
            gone |= fault.drops(open_times)
        return gone

    def felt(self, first_ms: int, last_ms: int) -> list[Fault]:
        """The faults that leave out something in first_ms <= open_time <= last_ms."""
        return [fault for fault in self._faults if fault.drops_within(first_ms, last_ms)]


def absences(faults: list[Fault]) -> Absences | None:
    """What `faults` leave out, or None when none of them drops rows."""
    dropping = [fault for fault in faults if fault.kind == "drop_rows"]
    return Absences(dropping) if dropping else None


def distort(rows: list[Row], faults: list[Fault]) -> tuple[list[Row], list[Fault]]:
    """`rows` as the row faults other than drop_rows leave them, and the faults that acted."""
    acted = []
    for fault in faults:
        before = rows
        if fault.kind == "restated":
            rows = [restated(row, fault.restated.get(row[0])) for row in rows]
        elif fault.kind == "duplicate_rows":
            rows = _duplicate(rows, fault)
        elif fault.kind == "misaligned":
            shift = int(fault.args.get("shift_ms", 1))
            rows = [_shift(row, shift) if _named(fault, row) else row for row in rows]
        elif fault.kind == "reversed":
            rows = rows[::-1]
        if rows != before:
            acted.append(fault)
    return rows, acted


def _named(fault: Fault, row: Row) -> bool:
    return not len(fault.dropped) or bool(np.isin(row[0], fault.dropped))


def restated(row: Row, values: dict | None) -> Row:
    """The row with the named columns replaced."""
    if not values:
        return row
    row = list(row)
    for name, value in values.items():
        if name in COLUMN:
            row[COLUMN[name]] = int(value) if name in WHOLE else str(value)
    return row


def _duplicate(rows: list[Row], fault: Fault) -> list[Row]:
    """Rows with the named ones doubled; the last one when none is named.

    With `conflict` the copy closes at the candle's open and carries no volume.
    """
    doubled: list[Row] = []
    for index, row in enumerate(rows):
        doubled.append(row)
        if _named(fault, row) if len(fault.dropped) else index == len(rows) - 1:
            copy = list(row)
            if fault.args.get("conflict"):
                copy[4], copy[5] = copy[1], "0.00000000"
            doubled.append(copy)
    return doubled


def _shift(row: Row, shift_ms: int) -> Row:
    return [row[0] + shift_ms, *row[1:6], row[6] + shift_ms, *row[7:]]
