"""How fast a provider may be asked: so many calls a minute, by all threads of this process."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from functools import cache

_MINUTE_S = 60.0
_TOO_SHORT_S = 0.001
"""A pause that is not worth a sleep, and that a clock may be too coarse to count."""


class Pace:
    """At most `per_minute` calls in any 60 s, and at least `apart_s` seconds between two.

    Clock and sleep are given for tests; the clock counts seconds and never goes back.
    """

    def __init__(
        self,
        per_minute: int,
        apart_s: float = 0.0,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._per_minute = per_minute
        self._apart_s = apart_s
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._calls: deque[float] = deque(maxlen=per_minute)

    def wait(self) -> None:
        """Return when a call may be made; it counts as made."""
        while (pause := self._take()) > 0:
            self._sleep(pause)

    def _take(self) -> float:
        """Seconds to wait before asking again; 0 when the call was granted."""
        with self._lock:
            now = self._clock()
            pause = self._apart_s - (now - self._calls[-1]) if self._calls else 0.0
            if len(self._calls) == self._per_minute:
                pause = max(pause, _MINUTE_S - (now - self._calls[0]))
            if pause > _TOO_SHORT_S:
                return pause
            self._calls.append(now)
            return 0.0


@cache
def pace_of(provider: str, per_minute: int, apart_s: float = 0.0) -> Pace:
    """The one pace of a provider in this process, however many clients ask it."""
    return Pace(per_minute, apart_s)
