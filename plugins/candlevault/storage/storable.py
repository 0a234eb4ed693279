"""JSON as PostgreSQL can store it.

Python reads more than JSON has: NaN and Infinity. `jsonb` takes less than JSON has: neither
U+0000 nor half of a surrogate pair; `text` takes no more.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping

from candlevault.errors import InvalidRequest

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_CHARACTERS = "must hold neither the character U+0000 nor half of a surrogate pair"


def text(given: str) -> str:
    """`given` with U+FFFD in place of every character that cannot be stored."""
    return _UNSTORABLE.sub("\ufffd", given)


def storable(value: object) -> object:
    """A copy of JSON in which all can be stored: numbers that are none become their names."""
    if isinstance(value, str):
        return text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return json.dumps(value)
    if isinstance(value, Mapping):
        return {text(str(name)): storable(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [storable(one) for one in value]
    return value


def refuse_unstorable(value: Mapping[str, object]) -> None:
    """Raise InvalidRequest on the first field of `value` that cannot be stored, if there is one."""
    for field, rule, given in _unstorable(value, ""):
        raise InvalidRequest(field, rule, given)


def _unstorable(value: object, place: str) -> Iterator[tuple[str, str, object]]:
    if isinstance(value, str):
        if _UNSTORABLE.search(value):
            yield place, _CHARACTERS, value
    elif isinstance(value, float):
        if not math.isfinite(value):
            yield place, "must be a finite number", value
    elif isinstance(value, Mapping):
        for name, one in value.items():
            inner = f"{place}.{text(str(name))}" if place else text(str(name))
            if _UNSTORABLE.search(str(name)):
                yield inner, f"the name of a field {_CHARACTERS}", name
            yield from _unstorable(one, inner)
    elif isinstance(value, list | tuple):
        for position, one in enumerate(value):
            yield from _unstorable(one, f"{place}[{position}]")
