"""Rules from JSON: every refusal by its place."""

from __future__ import annotations

import pytest

from candlevault.backtest.rules.condition_reading import DEEPEST
from candlevault.backtest.rules.functions import EXCLUDED
from candlevault.backtest.rules.params_schema import MOST_INDICATORS
from tests.support.rules_params import HOLDS, SCHEMA, entry, inside, refusal

WRONG_EVERYWHERE = [
    # (what is sent, the place, words of the rule); a JSON schema refuses these too
    ({}, "entry", "is required"),
    ({"entry": {}}, "entry", "must name long, short or both"),
    ({"entry": []}, "entry", "must be an object, not an array"),
    ({"entry": {"both": HOLDS}}, "entry.both", "known keys: long, short"),
    ({"entry": {"longs": HOLDS}}, "entry.longs", "did you mean long?"),
    ({"entries": {"long": HOLDS}}, "entries", "known keys: indicators, entry, exit, orders"),
    ({"entry": {"long": HOLDS}, "exit": []}, "exit", "must be an object, not an array"),
    ({"entry": {"long": HOLDS}, "indicators": []}, "indicators", "an object, not an array"),
    (entry("close"), "entry.long", "must be an object, not a string"),
    (entry([HOLDS]), "entry.long", "must be an object, not an array"),
    (entry(None), "entry.long", "must be an object, not null"),
    (entry({}), "entry.long", "must hold one of all, any, not, above"),
    (entry({"abov": [1, 2]}), "entry.long.abov", "did you mean above?"),
    (entry({"CrossesAbove": [1, 2]}), "entry.long.CrossesAbove", "did you mean crosses_above?"),
    (entry({"xor": [HOLDS]}), "entry.long.xor", "must be one of all, any, not, above"),
    (
        entry({"above": [1, 2], "below": [1, 2]}),
        "entry.long",
        "not 2 (above, below)",
    ),
    (entry({"all": HOLDS}), "entry.long.all", "must be an array, not an object"),
    (entry({"all": []}), "entry.long.all", "at least one of the conditions"),
    (entry({"any": []}), "entry.long.any", "at least one of the conditions"),
    (entry({"all": [HOLDS, {"any": [1]}]}), "entry.long.all[1].any[0]", "an object, not a number"),
    (entry({"not": [HOLDS]}), "entry.long.not", "must be an object, not an array"),
    (entry({"above": "close"}), "entry.long.above", "must be an array, not a string"),
    (entry({"above": ["close"]}), "entry.long.above", "must hold 2 operands, not 1"),
    (entry({"above": ["close", 1, 2]}), "entry.long.above", "must hold 2 operands, not 3"),
    (entry({"between": ["close", 1]}), "entry.long.between", "must hold 3 operands, not 2"),
    (entry({"above": ["close", None]}), "entry.long.above[1]", "a number or a string or an object"),
    (entry({"above": ["close", True]}), "entry.long.above[1]", "not a boolean"),
    (entry({"above": [["close"], 1]}), "entry.long.above[0]", "not an array"),
    (entry({"above": ["close", 1e13]}), "entry.long.above[1]", "at most 1000000000000"),
    (entry({"above": ["close", -(10**400)]}), "entry.long.above[1]", "at least -1000000000000"),
    (entry({"above": ["close", {}]}), "entry.long.above[1]", "must hold one of add, subtract"),
    (entry({"above": ["close", {"sum": [1, 2]}]}), "entry.long.above[1].sum", "one of add"),
    (
        entry({"above": ["close", {"substract": [1, 2]}]}),
        "entry.long.above[1].substract",
        "did you mean subtract?",
    ),
    (entry({"above": ["close", {"add": [1]}]}), "entry.long.above[1].add", "2 operands, not 1"),
    (
        entry({"above": ["close", {"add": [1, 2], "divide": [1, 2]}]}),
        "entry.long.above[1]",
        "not 2 (add, divide)",
    ),
    (entry({"above": ["close", {"of": "open"}]}), "entry.long.above[1].bars_ago", "is required"),
    (entry({"above": ["close", {"bars_ago": 1}]}), "entry.long.above[1].of", "is required"),
    (
        entry({"above": ["close", {"of": "open", "bars_ago": -1}]}),
        "entry.long.above[1].bars_ago",
        "at least 0 and at most 10000",
    ),
    (
        entry({"above": ["close", {"of": "open", "bars_ago": 1.5}]}),
        "entry.long.above[1].bars_ago",
        "a whole number, not a number",
    ),
    (
        entry({"above": ["close", {"of": "open", "bars_ago": 10_001}]}),
        "entry.long.above[1].bars_ago",
        "at most 10000",
    ),
    (
        entry({"above": ["close", {"of": "open", "barsago": 1}]}),
        "entry.long.above[1].barsago",
        "did you mean bars_ago?",
    ),
    (entry({"rising": "close"}), "entry.long.rising", "must be an object, not a string"),
    (entry({"rising": {"bars": 2}}), "entry.long.rising.of", "is required"),
    (entry({"rising": {"of": "close", "bars": 0}}), "entry.long.rising.bars", "at least 1"),
    (entry({"falling": {"of": "close", "bar": 2}}), "entry.long.falling.bar", "mean bars?"),
    # indicators
    (entry(HOLDS, fast=20), "indicators.fast", "must be an object, not a number"),
    (entry(HOLDS, fast={}), "indicators.fast.function", "is required"),
    (entry(HOLDS, fast={"function": 3}), "indicators.fast.function", "must be a string"),
    (entry(HOLDS, fast={"function": "ema"}), "indicators.fast.function", "did you mean EMA?"),
    (entry(HOLDS, fast={"function": "eval"}), "indicators.fast.function", "a function of TA-Lib"),
    (
        entry(HOLDS, fast={"function": "__import__"}),
        "indicators.fast.function",
        "a function of TA-Lib",
    ),
    (entry(HOLDS, fast={"function": "EMA", "period": 5}), "indicators.fast.period", "timeperiod?"),
    (
        entry(HOLDS, fast={"function": "EMA", "timeperiod": 0}),
        "indicators.fast.timeperiod",
        "at least 1 and at most 10000",
    ),
    (
        entry(HOLDS, fast={"function": "RSI", "timeperiod": 1}),
        "indicators.fast.timeperiod",
        "at least 2",
    ),
    (
        entry(HOLDS, fast={"function": "EMA", "timeperiod": 2.5}),
        "indicators.fast.timeperiod",
        "a whole number",
    ),
    (
        entry(HOLDS, fast={"function": "EMA", "timeperiod": "20"}),
        "indicators.fast.timeperiod",
        "not a string",
    ),
    (
        entry(HOLDS, fast={"function": "BBANDS", "nbdevup": "x"}),
        "indicators.fast.nbdevup",
        "a number, not a string",
    ),
    (
        entry(HOLDS, fast={"function": "T3", "vfactor": 1.5}),
        "indicators.fast.vfactor",
        "at most 1.0",
    ),
    (
        entry(HOLDS, fast={"function": "MA", "matype": "ema"}),
        "indicators.fast.matype",
        "did you mean EMA?",
    ),
    (entry(HOLDS, fast={"function": "MA", "matype": 1}), "indicators.fast.matype", "a string"),
    (
        entry(HOLDS, fast={"function": "MA", "matype": "MAMA"}),
        "indicators.fast.matype",
        "must be one of SMA, EMA",
    ),
    (entry(HOLDS, fast={"function": "EMA", "of": 3}), "indicators.fast.of", "must be a string"),
    (
        entry(HOLDS, fast={"function": "EMA", "of": {"price": "close"}}),
        "indicators.fast.of",
        "must be a string, not an object",
    ),
    (
        entry(HOLDS, fast={"function": "ATR", "of": "close"}),
        "indicators.fast.of",
        "must be an object, not a string",
    ),
    (
        entry(HOLDS, fast={"function": "ATR", "of": {"open": "open"}}),
        "indicators.fast.of.open",
        "known keys: high, low, close",
    ),
    (
        entry(HOLDS, fast={"function": "ATR", "of": {"low": 3}}),
        "indicators.fast.of.low",
        "must be a string",
    ),
    (entry(HOLDS, fast={"function": "MAVP"}), "indicators.fast.of", "is required"),
    (
        entry(HOLDS, fast={"function": "MAVP", "of": {"price": "close"}}),
        "indicators.fast.of.periods",
        "is required",
    ),
    (entry(HOLDS, close={"function": "EMA"}), "indicators.close", "name of a price column"),
    (entry(HOLDS, **{"a.b": {"function": "EMA"}}), "indicators.a.b", "is not a name"),
    (entry(HOLDS, **{"": {"function": "EMA"}}), "indicators.", "is not a name"),
    (entry(HOLDS, **{"1a": {"function": "EMA"}}), "indicators.1a", "is not a name"),
    (entry(HOLDS, __import__={"function": "EMA"}), "indicators.__import__", "not a name"),
    (entry(HOLDS, größe={"function": "EMA"}), "indicators.größe", "is not a name"),
    (entry(HOLDS, **{"a" * 41: {"function": "EMA"}}), f"indicators.{'a' * 41}", "up to 39"),
    (
        entry(HOLDS, **{f"i{n}": {"function": "EMA"} for n in range(MOST_INDICATORS + 1)}),
        "indicators",
        "at most 64 indicators",
    ),
    # orders
    (
        entry(HOLDS) | {"orders": {"long": {}}},
        "orders.long",
        "at least one of limit, stop, stop_loss, take_profit, trail, weight",
    ),
    (
        entry(HOLDS) | {"orders": {"long": {"stoploss": 1}}},
        "orders.long.stoploss",
        "did you mean stop_loss?",
    ),
    (entry(HOLDS) | {"orders": {"long": "close"}}, "orders.long", "an object, not a string"),
    (
        entry(HOLDS) | {"orders": {"long": {"limit": {"add": ["close"]}}}},
        "orders.long.limit.add",
        "2 operands",
    ),
]


