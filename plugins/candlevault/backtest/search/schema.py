"""The JSON schema (draft 2020-12) of a sweep's payload, for the form, REST and the docs.

What a schema cannot say is checked on top: which settings there are to search, what their
values may be, relations between fields.
"""

from __future__ import annotations

from collections.abc import Collection

from candlevault.backtest.payload import document as backtest_document
from candlevault.backtest.payload.fields import choice, group, whole
from candlevault.backtest.search.ranking import DEFAULT_METRIC, HIGHER_IS_BETTER
from candlevault.backtest.strategies.contract import Strategy

GRID, RANDOM, LIST = "grid", "random", "list"
METHODS = (GRID, RANDOM, LIST)

LARGEST_SWEEP = 100_000
"""Combinations of one sweep at most."""

LARGEST_SEED = 2**53 - 1
"""Whole numbers up to here survive every JSON reader."""

REQUIRED = ("backtest", "search")

_VALUE = {"type": ["number", "string", "boolean", "null"]}


def _backtest(strategies: Collection[Strategy] | None) -> dict:
    schema = backtest_document(strategies)
    return {
        "type": "object",
        "title": "Backtest",
        "description": "The payload of one backtest; what is searched is left out of its "
        "strategy.params.",
        "properties": schema["properties"],
        "required": schema["required"],
        "additionalProperties": False,
        "examples": schema["examples"][:1],
    }


def _search() -> dict:
    values = {
        "type": "array",
        "title": "Values",
        "description": "The values to try; null is off.",
        "items": _VALUE,
        "minItems": 1,
        "maxItems": LARGEST_SWEEP,
        "examples": [[5, 10, 20]],
    }
    range_ = {
        "type": "object",
        "title": "Range",
        "description": "All values from `from` up to `to`, both inclusive, `step` apart.",
        "properties": {
            "from": {
                "type": "number",
                "title": "From",
                "description": "The first value.",
                "examples": [5],
            },
            "to": {
                "type": "number",
                "title": "To",
                "description": "Not beyond this value, which is the last one where a step meets "
                "it.",
                "examples": [50],
            },
            "step": {
                "type": "number",
                "title": "Step",
                "description": "How far the values lie apart.",
                "exclusiveMinimum": 0,
                "default": 1,
                "examples": [5],
            },
        },
        "required": ["from", "to"],
        "additionalProperties": False,
        "examples": [{"from": 5, "to": 50, "step": 5}],
    }
    properties = {
        "method": choice(
            "Method",
            "grid: every combination. random: so many different combinations, drawn without "
            "putting back. list: the combinations of the list.",
            list(METHODS),
            GRID,
        ),
        "params": {
            "type": "object",
            "title": "Settings searched",
            "description": "By name a list of values or a range: settings of the strategy, and "
            "numbers of the risk rules by their dotted path (risk.stop_loss_pct).",
            "additionalProperties": {"oneOf": [values, range_]},
            "default": {},
            "examples": [
                {
                    "fast": [5, 10, 20],
                    "slow": {"from": 30, "to": 90, "step": 10},
                    "risk.stop_loss_pct": [None, 2, 4],
                }
            ],
        },
        "samples": whole(
            "Samples",
            "random: how many combinations are drawn.",
            None,
            500,
            minimum=1,
            maximum=LARGEST_SWEEP,
        ),
        "seed": whole(
            "Seed",
            "random: decides which; null: 0. The same seed draws the same combinations.",
            None,
            7,
            minimum=0,
            maximum=LARGEST_SEED,
        ),
        "list": {
            "type": "array",
            "title": "Combinations",
            "description": "list: objects of values by name; what one leaves out has its default.",
            "items": {"type": "object", "additionalProperties": _VALUE},
            "maxItems": LARGEST_SWEEP,
            "default": [],
            "examples": [[{"fast": 10, "slow": 30}, {"fast": 20, "slow": 50}]],
        },
    }
    return group(
        "Search",
        "Which combinations to try. Those that break the strategy's own rules are left out.",
        properties,
        {"method": GRID, "params": {"fast": [5, 10, 20], "slow": [30, 60, 90]}},
    )


