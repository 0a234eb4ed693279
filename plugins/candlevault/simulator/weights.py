"""The request weight budget of one API, enforced as Binance does.

Windows are clock minutes (or several of them) of the real wall clock. The request that exceeds
the limit and a few after it get 429; a client that goes on is banned with 418, longer each time.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

FIRST_BAN_SECONDS = 120
LONGEST_BAN_SECONDS = 3 * 86_400
_MINUTES_KEPT = 1440


@dataclass(frozen=True, slots=True)
class Refusal:
    """429 or 418, what to wait in seconds, and the end of a ban in epoch milliseconds."""

    status: int
    retry_after: int
    until_ms: int


class Budget:
    """Weight per `minutes` (of funding rates: calls). `patience` is how many 429 such a window
    may bring before the ban."""

    def __init__(
        self,
        limit: int,
        patience: int = 10,
        first_ban_seconds: int = FIRST_BAN_SECONDS,
        wall: Callable[[], float] = time.time,
        minutes: int = 1,
    ) -> None:
        self.limit = limit
        self.minutes = minutes
        self._patience = patience
        self._first_ban = first_ban_seconds
        self._wall = wall
        self.reset()

    def reset(self) -> None:
        """Forget usage, bans and counts."""
        self.used_by_minute: OrderedDict[int, int] = OrderedDict()
        self.sent_429 = 0
        self.sent_418 = 0
        self.requests_during_ban = 0
        self.requests_before_retry_after = 0
        self._refused_in: tuple[int, int] = (-1, 0)
        self._bans = 0
        self._banned_until = 0.0
        self._announced: dict[int, float] = {429: 0.0, 418: 0.0}

    @property
    def used(self) -> int:
        """Weight used in the running window, refused requests included."""
        return self.used_by_minute.get(self._first_minute(self._wall()), 0)

    def charge(self, weight: int) -> Refusal | None:
        """Count a request; the refusal it meets, or None."""
        now = self._wall()
        if now < self._announced[418]:
            self.requests_during_ban += 1
        elif now < self._announced[429]:
            self.requests_before_retry_after += 1
        if now < self._banned_until:
            return self._ban_answer(now)
        minute = self._first_minute(now)
        used = self.used_by_minute.get(minute, 0) + weight
        self.used_by_minute[minute] = used
        if len(self.used_by_minute) > _MINUTES_KEPT:
            self.used_by_minute.popitem(last=False)
        if used <= self.limit:
            return None
        refused = self._refused_in[1] + 1 if self._refused_in[0] == minute else 1
        self._refused_in = (minute, refused)
        if refused > self._patience:
            self._bans += 1
            return self.ban(min(self._first_ban * 2 ** (self._bans - 1), LONGEST_BAN_SECONDS))
        self.sent_429 += 1
        wait = max(1, int((minute + self.minutes) * 60 - now) + 1)
        self.announce(429, wait)
        return Refusal(429, wait, int((now + wait) * 1000))

    def ban(self, seconds: float) -> Refusal:
        """Ban the client from now on."""
        now = self._wall()
        self._banned_until = now + seconds
        return self._ban_answer(now)

    def announce(self, status: int, seconds: float) -> None:
        """Note that the client was told to stay away, so that disobedience is counted."""
        self._announced[status] = max(self._announced[status], self._wall() + seconds)

    def _first_minute(self, now: float) -> int:
        """The minute of the epoch in which the running window began."""
        return int(now // (60 * self.minutes)) * self.minutes

    def _ban_answer(self, now: float) -> Refusal:
        self.sent_418 += 1
        wait = max(1, int(self._banned_until - now) + 1)
        self._announced[418] = self._banned_until
        return Refusal(418, wait, int(self._banned_until * 1000))

    def describe(self) -> dict:
        """Usage and counts for the control surface."""
        by_minute = {
            time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime(minute * 60)): used
            for minute, used in self.used_by_minute.items()
        }
        return {
            "limit": self.limit,
            "used_by_minute": by_minute,
            "max_used_in_a_minute": max(by_minute.values(), default=0),
            "sent_429": self.sent_429,
            "sent_418": self.sent_418,
            "requests_during_ban": self.requests_during_ban,
            "requests_before_retry_after": self.requests_before_retry_after,
        }
