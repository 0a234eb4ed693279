"""Binance funding rates to events: JSON of REST, CSV of the archive.

Rates and prices stay decimals, every digit as sent; what has more digits than the store
keeps is refused, never rounded. Source of the layouts: Binance USDⓈ-M futures API
documentation and the public-data archive.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise

from candlevault.errors import BadPayload
from candlevault.funding import FundingEvent
from candlevault.windows import Window

_RATE_PLACES = 12
_PRICE_PLACES = 8
_HEADER = "calc_time,funding_interval_hours,last_funding_rate"
# Small numbers are written with an exponent now and then.
_NUMBER = re.compile(r"-?[0-9]{1,12}(?:\.[0-9]{1,16})?(?:[eE]-?[0-9]{1,2})?", re.ASCII)
_TIME = re.compile(r"[0-9]{1,15}", re.ASCII)
_LINE = re.compile(r"([0-9]{1,15}),[0-9]{1,3},([^,\r]+)\r?", re.ASCII)


def from_json(body: bytes, symbol: str, window: Window) -> tuple[FundingEvent, ...]:
    """The events of a fundingRate answer: a JSON array of objects; may be empty.

    Raises BadPayload for anything else, for another symbol, and for events that `checked`
    refuses.
    """
    try:
        rows = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadPayload("not JSON: " + repr(body[:60])) from error
    if not isinstance(rows, list):
        raise BadPayload("not a JSON array: " + repr(body[:60]))
    return checked([_event(row, symbol) for row in rows], window)


def from_csv(body: bytes, window: Window) -> tuple[FundingEvent, ...]:
    """The events of an archive CSV with its header; the files hold no mark price.

    Raises BadPayload for anything irregular, and for events that `checked` refuses.
    """
    try:
        header, *lines = body.decode("ascii").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise BadPayload("not plain text") from error
    if header.rstrip("\r") != _HEADER:
        raise BadPayload("unknown CSV header: " + repr(header[:60]))
    events = []
    for line in lines:
        match = _LINE.fullmatch(line)
        if match is None:
            raise BadPayload("line of the wrong form: " + repr(line[:60]))
        events.append(FundingEvent(int(match[1]), _number("last_funding_rate", match[2])))
    return checked(events, window)


def checked(events: Sequence[FundingEvent], window: Window) -> tuple[FundingEvent, ...]:
    """`events`, which must ascend strictly, lie inside `window` and be plausible.

    Raises BadPayload for one that does not, for a rate of 1 or more either way, for digits
    that the store does not keep, and for a mark price that is not positive.
    """
    for earlier, later in pairwise(events):
        if later.time_ms <= earlier.time_ms:
            raise BadPayload(f"times do not ascend: {later.time_ms} after {earlier.time_ms}")
    for event in events:
        if not window.contains(event.time_ms):
            raise BadPayload(f"an event at {event.time_ms}, outside {window}")
        if abs(event.rate) >= 1:
            raise BadPayload(f"a rate of {event.rate} at {event.time_ms}")
        _refuse_digits("rate", event.rate, _RATE_PLACES)
        if event.mark_price is not None:
            if event.mark_price <= 0:
                raise BadPayload(f"a mark price of {event.mark_price} at {event.time_ms}")
            _refuse_digits("mark price", event.mark_price, _PRICE_PLACES)
    return tuple(events)


def _event(row: object, symbol: str) -> FundingEvent:
    if not isinstance(row, dict):
        raise BadPayload("not an object: " + repr(row)[:60])
    if row.get("symbol") != symbol:
        raise BadPayload("of another symbol: " + repr(row.get("symbol"))[:40])
    time_ms = row.get("fundingTime")
    if not isinstance(time_ms, int) or not _TIME.fullmatch(str(time_ms)):
        raise BadPayload("fundingTime is not a time in ms: " + repr(time_ms)[:40])
    return FundingEvent(time_ms, _number("fundingRate", row.get("fundingRate")), _mark(row))


def _mark(row: dict) -> Decimal | None:
    """Old rows have none, or an empty one, or 0."""
    told = row.get("markPrice")
    if told is None or told == "":
        return None
    return _number("markPrice", told) or None


def _number(name: str, text: object) -> Decimal:
    if not isinstance(text, str) or not _NUMBER.fullmatch(text):
        raise BadPayload(f"{name} is not a decimal in a text: " + repr(text)[:40])
    return Decimal(text)


def _refuse_digits(name: str, value: Decimal, places: int) -> None:
    exponent = value.normalize().as_tuple().exponent
    if not isinstance(exponent, int) or -exponent > places:
        raise BadPayload(f"a {name} with more than {places} decimals: {value}")
