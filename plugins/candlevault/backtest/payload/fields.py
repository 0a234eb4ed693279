"""Pieces of the payload's JSON schema that several fields are made of."""

from __future__ import annotations

TIME_PATTERN = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})$"
)
_TIME_RULE = "must be a time with Z or an offset, such as 2023-01-01T00:00:00Z"
LARGEST_AMOUNT = 1e12


def time(title: str, description: str, example: str, **more: object) -> dict:
    """The schema of a point in time."""
    return {
        "type": "string",
        "format": "date-time",
        "pattern": TIME_PATTERN,
        "x-rule": _TIME_RULE,
        "title": title,
        "description": description,
        "examples": [example],
        **more,
    }


def choice(title: str, description: str, options: list[str], default: str) -> dict:
    """The schema of one of several words."""
    return {
        "type": "string",
        "enum": options,
        "title": title,
        "description": description,
        "default": default,
        "examples": [default],
    }


def number(title: str, description: str, default: float | None, example: float, **limits) -> dict:
    """The schema of a number; one without a default may be null, which switches it off."""
    return {
        "type": "number" if default is not None else ["number", "null"],
        "title": title,
        "description": description,
        "default": default,
        **limits,
        "examples": [example],
    }


def whole(title: str, description: str, default: int | None, example: int, **limits) -> dict:
    """The schema of a whole number; one without a default may be null, which switches it off."""
    schema = number(title, description, default, example, **limits)
    schema["type"] = "integer" if default is not None else ["integer", "null"]
    return schema


def group(title: str, description: str, properties: dict, example: dict, **more: object) -> dict:
    """The schema of an object that takes no other keys; its default has those of its parts."""
    return {
        "type": "object",
        "title": title,
        "description": description,
        "properties": properties,
        "additionalProperties": False,
        "default": {
            name: schema["default"] for name, schema in properties.items() if "default" in schema
        },
        "examples": [example],
        **more,
    }
