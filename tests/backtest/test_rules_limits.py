"""Rules from JSON: how deep, how large and how long they may be."""

from __future__ import annotations

import pytest

from candlevault.backtest.payload import parse
from candlevault.backtest.rules.condition_reading import DEEPEST, MOST_NODES
from candlevault.backtest.rules.params_schema import MOST_INDICATORS
from candlevault.errors import InvalidRequest
from tests.support.rules_params import HOLDS, entry, inside, parsed, refusal


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
