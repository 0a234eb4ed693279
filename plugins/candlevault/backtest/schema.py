"""The few words of JSON Schema that the backtest payload uses, checked with usable errors.

`conform` refuses what a JSON Schema validator refuses and also what JSON cannot say
(NaN, infinities). Beyond that it applies defaults, names the dotted field and suggests
the nearest known key. Words understood: type, enum, pattern (with `x-rule`, its meaning
in words), minimum, maximum, exclusiveMinimum, exclusiveMaximum, items, maxItems, properties,
required, default. An object never takes more keys than its `properties`. What a schema leaves
open (an object without properties, an array without items, anything behind a `$ref`) is copied
as it is, up to a limit in size and depth, and left to the caller to judge.
"""

from __future__ import annotations

import copy
import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence

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

_DEEPEST = 64
_MOST_VALUES = 10_000
_LONGEST_NAME = 80

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
    if len(str(name)) > _LONGEST_NAME:
        return None
    plain = {_plain(candidate): candidate for candidate in known}
    close = difflib.get_close_matches(_plain(name), plain, n=1, cutoff=0.6)
    return plain[close[0]] if close else None


def suggestion(name: object, known: Iterable[str]) -> str:
    """Words to end a rule with: `; did you mean …?`, or nothing when no known name is near."""
    near = nearest(name, known)
    return f"; did you mean {near}?" if near else ""


def place(field: str, key: object) -> str:
    """The name of a nested field: `field.key`, and just `key` where `field` is empty."""
    key = str(key)[:_LONGEST_NAME]
    return f"{field}.{key}" if field else key


def conform(value: object, schema: Mapping, field: str) -> object:
    """`value` as `schema` wants it: defaults applied, `number` as float, `integer` as int.

    The input is not changed and shares nothing with the answer. Raises InvalidRequest for
    the first thing that is wrong; nested fields are named `field.key`, and just
    `key` where `field` is empty.
    """
    if "$ref" in schema:
        return _copied(value, field)
    kind = require_kind(value, schema["type"], field)
    if "enum" in schema and value not in schema["enum"]:
        raise InvalidRequest(field, _enum_rule(value, schema["enum"]), _shown(value))
    if kind in ("number", "integer"):
        return _number(value, kind, schema, field)
    if kind == "object":
        return _object(value, schema, field)
    if kind == "array":
        return _array(value, schema, field)
    if kind == "string" and "pattern" in schema and not re.fullmatch(schema["pattern"], value):
        raise InvalidRequest(field, schema["x-rule"], value)
    return value


def require_kind(value: object, accepted: str | Sequence[str], field: str) -> str:
    """What JSON Schema calls the type of `value`, one of `accepted`; else InvalidRequest.

    A whole number counts as `integer` where that is accepted and as `number` elsewhere.
    """
    accepted = [accepted] if isinstance(accepted, str) else accepted
    kind = _kind(value)
    if kind == "integer" and "integer" not in accepted:
        kind = "number"
    if kind in accepted:
        return kind
    expected = " or ".join(_NOUNS[name] for name in accepted)
    raise InvalidRequest(field, f"must be {expected}, not {_NOUNS.get(kind, kind)}", _shown(value))


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
        raise InvalidRequest(field, f"must be {rule}", _shown(value))
    # Adding zero turns -0.0 into 0.0, so that equal requests have equal bytes.
    return int(value) if kind == "integer" else float(value) + 0.0


def _array(value: list | tuple, schema: Mapping, field: str) -> list:
    if len(value) > schema.get("maxItems", len(value)):
        raise InvalidRequest(field, f"must hold at most {schema['maxItems']} items", len(value))
    if "items" not in schema:
        return _copied(value, field)
    return [conform(item, schema["items"], f"{field}[{i}]") for i, item in enumerate(value)]


def _object(value: Mapping, schema: Mapping, field: str) -> dict:
    if "properties" not in schema:
        return _copied(value, field)
    properties = schema["properties"]
    _refuse_unknown_keys(value, properties, field)
    answer = {}
    for key, subschema in properties.items():
        path = place(field, key)
        if key in value:
            answer[key] = conform(value[key], subschema, path)
        elif "default" in subschema:
            answer[key] = conform(copy.deepcopy(subschema["default"]), subschema, path)
        elif key in schema.get("required", ()):
            raise InvalidRequest(path, "is required")
    return answer


def _copied(value: object, field: str) -> object:
    """`value` with objects and arrays of its own."""
    seen = 0

    def copied(part: object, level: int) -> object:
        nonlocal seen
        seen += 1
        if seen > _MOST_VALUES:
            raise InvalidRequest(field, f"must not hold more than {_MOST_VALUES} values")
        if level > _DEEPEST:
            raise InvalidRequest(field, f"must not be nested deeper than {_DEEPEST} levels")
        if isinstance(part, Mapping):
            return {key: copied(inner, level + 1) for key, inner in part.items()}
        if isinstance(part, (list, tuple)):
            return [copied(inner, level + 1) for inner in part]
        return part

    return copied(value, 0)


def _refuse_unknown_keys(value: Mapping, known: Mapping, field: str) -> None:
    for key in value:
        if key not in known:
            near = nearest(key, known)
            hint = f"did you mean {near}? known keys: " if near else "known keys: "
            raise InvalidRequest(
                place(field, key), f"is not a known key; {hint}{', '.join(known) or 'none'}"
            )


def _shown(value: object) -> object:
    """`value` for an error, None where putting it into words could fail or take long."""
    if isinstance(value, (Mapping, list, tuple)):
        return None
    return None if isinstance(value, int) and value.bit_length() > 2_000 else value


def _enum_rule(value: object, names: list) -> str:
    hint = suggestion(value, names) if isinstance(value, str) else ""
    return f"must be one of {', '.join(names)}{hint}"


def _plain(name: object) -> str:
    return str(name).casefold().replace("_", "").replace("-", "")
