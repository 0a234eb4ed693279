"""Rules from JSON: what is taken, its canonical form, and every refusal by its place."""

from __future__ import annotations

import copy
import json

import jsonschema
import pytest

from candlevault.backtest.payload import parse, payload_hash
from candlevault.backtest.payload import schema as payload_schema
from candlevault.backtest.rules.condition_reading import DEEPEST, MOST_NODES
from candlevault.backtest.rules.functions import EXCLUDED, catalogue
from candlevault.backtest.rules.params_schema import EXAMPLES, MOST_INDICATORS, params_schema
from candlevault.backtest.rules.reading import read
from candlevault.backtest.rules.tree import (
    All,
    Arithmetic,
    Between,
    Comparison,
    Indicator,
    Not,
    Number,
    Past,
    Reference,
    Rules,
    Side,
    Trend,
)
from candlevault.backtest.schema import conform
from candlevault.backtest.strategies import registry
from candlevault.errors import InvalidRequest

SCHEMA = jsonschema.Draft202012Validator(params_schema())
RULES = registry.get("rules")
HOLDS = {"above": ["close", "open"]}


def parsed(params: dict) -> dict:
    return RULES.parse_params(params)


def refusal(params) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        parsed(params)
    return caught.value


def entry(condition, **indicators) -> dict:
    return {"indicators": indicators, "entry": {"long": condition}}


def inside(levels: int, condition: dict = HOLDS) -> dict:
    for _ in range(levels):
        condition = {"not": condition}
    return condition


class TestTree:
    def test_by_hand(self):
        params = conform(
            {
                "indicators": {
                    "slow": {"function": "EMA", "timeperiod": 50, "of": "bands.upperband"},
                    "bands": {"function": "BBANDS"},
                },
                "entry": {
                    "short": {
                        "all": [
                            {"crosses_below": ["close", "slow"]},
                            {"not": {"between": [{"of": "volume", "bars_ago": 1}, 2, 3]}},
                            {"rising": {"of": {"add": ["high", 1]}}},
                        ]
                    }
                },
                "orders": {"short": {"weight": 0.5, "limit": "high"}},
            },
            params_schema(),
            "p",
        )
        assert read(params, "p") == Rules(
            indicators=(
                Indicator(
                    "bands",
                    "BBANDS",
                    (("timeperiod", 20), ("nbdevup", 2.0), ("nbdevdn", 2.0), ("matype", "SMA")),
                    (("price", "close"),),
                ),
                Indicator("slow", "EMA", (("timeperiod", 50),), (("price", "bands.upperband"),)),
            ),
            long=Side(),
            short=Side(
                entry=All(
                    (
                        Comparison("crosses_below", Reference("close"), Reference("slow")),
                        Not(Between(Past(Reference("volume"), 1), Number(2.0), Number(3.0))),
                        Trend("rising", Arithmetic("add", Reference("high"), Number(1.0)), 1),
                    )
                ),
                orders=(("limit", Reference("high")), ("weight", Number(0.5))),
            ),
        )

    def test_equal_rules_are_equal_and_hashable(self):
        params = conform(EXAMPLES[0], params_schema(), "p")
        assert hash(read(params, "p")) == hash(read(copy.deepcopy(params), "p"))


