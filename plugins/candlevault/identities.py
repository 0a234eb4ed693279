"""Which instruments a symbol has meant, one after the other: include/instruments.yaml.

A symbol is not unique over time. Each use of it is a *lifetime*, counted from 1; the time
axis is split between them at `begins`, so that no candle can belong to none or to two.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from functools import cache
from pathlib import Path

import yaml

from candlevault import paths
from candlevault.errors import ConfigurationError, InvalidRequest
from candlevault.series import Series
from candlevault.series import parse as parse_series
from candlevault.timeframe import to_ms
from candlevault.windows import Window

FOREVER_MS = 253_402_214_400_000
"""9999-12-31T00:00:00Z: the end of the last lifetime's share of the time axis."""


@dataclass(frozen=True, slots=True)
class Lifetime:
    """One use of a symbol.

    `begins_ms` is None for the first. One unit of it became `successor_ratio` units of
    `successor` (a symbol of the same venue and market), if there is one.
    """

    number: int = 1
    begins_ms: int | None = None
    name: str = ""
    successor: str | None = None
    successor_ratio: Decimal | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Share:
    """A lifetime and its part of the time axis, or of a window; `last` if none follows."""

    lifetime: Lifetime
    window: Window
    last: bool

    def within(self, window: Window) -> Share | None:
        """The same, of a window only; None when it lies outside."""
        part = self.window.intersection(window)
        return None if part is None else Share(self.lifetime, part, self.last)


Catalogue = dict[tuple[str, str, str], tuple[Lifetime, ...]]


def lifetimes(venue: str, market: str, symbol: str) -> tuple[Lifetime, ...]:
    """The known lifetimes of a symbol, ascending; one without a name where nothing is known."""
    return catalogue().get((venue, market, symbol), (Lifetime(),))


def shares(series: Series) -> list[Share]:
    """The lifetimes of the series' symbol, each with its part of the time axis, ascending.

    Cut on the series' grid, so that a coarse candle in which a lifetime begins is its first.
    """
    known = lifetimes(series.venue, series.market, series.symbol)
    floor = series.timeframe.floor
    found = []
    for lifetime, following in zip(known, (*known[1:], None), strict=True):
        start = 0 if lifetime.begins_ms is None else floor(lifetime.begins_ms)
        end = FOREVER_MS if following is None else floor(following.begins_ms or 0)
        found.append(Share(lifetime, Window(start, end), following is None))
    return found


def predecessors(venue: str, market: str, symbol: str) -> list[tuple[str, Lifetime]]:
    """The instruments that became this symbol: (their symbol, their lifetime)."""
    return [
        (key[2], lifetime)
        for key, known in sorted(catalogue().items())
        for lifetime in known
        if key[:2] == (venue, market) and lifetime.successor == symbol
    ]


@cache
def catalogue() -> Catalogue:
    """The project's catalogue."""
    return load()


def load(path: Path = paths.INSTRUMENTS) -> Catalogue:
    """Read and check a catalogue; raises ConfigurationError naming file, key and rule."""
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{path.name}: cannot be read: {error}") from error
    found: Catalogue = {}
    try:
        for venue, markets in _mapping(raw, "the file").items():
            for market, symbols in _mapping(markets, str(venue)).items():
                for symbol, entries in _mapping(symbols, f"{venue}.{market}").items():
                    where = f"{venue}.{market}.{symbol}"
                    series = parse_series(str(venue), str(market), str(symbol), "1d")
                    found[series.venue, series.market, series.symbol] = _lifetimes(entries, where)
    except InvalidRequest as error:
        raise ConfigurationError(f"{path.name}: {error}") from error
    return found


def _lifetimes(entries: object, where: str) -> tuple[Lifetime, ...]:
    if not isinstance(entries, list) or not entries:
        raise InvalidRequest(where, "must be a list of instruments", entries)
    found: list[Lifetime] = []
    for number, entry in enumerate(entries, start=1):
        field = f"{where}[{number - 1}]"
        known = {"begins", "name", "successor", "ratio", "source"}
        unknown = set(_mapping(entry, field)) - known
        if unknown:
            raise InvalidRequest(f"{field}.{min(unknown)}", "unknown key")
        for key in ("name", "source"):
            if not isinstance(entry.get(key), str) or not entry[key]:
                raise InvalidRequest(f"{field}.{key}", "must be a text", entry.get(key))
        begins = _begins(entry.get("begins"), field, number)
        if found and found[-1].begins_ms is not None and begins <= found[-1].begins_ms:
            raise InvalidRequest(f"{field}.begins", "must lie after the one before")
        successor = entry.get("successor")
        if successor is not None:
            parse_series("any", "spot", successor, "1d")
        ratio = _ratio(entry.get("ratio"), field)
        if (successor is None) != (ratio is None):
            raise InvalidRequest(f"{field}.ratio", "must be given with successor, and only then")
        found.append(Lifetime(number, begins, entry["name"], successor, ratio, entry["source"]))
    return tuple(found)


def _begins(value: object, field: str, number: int) -> int | None:
    if number == 1:
        if value is not None:
            raise InvalidRequest(f"{field}.begins", "the first instrument has none", value)
        return None
    if not isinstance(value, date) or isinstance(value, datetime):
        raise InvalidRequest(f"{field}.begins", "must be a date (YYYY-MM-DD)", value)
    return to_ms(datetime.fromisoformat(f"{value.isoformat()}T00:00:00+00:00"))


def _ratio(value: object, field: str) -> Decimal | None:
    if value is None:
        return None
    try:
        ratio = Decimal(str(value))
    except InvalidOperation:
        ratio = Decimal(0)
    if isinstance(value, bool) or not ratio.is_finite() or ratio <= 0:
        raise InvalidRequest(f"{field}.ratio", "must be a positive number", value)
    return ratio


def _mapping(value: object, field: str) -> dict:
    if not isinstance(value, dict):
        raise InvalidRequest(field, "must be a mapping", value)
    return value
