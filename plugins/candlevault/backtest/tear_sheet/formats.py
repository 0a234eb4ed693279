"""Numbers, times and durations as people read them. None is an en dash."""

from __future__ import annotations

import decimal

from candlevault.timeframe import from_ms

NOTHING = "–"
_MINUS, _THIN = "\u2212", "\u202f"
_LARGE = 1e15
_UNITS = (("y", 365 * 86_400), ("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def number(value: float | None, digits: int = 2, *, sign: bool = False) -> str:
    """Thousands in groups, `digits` after the point; with `sign` a plus above 0."""
    if value is None:
        return NOTHING
    if isinstance(value, int):
        text = f"{abs(value):,}"
    elif abs(value) >= _LARGE:
        text = f"{abs(value):.3e}"
    else:
        text = f"{abs(value):,.{digits}f}"
    if not any(digit in text for digit in "123456789"):
        return text
    return (_MINUS if value < 0 else "+" if sign else "") + text


def percent(value: float | None, digits: int = 2, *, sign: bool = False) -> str:
    """A number of percent (0-100) with its unit."""
    return NOTHING if value is None else f"{number(float(value), digits, sign=sign)}{_THIN}%"


def money(value: float | None, *, sign: bool = False) -> str:
    """An amount in quote: two digits after the point, none from a million on."""
    if value is None:
        return NOTHING
    return number(float(value), 0 if abs(value) >= 1e6 else 2, sign=sign)


def amount(value: float) -> str:
    """An amount of money, without its digits after the point where these are 0."""
    return money(value).removesuffix(".00")


def price(value: float | None) -> str:
    """A price with up to eight significant digits, at least two of them after the point."""
    if value is None:
        return NOTHING
    exact = decimal.Context(prec=8).create_decimal(value).normalize()
    return f"{exact:,f}" if exact.as_tuple().exponent <= -2 else f"{exact:,.2f}"


def moment(ms: int | None) -> str:
    """Date and time, UTC, to the minute."""
    return NOTHING if ms is None else f"{from_ms(ms):%Y-%m-%d %H:%M}"


def day(ms: int | None) -> str:
    """The date, UTC."""
    return NOTHING if ms is None else f"{from_ms(ms):%Y-%m-%d}"


def duration(seconds: float | None) -> str:
    """A length of time in its two largest units; a year has 365 days."""
    if seconds is None:
        return NOTHING
    rest, parts = round(seconds), []
    for unit, length in _UNITS:
        count, rest = divmod(rest, length)
        if count or parts:
            parts.append(f"{count}{_THIN}{unit}" if count else "")
        if len(parts) == 2:
            break
    return " ".join(filter(None, parts)) or f"0{_THIN}s"


def counted(count: int, noun: str) -> str:
    """A number with its noun, in the plural (with an s) unless it is 1."""
    return f"{number(count)} {noun}{'' if count == 1 else 's'}"


def words(name: str) -> str:
    """An identifier as words: `stop_loss` as stop loss."""
    return name.replace("_", " ")