class TestCanonicalForm:
    def test_every_default_is_filled_in(self):
        assert parsed(
            {
                "indicators": {
                    "k": {"function": "STOCH"},
                    "a": {"function": "EMA", "of": "k.slowk"},
                },
                "entry": {"long": {"falling": {"of": "a"}}},
            }
        ) == {
            "indicators": {
                "a": {"function": "EMA", "timeperiod": 30, "of": "k.slowk"},
                "k": {
                    "function": "STOCH",
                    "fastk_period": 5,
                    "slowk_period": 3,
                    "slowk_matype": "SMA",
                    "slowd_period": 3,
                    "slowd_matype": "SMA",
                    "of": {"high": "high", "low": "low", "close": "close"},
                },
            },
            "entry": {"long": {"falling": {"of": "a", "bars": 1}}},
            "exit": {},
            "orders": {},
        }

    def test_inputs_that_are_not_named_keep_their_default(self):
        indicators = parsed(
            entry(
                HOLDS, ha={"function": "HA"}, range={"function": "ATR", "of": {"low": "ha.halow"}}
            )
        )["indicators"]
        assert indicators["range"]["of"] == {"high": "high", "low": "ha.halow", "close": "close"}

    @pytest.mark.parametrize("example", EXAMPLES)
    def test_reading_it_again_changes_nothing(self, example):
        once = parsed(example)
        assert parsed(once) == once
        assert json.dumps(parsed(once)) == json.dumps(once)

    def test_rules_that_mean_the_same_give_the_same_payload_hash(self, payload):
        one = EXAMPLES[0]
        other = copy.deepcopy(one)
        other["indicators"] = dict(reversed(other["indicators"].items()))
        other["indicators"]["fast"] = {"of": "close", "timeperiod": 20.0, "function": "EMA"}
        other["entry"]["long"]["all"][2] = {"not": {"below": ["osc", 30.0]}}
        other["exit"], other["orders"] = {"long": one["exit"]["long"]}, {}
        different = copy.deepcopy(one)
        different["entry"]["long"]["all"][2] = {"not": {"below": ["osc", 31]}}
        hashes = []
        for params in (one, other, different):
            payload["strategy"] = {"name": "rules", "params": params}
            hashes.append(payload_hash(parse(payload)))
        assert hashes[0] == hashes[1] != hashes[2]
        assert json.dumps(parsed(one)) == json.dumps(parsed(other))

    def test_minus_zero_is_zero(self):
        text = json.dumps(parsed(entry({"above": ["close", -0.0]})))
        assert '["close", 0.0]' in text

    def test_every_function_can_be_read_with_its_defaults(self):
        for name, function in catalogue().items():
            needed = {role: "volume" for role, source in function.inputs if source is None}
            indicator = {"function": name, **({"of": needed} if needed else {})}
            once = parsed(entry(HOLDS, it=indicator))
            assert parsed(once) == once
            assert SCHEMA.is_valid(once), name


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


