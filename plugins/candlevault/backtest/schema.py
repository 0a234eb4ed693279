"""The few words of JSON Schema that the backtest payload uses, checked with usable errors.

`conform` refuses what a JSON Schema validator refuses and also what JSON cannot say
(NaN, infinities). Beyond that it applies defaults, names the dotted field and suggests
the nearest known key. Words understood: type, enum, pattern (with `x-rule`, its meaning
in words), minimum, maximum, exclusiveMinimum, exclusiveMaximum, properties, required,
default. An object never takes more keys than its `properties`; one that lists none is
copied as it is and left to the caller to judge.
"""

from __future__ import annotations

import copy
import difflib
import math
import re
from collections.abc import Iterable, Mapping

from candlevault.errors import InvalidRequest

_NOUNS = {
    "object": "an object",
    "array": "an array",
    "string": "a string",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "a boolean",
    "null": "null",
}

_BOUNDS = (
    ("minimum", "at least", lambda value, bound: value >= bound),
    ("exclusiveMinimum", "above", lambda value, bound: value > bound),
    ("maximum", "at most", lambda value, bound: value <= bound),
    ("exclusiveMaximum", "below", lambda value, bound: value < bound),
)


def nearest(name: object, known: Iterable[str]) -> str | None:
    """The known name that `name` most likely means, or None when none is near.

    Case, hyphens and underscores do not count: `startTime` is near `start_time`.
    """
    plain = {_plain(candidate): candidate for candidate in known}
    close = difflib.get_close_matches(_plain(name), plain, n=1, cutoff=0.6)
    return plain[close[0]] if close else None


def conform(value: object, schema: Mapping, field: str) -> object:
    """`value` as `schema` wants it: defaults applied, `number` as float, `integer` as int.

    The input is not changed and shares nothing with the answer. Raises InvalidRequest for
    the first thing that is wrong; nested fields are named `field.key`, and just
    `key` where `field` is empty.
    """
    kind = _accepted_kind(value, schema, field)
    if "enum" in schema and value not in schema["enum"]:
        raise InvalidRequest(field, _enum_rule(value, schema["enum"]), value)
    if kind in ("number", "integer"):
        return _number(value, kind, schema, field)
    if kind == "object":
        return _object(value, schema, field)
    if kind == "string" and "pattern" in schema and not re.fullmatch(schema["pattern"], value):
        raise InvalidRequest(field, schema["x-rule"], value)
    return value


def _accepted_kind(value: object, schema: Mapping, field: str) -> str:
    accepted = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    kind = _kind(value)
    if kind == "integer" and "integer" not in accepted:
        kind = "number"
    if kind in accepted:
        return kind
    expected = " or ".join(_NOUNS[name] for name in accepted)
    raise InvalidRequest(field, f"must be {expected}, not {_NOUNS.get(kind, kind)}", value)


def _kind(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "integer" if value.is_integer() else "number"
    for types, name in ((str, "string"), (Mapping, "object"), ((list, tuple), "array")):
        if isinstance(value, types):
            return name
    return type(value).__name__


def _number(value, kind: str, schema: Mapping, field: str) -> int | float:
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidRequest(field, "must be a finite number", value)
    limits = [(words, schema[key]) for key, words, _ in _BOUNDS if key in schema]
    if not all(holds(value, schema[key]) for key, _, holds in _BOUNDS if key in schema):
        rule = " and ".join(f"{words} {bound}" for words, bound in limits)
        raise InvalidRequest(field, f"must be {rule}", value)
    # Adding zero turns -0.0 into 0.0, so that equal requests have equal bytes.
    return int(value) if kind == "integer" else float(value) + 0.0


def _object(value: Mapping, schema: Mapping, field: str) -> dict:
    if "properties" not in schema:
        return copy.deepcopy(dict(value))
    properties = schema["properties"]
    _refuse_unknown_keys(value, properties, field)
    answer = {}
    for key, subschema in properties.items():
        path = _join(field, key)
        if key in value:
            answer[key] = conform(value[key], subschema, path)
        elif "default" in subschema:
            answer[key] = conform(copy.deepcopy(subschema["default"]), subschema, path)
        elif key in schema.get("required", ()):
            raise InvalidRequest(path, "is required")
    return answer


def _refuse_unknown_keys(value: Mapping, known: Mapping, field: str) -> None:
    for key in value:
        if key not in known:
            near = nearest(key, known)
            hint = f"did you mean {near}? known keys: " if near else "known keys: "
            raise InvalidRequest(
                _join(field, str(key)), f"is not a known key; {hint}{', '.join(known) or 'none'}"
            )


def _join(field: str, key: str) -> str:
    return f"{field}.{key}" if field else key


def _enum_rule(value: object, names: list) -> str:
    near = nearest(value, names) if isinstance(value, str) else None
    return f"must be one of {', '.join(names)}" + (f"; did you mean {near}?" if near else "")


def _plain(name: object) -> str:
    return str(name).casefold().replace("_", "").replace("-", "")
