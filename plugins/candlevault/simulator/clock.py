"""The venue's clock: what the simulated exchange believes the time to be.

It is frozen at an instant, running on from an instant, or the real time. Rate limits and
bans do not use it: they count by the real wall clock, as a client experiences them.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

from candlevault.errors import InvalidRequest
from candlevault.timeframe import from_ms, to_ms

MINUTE_MS = 60_000


class Clock:
    """A settable clock in whole milliseconds UTC. `now_ms` None means the real time."""

    def __init__(self, now_ms: int | None = None, running: bool = False) -> None:
        self.set(now_ms, running)

    def set(self, now_ms: int | None, running: bool = False) -> None:
        """Put the clock to an instant, frozen unless `running`; None is the real time."""
        self._base_ms = now_ms
        self._running = running or now_ms is None
        self._started = time.monotonic()

    @property
    def running(self) -> bool:
        """Whether the clock moves."""
        return self._running

    @property
    def is_real(self) -> bool:
        """Whether it is the real time."""
        return self._base_ms is None

    def now_ms(self) -> int:
        """The venue's time."""
        if self._base_ms is None:
            return time.time_ns() // 1_000_000
        if not self._running:
            return self._base_ms
        return self._base_ms + int((time.monotonic() - self._started) * 1000)

    def __str__(self) -> str:
        return f"{iso(self.now_ms())} ({'running' if self._running else 'frozen'})"


def iso(ms: int) -> str:
    """`2025-01-01T00:00:00Z`, with milliseconds only where there are some."""
    moment = from_ms(ms)
    text = moment.strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{ms % 1000:03d}Z" if ms % 1000 else f"{text}Z"


def instant_ms(value: object, field: str) -> int:
    """Milliseconds of an ISO date or instant, or of epoch milliseconds.

    A text without a zone is UTC. Raises InvalidRequest naming `field`.
    """
    rule = "must be an ISO instant or epoch milliseconds"
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise InvalidRequest(field, rule, value)
    if isinstance(value, int) or re.fullmatch(r"-?[0-9]{9,15}", value, re.ASCII):
        return int(value)
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise InvalidRequest(field, rule, value) from None
    return to_ms(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