class TestLimits:
    def test_the_deepest_and_the_largest_rules_are_taken(self):
        parsed(entry(inside(DEEPEST - 2)))
        # one `all` and three nodes for each comparison
        parsed(entry({"all": [HOLDS] * ((MOST_NODES - 1) // 3)}))
        parsed(entry(HOLDS, **{f"i{n}": {"function": "EMA"} for n in range(MOST_INDICATORS)}))

    @pytest.mark.parametrize("operator", ["all", "any", "not"])
    def test_every_condition_around_another_counts_as_a_level(self, operator):
        def around(levels):
            condition = HOLDS
            for _ in range(levels):
                condition = {operator: condition if operator == "not" else [condition]}
            return entry(condition)

        parsed(around(DEEPEST - 2))
        assert "deeper than 16 levels" in refusal(around(DEEPEST - 1)).rule

    @pytest.mark.parametrize("operator", ["of", "add", "subtract", "multiply", "divide"])
    def test_every_operand_around_another_counts_as_a_level(self, operator):
        def around(levels):
            operand = "close"
            for _ in range(levels):
                past = {"of": operand, "bars_ago": 1}
                operand = past if operator == "of" else {operator: [operand, 1]}
            return operand

        parsed(entry({"rising": {"of": around(DEEPEST - 2)}}))
        for condition in (
            {"rising": {"of": around(DEEPEST - 1)}},
            {"above": [1, around(DEEPEST - 1)]},
            {"between": [1, 2, around(DEEPEST - 1)]},
        ):
            assert "deeper than 16 levels" in refusal(entry(condition)).rule
        order = entry(HOLDS) | {"orders": {"long": {"limit": around(DEEPEST)}}}
        assert "deeper than 16 levels" in refusal(order).rule

    def test_both_sides_and_the_orders_count_together(self):
        half = {"all": [HOLDS] * 80}
        both = {"entry": {"long": half, "short": half}}
        parsed(both)
        error = refusal(both | {"exit": {"long": {"all": [HOLDS] * 10}}})
        assert "more than 500" in error.rule

    def test_a_chain_of_indicators_may_be_as_long_as_there_are_indicators(self):
        chain = {"i0": {"function": "EMA"}} | {
            f"i{n}": {"function": "EMA", "of": f"i{n - 1}"} for n in range(1, MOST_INDICATORS)
        }
        parsed(entry(HOLDS, **chain))
        chain["i0"]["of"] = f"i{MOST_INDICATORS - 1}"
        assert "goes in a circle: i0 -> i63 -> i62" in refusal(entry(HOLDS, **chain)).rule

    @pytest.mark.parametrize(
        "params",
        [
            entry(inside(100_000)),
            entry({"all": [HOLDS] * 1_000_000}),
            {"entry": {"long": HOLDS}, "indicators": {f"i{n}": {} for n in range(1_000_000)}},
            entry({"above": ["x" * 5_000_000, 1]}),
            entry({"x" * 5_000_000: 1}),
            entry({f"k{n}": n for n in range(1_000_000)}),
            {"entry": {"long": HOLDS}, "orders": {"long": {"x" * 5_000_000: 1}}},
            entry(HOLDS, **{"x" * 5_000_000: {"function": "EMA"}}),
            entry(HOLDS, it={"function": "E" * 5_000_000}),
        ],
        ids=[
            "deep", "wide", "many indicators", "long name", "long operator", "many operators",
            "long order", "long indicator", "long function",
        ],
    )  # fmt: skip
    def test_a_monstrous_payload_is_refused_with_a_short_message(self, payload, params):
        error = refusal(params)
        assert error.field.startswith("strategy.params.")
        assert len(str(error)) < 2_000
        payload["strategy"] = {"name": "rules", "params": params}
        with pytest.raises(InvalidRequest) as caught:
            parse(payload)
        assert caught.value.field.startswith("strategy.params")
        assert len(str(caught.value)) < 2_000

    def test_keys_that_are_no_text_are_refused_by_name(self):
        assert refusal({"entry": {"long": {3: [1, 2]}}}).field == "strategy.params.entry.long.3"
        error = refusal({"entry": {"long": HOLDS}, "indicators": {3: {"function": "EMA"}}})
        assert error.field == "strategy.params.indicators.3"


class TestSchema:
    def test_is_a_schema_and_takes_its_own_examples(self):
        jsonschema.Draft202012Validator.check_schema(params_schema())
        for example in params_schema()["examples"]:
            SCHEMA.validate(example)
            SCHEMA.validate(parsed(example))

    def test_its_references_are_found_inside_the_schema_of_the_whole_payload(self, payload):
        document = jsonschema.Draft202012Validator(payload_schema.document())
        payload["strategy"] = {"name": "rules", "params": EXAMPLES[0]}
        document.validate(payload)
        payload["strategy"]["params"] = entry({"all": [{"abov": ["close", 1]}]})
        assert not document.is_valid(payload)

    def test_every_function_and_setting_is_in_it(self):
        listed = {}
        for schema in params_schema()["$defs"]["indicator"]["anyOf"]:
            for name in schema["properties"]["function"]["enum"]:
                assert name not in listed
                listed[name] = schema["properties"]
        assert set(listed) == set(catalogue())
        for name, function in catalogue().items():
            names = {"function", "of", *(setting.name for setting in function.settings)}
            assert set(listed[name]) == names
            for setting in function.settings:
                assert listed[name][setting.name]["default"] == setting.default

    def test_rules_have_no_default_and_say_what_is_missing(self):
        error = refusal({})
        assert (error.field, error.rule) == ("strategy.params.entry", "is required")
        assert "rules" in registry.known()
