"""Timeframes: the step of a candle series and its grid.

All instants are whole milliseconds since the epoch, UTC (`*_ms`), or aware datetimes.
Every timeframe here has a constant length; a week opens on Monday 00:00 UTC, and since
the epoch was a Thursday its grid is shifted by four days.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from candlevault.errors import InvalidRequest

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MONDAY_MS = 4 * 86_400_000
_MS = timedelta(milliseconds=1)


def to_ms(moment: datetime) -> int:
    """Milliseconds since the epoch of an aware datetime, exactly (floored below 1 ms)."""
    if moment.tzinfo is None:
        raise InvalidRequest("time", "must carry a time zone", moment.isoformat())
    return (moment - _EPOCH) // _MS


def from_ms(ms: int) -> datetime:
    """The aware UTC datetime of milliseconds since the epoch."""
    return _EPOCH + timedelta(milliseconds=int(ms))


@dataclass(frozen=True, slots=True)
class Timeframe:
    """One timeframe: `code` as venues and people write it, length and grid origin in ms."""

    code: str
    step_ms: int
    origin_ms: int = 0

    @property
    def step(self) -> timedelta:
        """Length of one candle."""
        return timedelta(milliseconds=self.step_ms)

    def floor(self, ms: int) -> int:
        """The newest open_time at or before `ms`."""
        return ms - (ms - self.origin_ms) % self.step_ms

    def ceil(self, ms: int) -> int:
        """The oldest open_time at or after `ms`."""
        return ms + (self.origin_ms - ms) % self.step_ms

    def is_aligned(self, ms: int) -> bool:
        """Whether `ms` is an open_time of this grid."""
        return (ms - self.origin_ms) % self.step_ms == 0

    def __str__(self) -> str:
        return self.code


def _minutes(count: int) -> int:
    return count * 60_000


ALL: dict[str, Timeframe] = {
    tf.code: tf
    for tf in (
        Timeframe("1m", _minutes(1)),
        Timeframe("5m", _minutes(5)),
        Timeframe("15m", _minutes(15)),
        Timeframe("30m", _minutes(30)),
        Timeframe("1h", _minutes(60)),
        Timeframe("4h", _minutes(240)),
        Timeframe("1d", _minutes(1440)),
        Timeframe("1w", _minutes(10080), _MONDAY_MS),
    )
}
"""Every known timeframe by its code, finest first."""


def parse(code: str, field: str = "timeframe") -> Timeframe:
    """The timeframe of `code`; raises InvalidRequest naming `field` and the known codes."""
    try:
        return ALL[code]
    except (KeyError, TypeError):
        raise InvalidRequest(field, f"must be one of {', '.join(ALL)}", code) from None