WRONG_BEYOND_A_SCHEMA = [
    (entry({"above": ["clos", 1]}), "entry.long.above[0]", "did you mean close?"),
    (
        entry({"above": ["close", "fats"]}, fast={"function": "EMA"}),
        "entry.long.above[1]",
        "did you mean fast? known names: open, high, low, close, volume, fast",
    ),
    (entry({"above": ["zzzz", 1]}), "entry.long.above[0]", "known names: open, high, low, close"),
    (entry({"above": ["__import__", 1]}), "entry.long.above[0]", "neither a price nor an indic"),
    (entry({"above": ["close.__class__", 1]}), "entry.long.above[0]", "neither a price nor"),
    (
        entry({"above": ["bands", 1]}, bands={"function": "BBANDS"}),
        "entry.long.above[0]",
        "one of the outputs bands.upperband, bands.middleband, bands.lowerband",
    ),
    (
        entry({"above": ["bands.uper", 1]}, bands={"function": "BBANDS"}),
        "entry.long.above[0]",
        "did you mean bands.upperband?",
    ),
    (
        entry({"above": ["fast.real", 1]}, fast={"function": "EMA"}),
        "entry.long.above[0]",
        "fast has one output; write fast",
    ),
    (
        entry(HOLDS, fast={"function": "EMA", "of": "slwo"}, slow={"function": "EMA"}),
        "indicators.fast.of",
        "did you mean slow?",
    ),
    (
        entry(HOLDS, fast={"function": "ATR", "of": {"low": "lo"}}),
        "indicators.fast.of.low",
        "did you mean low?",
    ),
    (entry(HOLDS, a={"function": "EMA", "of": "a"}), "indicators.a.of", "circle: a -> a"),
    (
        entry(
            HOLDS,
            a={"function": "EMA", "of": "b.upperband"},
            b={"function": "BBANDS", "of": "c"},
            c={"function": "ATR", "of": {"low": "a"}},
        ),
        "indicators.a.of",
        "goes in a circle: a -> b -> c -> a",
    ),
    (
        entry(
            HOLDS,
            m={"function": "MAVP", "minperiod": 9, "maxperiod": 3, "of": {"periods": "volume"}},
        ),
        "indicators.m",
        "settings of MAVP do not fit each other",
    ),
    (entry(HOLDS) | {"exit": {"short": HOLDS}}, "exit.short", "never used: nothing enters short"),
    (
        entry(HOLDS) | {"orders": {"short": {"limit": 1}}},
        "orders.short",
        "never used: nothing enters short",
    ),
    (
        entry(HOLDS) | {"orders": {"long": {"limit": "atr"}}},
        "orders.long.limit",
        "neither a price nor an indicator",
    ),
    (entry({"above": ["close", float("nan")]}), "entry.long.above[1]", "a finite number"),
    (entry({"above": ["close", float("inf")]}), "entry.long.above[1]", "a finite number"),
    (
        entry(HOLDS, b={"function": "BBANDS", "nbdevup": float("-inf")}),
        "indicators.b.nbdevup",
        "a finite number",
    ),
    (entry(inside(DEEPEST - 1)), f"entry.long{'.not' * 15}.above[0]", "deeper than 16 levels"),
    (
        entry({"all": [HOLDS] * 170}),
        "entry.long.all[166].above[0]",
        "more than 500 conditions and operands",
    ),
]


@pytest.mark.parametrize(("params", "place", "words"), WRONG_EVERYWHERE)
def test_a_wrong_rule_is_refused_by_its_place_and_by_the_schema_too(params, place, words):
    error = refusal(params)
    assert error.field == f"strategy.params.{place}"
    assert words in error.rule
    assert not SCHEMA.is_valid(params)


@pytest.mark.parametrize(("params", "place", "words"), WRONG_BEYOND_A_SCHEMA)
def test_what_a_schema_cannot_say_is_refused_by_its_place(params, place, words):
    error = refusal(params)
    assert error.field == f"strategy.params.{place}"
    assert words in error.rule


@pytest.mark.parametrize("name", sorted(EXCLUDED))
def test_a_function_that_is_not_offered_is_refused_with_the_reason(name):
    error = refusal(entry(HOLDS, it={"function": name}))
    assert error.field == "strategy.params.indicators.it.function"
    assert error.rule == f"is not offered: {EXCLUDED[name]}"
