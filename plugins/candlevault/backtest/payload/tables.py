"""A JSON schema in words: Markdown tables of fields, for trigger forms and the documentation."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping

_HEAD = ("| field | type | default | range | meaning |", "|---|---|---|---|---|")
_OFF = "–"
_WIDEST = 60
"""Letters of an example in one line: a longer one makes Airflow's form scroll sideways."""


def described(schema: Mapping, *, deep: bool = True) -> str:
    """All that a field says of itself: meaning, its fields, settings of strategies, an example.

    With `deep`, fields inside fields have rows of their own, named by their dotted path.
    """
    parts = [_text(schema["description"])]
    if "properties" in schema:
        parts.append(fields(schema["properties"], schema.get("required", ()), deep=deep))
    settings = strategies(schema)
    if settings:
        parts += ["Settings of the strategies:", settings]
    if schema.get("examples"):
        parts += ["For example", *(example(one) for one in schema["examples"])]
    return "\n\n".join(parts)


def fields(
    properties: Mapping[str, Mapping],
    required: Collection[str] = (),
    *,
    deep: bool = True,
    links: Collection[str] = (),
) -> str:
    """One table of `properties`: name, type, default, range and meaning of each.

    Names in `links` lead to the heading of that name on the same page.
    """
    rows = list(_rows(properties, required, "", deep))
    for number, (path, *cells) in enumerate(rows):
        shown = _code(path)
        rows[number] = (f"[{shown}](#{path})" if path in links else shown, *cells)
    return _table(rows)


def strategies(schema: Mapping) -> str:
    """One table of the settings of every strategy that a schema of `strategy` lists, or ''.

    A field whose parts hold such a schema (the backtest of a sweep) counts as well.
    """
    inner = schema.get("properties", {}).get("strategy", schema)
    rows = []
    for rule in inner.get("allOf", ()):
        name = rule["if"]["properties"]["name"]["const"]
        params = rule["then"]["properties"]["params"]
        rows.append((f"**{_code(name)}**", "", "", "", _text(params["description"])))
        listed = _rows(params["properties"], params.get("required", ()), "", False)
        rows += [(_code(path), *cells) for path, *cells in listed]
    return _table(rows) if rows else ""


def example(value: object) -> str:
    """A block of JSON; a part has a line of its own where the whole would be too long."""
    return f"```json\n{_json(value, 0)}\n```"


def _json(value: object, indent: int) -> str:
    short = json.dumps(value)
    if indent + len(short) <= _WIDEST or not isinstance(value, Mapping):
        return short
    deeper = " " * (indent + 2)
    lines = (f"{deeper}{json.dumps(key)}: {_json(value[key], indent + 2)}" for key in value)
    return "\n".join(("{", ",\n".join(lines), f"{' ' * indent}}}"))


def _table(rows: list[tuple[str, ...]]) -> str:
    return "\n".join((*_HEAD, *(f"| {' | '.join(cells)} |" for cells in rows)))


def _rows(
    properties: Mapping[str, Mapping], required: Collection[str], above: str, deep: bool
) -> Iterator[tuple[str, ...]]:
    for name, schema in properties.items():
        path = f"{above}{name}"
        yield (
            path,
            _type(schema),
            _default(schema, name in required),
            _range(schema),
            _text(schema["description"]),
        )
        if deep:
            yield from _rows(
                schema.get("properties", {}), schema.get("required", ()), f"{path}.", deep
            )
            yield from _free(schema, path)


def _free(schema: Mapping, path: str) -> Iterator[tuple[str, ...]]:
    """What stands under names that the writer of the payload chooses."""
    inner = schema.get("additionalProperties")
    for kind in inner.get("oneOf", ()) if isinstance(inner, Mapping) else ():
        yield (f"{path}.*", _type(kind), _OFF, _range(kind), _text(kind["description"]))
        yield from _rows(
            kind.get("properties", {}), kind.get("required", ()), f"{path}.*.", deep=True
        )


def _type(schema: Mapping) -> str:
    kinds = [schema["type"]] if isinstance(schema["type"], str) else list(schema["type"])
    if schema.get("format") == "date-time":
        kinds = ["time" if kind == "string" else kind for kind in kinds]
    kinds.sort(key="null".__eq__)
    words = " or ".join(kinds)
    holds = schema.get("items", {}).get("type")
    return f"{words} of {holds}s" if isinstance(holds, str) else words


def _default(schema: Mapping, required: bool) -> str:
    if required:
        return "required"
    # Of an object with fields of its own, each says its default itself.
    if "default" not in schema or (schema["default"] is not None and "properties" in schema):
        return _OFF
    return _text(_word(schema["default"]))


def _range(schema: Mapping) -> str:
    if "enum" in schema:
        # As plain words: in Airflow's narrow form every piece of code is a wide box.
        return ", ".join(_text(_word(option)) for option in schema["enum"])
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f"{_number(low)} to {_number(high)}"
    bounds = {
        "minimum": "at least",
        "exclusiveMinimum": "above",
        "maximum": "at most",
        "exclusiveMaximum": "below",
        "maxItems": "at most",
    }
    words = [f"{said} {_number(schema[word])}" for word, said in bounds.items() if word in schema]
    if "maxItems" in schema:
        words[-1] += " of them"
    if not words and "x-rule" in schema:
        return _text(schema["x-rule"].removeprefix("must be "))
    return ", ".join(words) or _OFF


def _word(option: object) -> str:
    return option if isinstance(option, str) else json.dumps(option)


def _number(bound: float) -> str:
    short = f"{bound:g}".replace("e+0", "e").replace("e+", "e")
    if "e" in short and float(short) == bound:
        return short
    return f"{int(bound):,}" if bound == int(bound) else repr(bound)


def _code(word: str) -> str:
    # Inside a table even code must escape its bars; nothing can escape a backtick in it.
    return f"`{word.replace('|', chr(92) + '|').replace('`', chr(39))}`"


def _text(words: str) -> str:
    """`words` on one line, without what would be a cell, a link, an image or a tag."""
    for letter in "|[<":
        words = words.replace(letter, f"\\{letter}")
    return " ".join(words.split())
