"""What a strategy wishes, one value per bar, and what is refused as a wish."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from candlevault.backtest.engine.codes import (
    ENTER_LONG,
    ENTER_SHORT,
    EXIT_LONG,
    EXIT_SHORT,
)
from candlevault.errors import InvalidRequest

_FLAGS = {
    "enter_long": ENTER_LONG,
    "exit_long": EXIT_LONG,
    "enter_short": ENTER_SHORT,
    "exit_short": EXIT_SHORT,
}
VALUES = ("weight", "limit", "stop", "stop_loss", "take_profit", "trail", "reduce")
_PARTS = ("weight", "reduce")


@dataclass(frozen=True, slots=True, eq=False)
class Signals:
    """Arrays as long as the bars; element i may depend on bars 0..i only.

    Bool arrays (None: never): `enter_long` and `enter_short` wish to be in on that side,
    `exit_long` and `exit_short` to leave it. An entry leaves the other side first.

    float64 arrays (None: never; NaN: not at this bar), read where something is wished:
    `weight` (above 0, at most 1) scales the size of an entry; `limit` and `stop` are prices of
    an entry order, both together a stop-limit, neither a market order; `stop_loss` and
    `take_profit` are price levels and `trail` is a distance in quote, instead of those of the
    risk rules; `reduce` (above 0, at most 1) is the part of the position an exit closes.
    """

    enter_long: np.ndarray | None = None
    exit_long: np.ndarray | None = None
    enter_short: np.ndarray | None = None
    exit_short: np.ndarray | None = None
    weight: np.ndarray | None = None
    limit: np.ndarray | None = None
    stop: np.ndarray | None = None
    stop_loss: np.ndarray | None = None
    take_profit: np.ndarray | None = None
    trail: np.ndarray | None = None
    reduce: np.ndarray | None = None

    def actions(self, count: int) -> np.ndarray:
        """The four wishes as one uint8 array of `codes` flags, `count` long."""
        actions = np.zeros(count, dtype=np.uint8)
        for name, flag in _FLAGS.items():
            wished = getattr(self, name)
            if wished is not None:
                actions |= wished.view(np.uint8) * np.uint8(flag)
        return actions

    def head(self, count: int) -> Signals:
        """The oldest `count` rows."""
        return self._rows(slice(count))

    def tail(self, start: int) -> Signals:
        """The rows from `start` on."""
        return self if start == 0 else self._rows(slice(start, None))

    def differs(self, other: Signals) -> int | None:
        """The first row in which two equally long signals differ, None where they agree.

        Values count only where something is wished.
        """
        count = max(self._length(), other._length())
        mine, theirs = self.actions(count), other.actions(count)
        unequal = mine != theirs
        for name in VALUES:
            one, two = getattr(self, name), getattr(other, name)
            if one is None and two is None:
                continue
            one = np.full(count, np.nan) if one is None else one
            two = np.full(count, np.nan) if two is None else two
            same = (one == two) | (np.isnan(one) & np.isnan(two))
            unequal |= ~same & (mine != 0)
        rows = np.flatnonzero(unequal)
        return int(rows[0]) if len(rows) else None

    def _rows(self, rows: slice) -> Signals:
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return type(self)(
            **{name: None if value is None else value[rows] for name, value in given.items()}
        )

    def _length(self) -> int:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None:
                return len(value)
        return 0


@dataclass(frozen=True, slots=True, eq=False)
class CheckedSignals(Signals):
    """Signals that keep the rules; `flags` are their actions. Their arrays must stay as they
    are."""

    flags: np.ndarray | None = None

    def actions(self, count: int) -> np.ndarray:
        """The four wishes as one uint8 array of `codes` flags, `count` long."""
        return self.flags


def checked(signals: object, count: int) -> CheckedSignals:
    """`signals`, when they are what the class says and `count` long; seen through once only.

    Raises InvalidRequest naming the array and the rule: another type or length, a value
    that is not finite where an order needs it, a part outside 0-1, a price that is not
    positive, entries on both sides at once.
    """
    if not isinstance(signals, Signals):
        raise InvalidRequest("signals", "must be Signals", type(signals).__name__)
    if isinstance(signals, CheckedSignals) and len(signals.flags) == count:
        return signals
    for name in _FLAGS:
        _check_array(signals, name, "b", count)
    for name in VALUES:
        _check_array(signals, name, "f", count)
    if signals.enter_long is not None and signals.enter_short is not None:
        both = signals.enter_long & signals.enter_short
        if both.any():
            row = int(both.argmax())
            raise InvalidRequest(
                "signals.enter_short", f"must not enter both sides at once (bar {row})"
            )
    actions = signals.actions(count)
    arrays = {name: getattr(signals, name) for name in (*_FLAGS, *VALUES)}
    for name in VALUES:
        value = arrays[name]
        if value is None:
            continue
        used = (actions != 0) & ~np.isnan(value)
        largest = 1.0 if name in _PARTS else np.finfo(np.float64).max
        wrong = used & ~((value > 0.0) & (value <= largest))
        if wrong.any():
            row = int(wrong.argmax())
            rule = "above 0 and at most 1" if name in _PARTS else "above 0 and finite"
            raise InvalidRequest(f"signals.{name}", f"must be {rule} (bar {row})", value[row])
    return CheckedSignals(**arrays, flags=actions)


def _check_array(signals: Signals, name: str, kind: str, count: int) -> None:
    value = getattr(signals, name)
    if value is None:
        return
    noun = "bool" if kind == "b" else "float64"
    if not isinstance(value, np.ndarray) or value.dtype != np.dtype(noun):
        found = value.dtype if isinstance(value, np.ndarray) else type(value).__name__
        raise InvalidRequest(f"signals.{name}", f"must be an array of {noun}", found)
    if value.shape != (count,):
        raise InvalidRequest(
            f"signals.{name}", f"must hold {count} values, one per bar", value.shape
        )
