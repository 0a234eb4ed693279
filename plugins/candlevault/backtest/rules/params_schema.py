"""The JSON schema (draft 2020-12) of the settings of rules, made from the tables they use.

What it cannot say is checked when rules are read: that names exist, that indicators do not go
in circles, how many conditions there are and how deep they lie.
"""

from __future__ import annotations

from functools import cache

from candlevault.backtest.rules.functions import LARGEST_NUMBER, LARGEST_PERIOD, Function, catalogue
from candlevault.backtest.rules.tree import (
    ALL,
    ANY,
    ARITHMETIC,
    BETWEEN,
    COMPARISONS,
    NOT,
    PRICES,
    SIDES,
    TRENDS,
)

MOST_INDICATORS = 64
NAME_PATTERN = r"^[A-Za-z][A-Za-z0-9_]{0,39}$"
NAME_RULE = "must be a letter, then up to 39 letters, digits and underscores (all ASCII)"

_IDENTIFIER = "urn:candlevault:rules"  # so that `#/$defs` are found wherever the schema is put
_COMPARISON_WORDS = {
    "above": "The first lies above the second.",
    "below": "The first lies below the second.",
    "at_least": "The first lies above the second or equals it.",
    "at_most": "The first lies below the second or equals it.",
    "equal": "The two differ by at most 1e-12 of the larger one.",
    "crosses_above": "The first lies above the second now and did not on the bar before.",
    "crosses_below": "The first lies below the second now and did not on the bar before.",
}
_TREND_WORDS = {
    "rising": "Each of the last `bars` values lies above the one before it.",
    "falling": "Each of the last `bars` values lies below the one before it.",
}
_ARITHMETIC_WORDS = {
    "add": "The sum of the two.",
    "subtract": "The first less the second.",
    "multiply": "The product of the two.",
    "divide": "The first divided by the second; undefined where that is zero.",
}
_ORDER_WORDS = {
    "limit": "Price of a limit order; with `stop` the limit of a stop-limit order.",
    "stop": "Price of a stop order: enters once the price has moved on that far.",
    "stop_loss": "Price at which the position is given up, instead of that of the risk rules.",
    "take_profit": "Price at which the profit is taken, instead of that of the risk rules.",
    "trail": "Distance of a trailing stop in quote, instead of that of the risk rules.",
    "weight": "Part of the usual size, above 0; more than 1 counts as 1.",
}
_SIDE_WORDS = {
    "condition": "The condition for the {side} side.",
    "orders": "What entries of the {side} side carry.",
}
EXAMPLES: tuple[dict, ...] = (
    {
        "indicators": {
            "fast": {"function": "EMA", "timeperiod": 20},
            "slow": {"function": "EMA", "timeperiod": 50},
            "bands": {"function": "BBANDS", "timeperiod": 20},
            "osc": {"function": "RSI", "timeperiod": 14, "of": "fast"},
        },
        "entry": {
            "long": {
                "all": [
                    {"crosses_above": ["fast", "slow"]},
                    {"above": ["close", "bands.middleband"]},
                    {"not": {"below": ["osc", 30]}},
                ]
            }
        },
        "exit": {"long": {"any": [{"crosses_below": ["fast", "slow"]}, {"above": ["osc", 80]}]}},
    },
    {
        "indicators": {
            "highest": {"function": "MAX", "timeperiod": 20, "of": "high"},
            "lowest": {"function": "MIN", "timeperiod": 10, "of": "low"},
            "range": {"function": "ATR", "timeperiod": 14},
        },
        "entry": {"long": {"above": ["close", {"of": "highest", "bars_ago": 1}]}},
        "exit": {"long": {"below": ["close", {"of": "lowest", "bars_ago": 1}]}},
        "orders": {"long": {"stop_loss": {"subtract": ["close", {"multiply": [3, "range"]}]}}},
    },
)


PAST = {
    "type": "object",
    "description": "The value so many bars ago.",
    "properties": {
        "of": {
            "$ref": "#/$defs/operand",
            "description": "What has the value.",
            "examples": ["close"],
        },
        "bars_ago": {
            "type": "integer",
            "description": "How many bars before.",
            "minimum": 0,
            "maximum": LARGEST_PERIOD,
            "examples": [1],
        },
    },
    "required": ["of", "bars_ago"],
    "additionalProperties": False,
}
TREND = {
    "type": "object",
    "properties": {
        "of": {"$ref": "#/$defs/operand", "description": "What moves.", "examples": ["close"]},
        "bars": {
            "type": "integer",
            "description": "How many bars in a row.",
            "minimum": 1,
            "maximum": LARGEST_PERIOD,
            "default": 1,
        },
    },
    "required": ["of"],
    "additionalProperties": False,
}
CONSTANT = {
    "type": "number",
    "description": "A constant.",
    "minimum": -LARGEST_NUMBER,
    "maximum": LARGEST_NUMBER,
}
CARRIED = {
    "type": "object",
    "properties": {
        name: {
            "$ref": "#/$defs/operand",
            "description": words,
            "examples": [0.5 if name == "weight" else {"multiply": ["close", 0.95]}],
        }
        for name, words in _ORDER_WORDS.items()
    },
    "minProperties": 1,
    "additionalProperties": False,
}


