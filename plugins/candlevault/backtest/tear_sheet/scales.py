"""From values and times to places between 0 and 1, and round numbers to label them with.

Logarithms are taken in decimal arithmetic, so that a page has the same bytes everywhere.
"""

from __future__ import annotations

import decimal
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from candlevault.timeframe import from_ms, to_ms

_DECIMALS = decimal.Context(prec=20)
_LOG_FROM = 4.0
_MOST_TIMES = 9


@dataclass(frozen=True, slots=True)
class Scale:
    """A span of values, 0 at `low` and 1 at `high`; logarithmic if both are above 0 and so
    wanted. `ticks` are round values inside."""

    low: float
    high: float
    logarithmic: bool
    ticks: tuple[float, ...]

    def place(self, value: float) -> float:
        """Where `value` lies; outside 0 to 1 for what lies outside the span."""
        if not self.logarithmic:
            return (value - self.low) / (self.high - self.low)
        low, high = _log(self.low), _log(self.high)
        return float((_log(value) - low) / (high - low))


def linear(low: float, high: float, *, ticks: int = 5) -> Scale:
    """A scale from `low` to `high`, widened to something where both are equal."""
    if not high > low:
        room = abs(low) * 0.01 or 1.0
        low, high = low - room, high + room
    return Scale(low, high, False, tuple(_round_values(low, high, ticks)))


def fitting(low: float, high: float) -> Scale:
    """A logarithmic scale where the highest value is several times the lowest, else a linear
    one, with a little room at both ends."""
    if low > 0.0 and high / low >= _LOG_FROM:
        low, high = low / 1.06, high * 1.06
        return Scale(low, high, True, tuple(_decades(low, high)))
    room = (high - low) * 0.06
    return linear(low - room, high + room)


@lru_cache(maxsize=8192)
def _log(value: float) -> decimal.Decimal:
    return _DECIMALS.ln(decimal.Decimal(value))


def _round_values(low: float, high: float, wanted: int) -> list[float]:
    step = _round_step((high - low) / wanted)
    number = int((decimal.Decimal(low) / step).to_integral_value(decimal.ROUND_CEILING))
    values = []
    while (value := float(step * number)) <= high:
        values.append(value)
        number += 1
    return values


def _round_step(least: float) -> decimal.Decimal:
    wanted = decimal.Decimal(least)
    power = decimal.Decimal(1).scaleb(wanted.adjusted())
    return next(power * step for step in (1, 2, 5, 10) if power * step >= wanted)


def _decades(low: float, high: float) -> list[float]:
    first, last = decimal.Decimal(low).adjusted(), decimal.Decimal(high).adjusted()
    for steps in ((1, 2, 5), (1, 3), (1,)):
        values = [
            float(decimal.Decimal(step).scaleb(power))
            for power in range(first, last + 1)
            for step in steps
        ]
        inside = [value for value in values if low <= value <= high]
        if len(inside) <= 7:
            return inside
    return inside[:: len(inside) // 7 + 1]


@dataclass(frozen=True, slots=True)
class TimeTick:
    """A place between 0 and 1, and what stands there."""

    place: float
    label: str


def times(first_ms: int, last_ms: int) -> tuple[TimeTick, ...]:
    """Round UTC times between two, about nine at most; none where both are equal."""
    if last_ms <= first_ms:
        return ()
    first, last = from_ms(first_ms), from_ms(last_ms)
    months, step, shape = next(
        (one for one in _STEPS if (last - first) / one[1] <= _MOST_TIMES), _STEPS[-1]
    )
    found = _months(first, last, months) if months else _steps(first, last, step)
    span = last_ms - first_ms
    return tuple(TimeTick((to_ms(one) - first_ms) / span, f"{one:{shape}}") for one in found)


_STEPS = (
    (0, timedelta(minutes=5), "%H:%M"),
    (0, timedelta(minutes=30), "%H:%M"),
    (0, timedelta(hours=1), "%H:%M"),
    (0, timedelta(hours=6), "%m-%d %H:%M"),
    (0, timedelta(days=1), "%m-%d"),
    (0, timedelta(days=7), "%Y-%m-%d"),
    (1, timedelta(days=30), "%Y-%m"),
    (3, timedelta(days=91), "%Y-%m"),
    (6, timedelta(days=182), "%Y-%m"),
    (12, timedelta(days=365), "%Y"),
    (24, timedelta(days=730), "%Y"),
    (120, timedelta(days=3650), "%Y"),
)
"""Months of a step (0 where it has a constant length), about how long it is, its label."""


def _steps(first: datetime, last: datetime, step: timedelta) -> Iterator[datetime]:
    moment = first.replace(hour=0, minute=0, second=0, microsecond=0)
    while moment <= last:
        if moment >= first:
            yield moment
        moment += step


def _months(first: datetime, last: datetime, step: int) -> Iterator[datetime]:
    number = first.year // 10 * 120
    while (moment := datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC)) <= last:
        if moment >= first:
            yield moment
        number += step
