"""What callers may write for an instant, and the window and state it asks for."""

from __future__ import annotations

from datetime import UTC, date, datetime

from candlevault.errors import InvalidRequest
from candlevault.timeframe import to_ms
from candlevault.windows import Window

Instant = datetime | date | str
"""An aware datetime; a date (its midnight UTC); or ISO text, UTC unless it has an offset."""

_RULE = "must be an aware datetime, a date or ISO text (2024-01-31, 2024-01-31T12:00Z)"


def instant(value: Instant, field: str) -> datetime:
    """The aware UTC datetime that `value` means; raises InvalidRequest naming `field`.

    Text and dates without an offset are UTC. A naive datetime is refused: its owner may have
    meant the local time of a machine.
    """
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            raise InvalidRequest(field, _RULE, value) from None
        if value.tzinfo is None:
            value = value.replace(tzinfo=UTC)
    if isinstance(value, datetime):
        # pandas' NaT is a datetime that does not even equal itself.
        if value != value:
            raise InvalidRequest(field, _RULE, value)
        if value.tzinfo is None:
            raise InvalidRequest(field, "must carry a time zone", value.isoformat())
        try:
            # A plain datetime also of its subclasses, pandas' Timestamp among them.
            return datetime.combine(value.date(), value.timetz()).astimezone(UTC)
        except OverflowError:
            raise InvalidRequest(field, "lies outside the years 1 to 9999", value) from None
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    raise InvalidRequest(field, _RULE, value)


def window(start: Instant, end: Instant) -> Window:
    """The half-open window `[start, end)`; raises InvalidRequest naming the field."""
    first, last = _ms(start, "start"), _ms(end, "end")
    if first < 0:
        raise InvalidRequest("start", "must not lie before 1970-01-01", start)
    if first >= last:
        raise InvalidRequest("end", "must lie after start", end)
    return Window(first, last)


def _ms(value: Instant, field: str) -> int:
    """Rounded up: an open_time is at or after an instant if it is so after its millisecond."""
    moment = instant(value, field)
    return to_ms(moment) + (1 if moment.microsecond % 1000 else 0)