def _walk_forward() -> dict:
    def days(title: str, description: str, example: int) -> dict:
        return {
            "type": "integer",
            "title": title,
            "description": description,
            "minimum": 1,
            "maximum": 100_000,
            "examples": [example],
        }

    properties = {
        "in_sample_days": days("In sample", "Days on which the combinations are compared.", 365),
        "out_of_sample_days": days(
            "Out of sample", "Days right after them on which the best one runs.", 90
        ),
        "step_days": days(
            "Step",
            "How far the windows move on; null: by the days out of sample. At least those, so "
            "that no day is run twice.",
            90,
        )
        | {"type": ["integer", "null"], "default": None},
        "anchored": {
            "type": "boolean",
            "title": "Anchored",
            "description": "Every window in sample starts at the start and grows, instead of "
            "moving on.",
            "default": False,
            "examples": [False],
        },
    }
    return {
        "type": ["object", "null"],
        "title": "Walk forward",
        "description": "Choose the best combination on one window, run it on the next, move on; "
        "null: only the comparison over the whole window.",
        "properties": properties,
        "required": ["in_sample_days", "out_of_sample_days"],
        "additionalProperties": False,
        "default": None,
        "examples": [{"in_sample_days": 365, "out_of_sample_days": 90}],
    }


def properties(strategies: Collection[Strategy] | None = None) -> dict[str, dict]:
    """The schema of each top-level field, in the order of the form.

    `strategies` as for the payload of a backtest.
    """
    return {"backtest": _backtest(strategies), **_own_properties()}


def _own_properties() -> dict[str, dict]:
    return {
        "search": _search(),
        "rank_by": choice(
            "Ranked by",
            "The metric that decides; the direction in which it is better is known.",
            list(HIGHER_IS_BETTER),
            DEFAULT_METRIC,
        ),
        "walk_forward": _walk_forward(),
    }


def document(strategies: Collection[Strategy] | None = None) -> dict:
    """The schema of the whole payload; `strategies` as for that of a backtest."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Sweep",
        "description": "Many backtests that differ in some settings only, and which did best.",
        "type": "object",
        "properties": properties(strategies),
        "required": list(REQUIRED),
        "additionalProperties": False,
        "examples": [
            {
                "backtest": {
                    "symbol": "BTCUSDT",
                    "timeframe": "1h",
                    "start_time": "2020-01-01T00:00:00Z",
                    "end_time": "2025-01-01T00:00:00Z",
                    "strategy": {"name": "sma_cross"},
                },
                "search": {
                    "params": {
                        "fast": {"from": 5, "to": 50, "step": 5},
                        "slow": {"from": 20, "to": 200, "step": 20},
                    }
                },
                "walk_forward": {"in_sample_days": 365, "out_of_sample_days": 90},
            },
            {
                "backtest": {
                    "symbol": "ETHUSDT",
                    "timeframe": "4h",
                    "start_time": "2021-01-01T00:00:00Z",
                    "end_time": "2025-01-01T00:00:00Z",
                    "strategy": {"name": "rsi_reversion", "params": {"period": 14}},
                },
                "search": {
                    "method": RANDOM,
                    "samples": 500,
                    "seed": 7,
                    "params": {
                        "lower": {"from": 10, "to": 40},
                        "upper": {"from": 60, "to": 90},
                        "risk.stop_loss_pct": {"from": 0.5, "to": 10, "step": 0.5},
                    },
                },
                "rank_by": "calmar",
            },
        ],
    }


def outline() -> dict:
    """The schema without what the payload of a backtest is made of: that has its own check."""
    known = {"backtest": {"type": "object"}, **_own_properties()}
    known["search"]["properties"]["params"] = {"type": "object", "default": {}}
    del known["search"]["properties"]["list"]["items"]
    return {"type": "object", "properties": known, "required": list(REQUIRED)}


def range_schema() -> dict:
    """The schema of a range of values."""
    return _search()["properties"]["params"]["additionalProperties"]["oneOf"][1]