def indicator_schema(function: Function) -> dict:
    """The schema of an indicator that is this function."""
    roles = {role: _column(default) for role, default in function.inputs}
    if len(roles) == 1:
        (of,) = roles.values()
    else:
        of = {"type": "object", "properties": roles, "additionalProperties": False}
        required = [role for role, default in function.inputs if default is None]
        of |= {"required": required} if required else {"default": {}}
    return {
        "type": "object",
        "description": f"{function.name}: {function.title}",
        "properties": {
            "function": {
                "type": "string",
                "description": "TA-Lib's name of it.",
                "enum": [function.name],
                "examples": [function.name],
            },
            **{setting.name: _setting(setting.schema) for setting in function.settings},
            "of": of | {"description": "What it is computed of."} | _of_example(of),
        },
        "required": ["function"] if "default" in of else ["function", "of"],
        "additionalProperties": False,
    }


@cache
def params_schema() -> dict:
    """The schema of `strategy.params` of the strategy `rules`; shared, do not change it."""
    return {
        "$id": _IDENTIFIER,
        "type": "object",
        "title": "Rules",
        "description": "Indicators by name, and the conditions on them that enter and leave: see "
        "docs/backtests.md.",
        "properties": {
            "indicators": {
                "type": "object",
                "title": "Indicators",
                "description": "Functions of TA-Lib under names of your own. What is left out "
                "has TA-Lib's default.",
                "propertyNames": {"pattern": NAME_PATTERN, "not": {"enum": list(PRICES)}},
                "additionalProperties": {"$ref": "#/$defs/indicator"},
                "maxProperties": MOST_INDICATORS,
                "default": {},
                "examples": [EXAMPLES[0]["indicators"]],
            },
            "entry": _sides("Entry", "When to enter.", "condition", EXAMPLES[0]["entry"])
            | {"minProperties": 1},
            "exit": _sides("Exit", "When to leave.", "condition", EXAMPLES[0]["exit"], default={}),
            "orders": _sides(
                "Orders",
                "Prices and levels that the entries of a side carry. Where one of them is not "
                "defined or not above 0, the entry is not taken.",
                "orders",
                EXAMPLES[1]["orders"],
                default={},
            ),
        },
        "required": ["entry"],
        "additionalProperties": False,
        "examples": list(EXAMPLES),
        "$defs": {
            "indicator": {"anyOf": _indicators()},
            "operand": {"anyOf": _operands()},
            "condition": {"anyOf": _conditions()},
            "orders": CARRIED,
        },
    }


def _setting(schema: dict) -> dict:
    """Without the words that say nothing new here: there are hundreds of settings."""
    kept = {word: value for word, value in schema.items() if word not in ("title", "examples")}
    return kept | {"description": schema["description"] or "TA-Lib's setting of this name."}


def _of_example(of: dict) -> dict:
    if "default" in of:
        return {}
    return {
        "examples": ["close" if of["type"] == "string" else dict.fromkeys(of["required"], "close")]
    }


def _column(default: str | None) -> dict:
    return {
        "type": "string",
        "description": "A column, an indicator, or one output of it.",
        **({"examples": ["close"]} if default is None else {"default": default}),
    }


def _sides(title: str, description: str, holds: str, example: dict, **more) -> dict:
    return {
        "type": "object",
        "title": title,
        "description": description,
        "properties": {
            side: {
                "$ref": f"#/$defs/{holds}",
                "description": _SIDE_WORDS[holds].format(side=side),
                "examples": [example["long"]],
            }
            for side in SIDES
        },
        "additionalProperties": False,
        "examples": [example],
        **more,
    }


def _indicators() -> list[dict]:
    """One schema for all functions that differ by their name only."""
    merged: list[dict] = []
    for function in catalogue().values():
        schema = indicator_schema(function)
        named = schema["properties"]["function"]
        for other in merged:
            names = other["properties"]["function"]
            if {**schema["properties"], "function": names} == other["properties"]:
                names["enum"] += named["enum"]
                other["description"] += f"; {schema['description']}"
                break
        else:
            merged.append(schema)
    return merged


def _operands() -> list[dict]:
    return [
        CONSTANT,
        {
            "type": "string",
            "description": f"One of {', '.join(PRICES)}, an indicator, or one output of it "
            "(name.output).",
            "examples": ["close", "bands.upperband"],
        },
        PAST,
        *(_single(name, _row(2), _ARITHMETIC_WORDS[name], ["close", 2]) for name in ARITHMETIC),
    ]


def _conditions() -> list[dict]:
    pair = ["close", "open"]
    simple = {"above": pair}
    several = {"type": "array", "items": {"$ref": "#/$defs/condition"}, "minItems": 1}
    return [
        *(_single(name, _row(2), _COMPARISON_WORDS[name], pair) for name in COMPARISONS),
        _single(
            BETWEEN,
            _row(3),
            "The first is at least the second and at most the third.",
            ["close", "low", "high"],
        ),
        *(_single(name, TREND, _TREND_WORDS[name], {"of": "close", "bars": 3}) for name in TRENDS),
        _single(ALL, several, "Every one of these.", [simple]),
        _single(ANY, several, "At least one of these.", [simple]),
        _single(
            NOT,
            {"$ref": "#/$defs/condition"},
            "The opposite; undefined stays undefined.",
            simple,
        ),
    ]


def _row(count: int) -> dict:
    return {
        "type": "array",
        "items": {"$ref": "#/$defs/operand"},
        "minItems": count,
        "maxItems": count,
    }


def _single(name: str, holds: dict, description: str, example: object) -> dict:
    return {
        "type": "object",
        "description": description,
        "properties": {name: {**holds, "description": description, "examples": [example]}},
        "required": [name],
        "additionalProperties": False,
    }
