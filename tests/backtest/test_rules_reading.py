"""Rules from JSON: what they are read as, their canonical form and their schema."""

from __future__ import annotations

import copy
import json

import jsonschema
import pytest

from candlevault.backtest.payload import parse, payload_hash
from candlevault.backtest.payload import schema as payload_schema
from candlevault.backtest.rules.functions import catalogue
from candlevault.backtest.rules.params_schema import EXAMPLES, params_schema
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
from tests.support.rules_params import HOLDS, SCHEMA, entry, parsed, refusal


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
