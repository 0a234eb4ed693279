"""The payload of a sweep: what it means, what is refused, and which points it makes."""

from __future__ import annotations

import copy
import itertools
import json

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candlevault.backtest import payload as payloads
from candlevault.backtest.payload import SavedStrategy
from candlevault.backtest.search import schema
from candlevault.backtest.search.enumeration import shuffled
from candlevault.backtest.search.parsing import canonical, parse, sweep_hash
from candlevault.backtest.search.schema import document
from candlevault.backtest.strategies import registry
from candlevault.errors import InvalidRequest
from candlevault.timeframe import from_ms

BACKTEST = {
    "symbol": "BTCUSDT",
    "timeframe": "1h",
    "start_time": "2023-01-01T00:00:00Z",
    "end_time": "2024-01-01T00:00:00Z",
    "strategy": {"name": "sma_cross"},
}
GRID = {"params": {"fast": [5, 10, 20], "slow": {"from": 10, "to": 30, "step": 10}}}
DRAWN = {
    "method": "random",
    "samples": 40,
    "seed": 7,
    "params": {"fast": {"from": 2, "to": 30}, "slow": {"from": 2, "to": 60}},
}
RULES = {
    "indicators": {
        "fast": {"function": "EMA", "timeperiod": 20},
        "slow": {"function": "EMA", "timeperiod": 50},
    },
    "entry": {"long": {"crosses_above": ["fast", "slow"]}},
    "exit": {"long": {"crosses_below": ["fast", "slow"]}},
}


def sweep(search=None, *, backtest=None, **more):
    return parse({"backtest": BACKTEST | (backtest or {}), "search": search or GRID, **more})


def refusal(search=None, *, backtest=None, **more) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as refused:
        sweep(search, backtest=backtest, **more)
    return refused.value


def points(request) -> list[dict]:
    return [request.given(number) for number in range(1, len(request) + 1)]


class TestGrid:
    def test_points_go_through_the_grid_with_the_last_setting_fastest(self):
        request = sweep({"params": {"slow": [30, 40], "fast": [5, 10]}})
        assert points(request) == [
            {"fast": 5, "slow": 30},
            {"fast": 5, "slow": 40},
            {"fast": 10, "slow": 30},
            {"fast": 10, "slow": 40},
        ]

    def test_combinations_that_break_a_rule_are_left_out_and_counted(self):
        request = sweep(GRID)
        assert request.combinations.left_out == 3
        assert all(point["fast"] < point["slow"] for point in points(request))
        assert len(request) == 6

    def test_a_range_holds_both_ends_and_adds_up_no_rounding(self):
        request = sweep({"params": {"risk.stop_loss_pct": {"from": 0.1, "to": 0.7, "step": 0.1}}})
        tried = [point["risk.stop_loss_pct"] for point in points(request)]
        assert tried == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]

    def test_the_end_of_a_range_that_is_no_step_is_not_reached(self):
        request = sweep({"params": {"fast": {"from": 2, "to": 9, "step": 3}}})
        assert [point["fast"] for point in points(request)] == [2, 5, 8]

    def test_equal_values_count_once_and_order_does_not_matter(self):
        one = sweep({"params": {"fast": [10, 5, 10.0, 5], "slow": [40]}})
        two = sweep({"params": {"slow": [40.0], "fast": [5, 10]}})
        assert points(one) == [{"fast": 5, "slow": 40}, {"fast": 10, "slow": 40}]
        assert sweep_hash(one) == sweep_hash(two)

    def test_numbers_of_the_risk_rules_come_last_and_null_first(self):
        request = sweep({"params": {"risk.stop_loss_pct": [2, None], "slow": [30, 40]}})
        assert points(request) == [
            {"slow": 30, "risk.stop_loss_pct": None},
            {"slow": 30, "risk.stop_loss_pct": 2.0},
            {"slow": 40, "risk.stop_loss_pct": None},
            {"slow": 40, "risk.stop_loss_pct": 2.0},
        ]
        assert [request.point(n).settings.risk.stop_loss_pct for n in (1, 2)] == [None, 2.0]

    def test_a_nested_number_of_the_risk_rules_can_be_searched(self):
        request = sweep({"params": {"risk.sizing.value": [0.5, 1]}})
        assert [request.point(n).settings.risk.sizing.value for n in (1, 2)] == [0.5, 1.0]

    def test_risk_rules_that_only_hold_with_what_is_searched_are_fine(self):
        request = sweep(
            {"params": {"risk.stop_loss_pct": [None, 2, 4]}},
            backtest={"risk": {"sizing": {"method": "fixed_risk"}}},
        )
        assert points(request) == [{"risk.stop_loss_pct": 2.0}, {"risk.stop_loss_pct": 4.0}]
        assert request.combinations.left_out == 1

    def test_places_of_a_rule_in_json_can_be_searched_by_their_path(self):
        request = sweep(
            {
                "params": {
                    "indicators.fast.timeperiod": [10, 20.0],
                    "indicators.slow.timeperiod": [60],
                }
            },
            backtest={"strategy": {"name": "rules", "params": RULES}},
        )
        assert [request.point(n).params["indicators"]["fast"]["timeperiod"] for n in (1, 2)] == [
            10,
            20,
        ]
        assert request.point(1).params["indicators"]["slow"]["timeperiod"] == 60

    def test_every_point_is_what_the_payload_of_one_backtest_would_be(self):
        request = sweep(
            {"params": {"fast": [5, 10], "risk.stop_loss_pct": [None, 3]}},
            backtest={"strategy": {"name": "sma_cross", "params": {"slow": 33}}, "fee_rate": 0.002},
        )
        for number in range(1, len(request) + 1):
            point = request.point(number)
            single = payloads.parse(
                BACKTEST
                | {
                    "strategy": {
                        "name": "sma_cross",
                        "params": {"fast": point.given["fast"], "slow": 33},
                    },
                    "risk": {"stop_loss_pct": point.given["risk.stop_loss_pct"]},
                    "fee_rate": 0.002,
                }
            )
            assert request.request(number) == single
            assert (point.settings, point.params) == (single.settings, single.strategy.params)


class TestRandom:
    def test_the_same_seed_draws_the_same_points_and_another_seed_others(self):
        first, again = sweep(DRAWN), sweep(copy.deepcopy(DRAWN))
        other = sweep(DRAWN | {"seed": 8})
        assert points(first) == points(again)
        assert points(first) != points(other)

    def test_points_are_all_different_and_keep_the_rules(self):
        drawn = points(sweep(DRAWN))
        assert len({json.dumps(point) for point in drawn}) == 40
        assert all(point["fast"] < point["slow"] for point in drawn)

    def test_the_order_is_that_of_a_plain_shuffle_by_splitmix64(self):
        # Written down once more, on a whole list: results of old sweeps depend on it.
        mask, state, cards, order = 2**64 - 1, 7, list(range(29 * 59)), []
        for i in range(len(cards)):
            width, drawn = (len(cards) - i - 1).bit_length(), len(cards)
            while drawn >= len(cards) - i:
                state = state + 0x9E3779B97F4A7C15 & mask
                word = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & mask
                word = (word ^ word >> 27) * 0x94D049BB133111EB & mask
                drawn = (word ^ word >> 31) >> 64 - width if width else 0
            cards[i], cards[i + drawn] = cards[i + drawn], cards[i]
            order.append(cards[i])
        assert list(shuffled(29 * 59, 7)) == order
        wanted = [{"fast": 2 + card // 59, "slow": 2 + card % 59} for card in order]
        kept = [point for point in wanted if point["fast"] < point["slow"]]
        request = sweep(DRAWN)
        assert points(request) == kept[:40]
        assert request.combinations.left_out == wanted.index(kept[39]) + 1 - 40

    def test_more_samples_than_there_are_give_every_point_once(self):
        search = {"method": "random", "samples": 500, "params": GRID["params"]}
        request = sweep(search)
        wanted = sorted(json.dumps(point) for point in points(sweep(GRID)))
        assert sorted(json.dumps(point) for point in points(request)) == wanted
        assert request.combinations.left_out == 3

    def test_a_space_beyond_all_grids_can_be_drawn_from(self):
        levels = ("stop_loss", "take_profit", "trailing_stop", "daily_loss", "max_drawdown")
        values = {"from": 0.01, "to": 80, "step": 0.01}
        params = {f"risk.{name}_pct": values for name in levels}
        assert 8000**5 > 2**64
        request = sweep({"method": "random", "samples": 20, "params": params})
        assert len({json.dumps(point) for point in points(request)}) == 20

    @settings(derandomize=True, deadline=None, database=None, max_examples=60)
    @given(count=st.integers(1, 300), seed=st.integers(0, 2**53 - 1))
    def test_a_shuffle_gives_every_number_once(self, count, seed):
        assert sorted(shuffled(count, seed)) == list(range(count))

    def test_a_shuffle_favours_no_number(self):
        firsts = [next(iter(shuffled(6, seed))) for seed in range(3000)]
        assert all(400 < firsts.count(number) < 600 for number in range(6))

    def test_the_numbers_are_those_of_splitmix64(self):
        # Of 2**64 numbers the first draw is the generator's first word: published for 1234567.
        assert next(iter(shuffled(2**64, 1234567))) == 6457827717110365317


class TestList:
    def test_points_keep_the_order_of_the_list_and_equal_ones_count_once(self):
        request = sweep(
            {
                "method": "list",
                "list": [
                    {"slow": 60, "fast": 10},
                    {"fast": 5},
                    {"fast": 10.0, "slow": 60},
                    {"risk.stop_loss_pct": 3},
                ],
            }
        )
        assert points(request) == [
            {"fast": 10, "slow": 60}, {"fast": 5}, {"risk.stop_loss_pct": 3.0},
        ]  # fmt: skip
        assert request.combinations.duplicates == 1
        assert request.point(2).params == {"fast": 5, "slow": 50}
        assert request.point(2).settings.risk.stop_loss_pct is None

    def test_a_combination_that_breaks_a_rule_is_refused_by_its_place(self):
        error = refusal({"method": "list", "list": [{"fast": 5}, {"fast": 70}]})
        assert error.field == "search.list[1].fast"

    def test_a_broken_risk_rule_of_a_combination_is_refused_by_its_place(self):
        error = refusal(
            {"method": "list", "list": [{"risk.stop_loss_pct": v} for v in (2, None)]},
            backtest={"risk": {"sizing": {"method": "fixed_risk"}}},
        )
        assert error.field == "search.list[1].risk.stop_loss_pct"


WRONG = [
    ({"params": {"fsat": [5]}}, {}, "search.params.fsat", "did you mean fast"),
    ({"params": {"risk.stop_los": [5]}}, {}, "search.params.risk.stop_los", "risk.stop_loss_pct"),
    ({"params": {"risk.sizing.method": ["kelly"]}}, {}, "search.params.risk.sizing.method", "can"),
    ({"params": {"fast": [5, 0]}}, {}, "search.params.fast[1]", "at least 1"),
    ({"params": {"fast": [True]}}, {}, "search.params.fast[0]", "whole number"),
    ({"params": {"fast": [[5]]}}, {}, "search.params.fast[0]", "must be a number"),
    ({"params": {"fast": []}}, {}, "search.params.fast", "list of values or a range"),
    ({"params": {"fast": 5}}, {}, "search.params.fast", "list of values or a range"),
    ({"params": {"fast": {"from": 9, "to": 5}}}, {}, "search.params.fast.to", "not lie below"),
    ({"params": {"fast": {"from": 1}}}, {}, "search.params.fast.to", "is required"),
    ({"params": {"fast": {"from": 1, "to": 5, "step": 0}}}, {}, "search.params.fast.step", "above"),
    ({"params": {"fast": {"from": 1, "to": 9, "stop": 1}}}, {}, "search.params.fast.stop", "known"),
    ({"params": {"fast": [1.5]}}, {}, "search.params.fast[0]", "whole number"),
    ({"params": {"fast": {"from": 0, "to": 1e9}}}, {}, "search.params.fast.step", "makes"),
    ({"params": {"fast": [60], "slow": [50]}}, {}, "search.params", "no combination"),
    ({"params": {}}, {}, "search.params", "is required by method grid"),
    ({"params": {"fast": [5]}, "samples": 3}, {}, "search.samples", "belongs to method random"),
    ({"params": {"fast": [5]}, "list": [{"fast": 5}]}, {}, "search.list", "belongs to"),
    ({"method": "random", "params": {"fast": [5]}}, {}, "search.samples", "is required"),
    ({"method": "list"}, {}, "search.list", "is required by method list"),
    ({"method": "list", "list": [5]}, {}, "search.list[0]", "must be an object"),
    ({"method": "list", "list": [{"fsat": 5}]}, {}, "search.list[0].fsat", "did you mean fast"),
    ({"method": "gird"}, {}, "search.method", "did you mean grid"),
    ({"param": {}}, {}, "search.param", "did you mean params"),
    (GRID, {"rank_by": "sharp"}, "rank_by", "did you mean sharpe"),
    (GRID, {"rank_by": "trade_count"}, "rank_by", "must be one of"),
    (GRID, {"backtest": {"timeframe": "2h"}}, "backtest.timeframe", "must be one of"),
    (GRID, {"backtest": {"symbl": "X"}}, "backtest.symbl", "did you mean symbol"),
    (GRID, {"backtest": {"strategy": {"name": "sma_crss"}}}, "backtest.strategy.name", "sma_cross"),
    (GRID, {"backtest": {"strategy": 5}}, "backtest.strategy", "must be an object"),
    (
        GRID,
        {"backtest": {"strategy": {"name": "sma_cross", "params": {"fast": 7}}}},
        "backtest.strategy.params.fast",
        "is searched",
    ),
    (
        {"params": {"fast": [5]}},
        {"backtest": {"strategy": {"name": "sma_cross", "params": {"slw": 7}}}},
        "backtest.strategy.params.slw",
        "did you mean slow",
    ),
    (
        {"params": {"fast": [5]}},
        {"backtest": {"strategy": {"name": "sma_cross", "params": {"slow": -7}}}},
        "backtest.strategy.params.slow",
        "at least 2",
    ),
    (
        GRID,
        {"backtest": {"intrabar": {"mode": "resolved"}}},
        "backtest.intrabar.mode",
        "not be resolved",
    ),
    (
        {"params": {"indicators.fsat.timeperiod": [5]}},
        {"backtest": {"strategy": {"name": "rules", "params": RULES}}},
        "search.params.indicators.fsat.timeperiod",
        "names nothing",
    ),
    (GRID, {"walk_forward": {"in_sample_days": 10}}, "walk_forward.out_of_sample_days", "required"),
    (
        GRID,
        {"walk_forward": {"in_sample_days": 0, "out_of_sample_days": 5}},
        "walk_forward.in_sample_days",
        "at least 1",
    ),
    (
        GRID,
        {"walk_forward": {"in_sample_days": 30, "out_of_sample_days": 10, "step_days": 5}},
        "walk_forward.step_days",
        "run twice",
    ),
    (
        GRID,
        {"walk_forward": {"in_sample_days": 365, "out_of_sample_days": 10}},
        "walk_forward.in_sample_days",
        "leaves nothing",
    ),
    (
        GRID,
        {
            "backtest": {"timeframe": "1w"},
            "walk_forward": {"in_sample_days": 30, "out_of_sample_days": 3},
        },
        "walk_forward.out_of_sample_days",
        "no candle of 1w",
    ),
]


class TestRefusals:
    @pytest.mark.parametrize(("search", "more", "field", "words"), WRONG)
    def test_a_wrong_payload_names_field_and_rule(self, search, more, field, words):
        error = refusal(search, **more)
        assert error.field == field
        assert words in str(error)

    def test_more_than_a_hundred_thousand_combinations_are_refused(self):
        params = {"fast": {"from": 1, "to": 400}, "slow": {"from": 401, "to": 651}}
        assert "100400" in str(refusal({"params": params}))
        params["slow"]["to"] = 650
        assert len(sweep({"params": params})) == schema.LARGEST_SWEEP == 100_000

    def test_the_window_must_lie_before_the_clock_of_the_venue(self):
        with pytest.raises(InvalidRequest) as refused:
            parse({"backtest": BACKTEST, "search": GRID}, now=from_ms(1_680_000_000_000))
        assert refused.value.field == "backtest.end_time"


CASES = [
    (GRID, {}),
    ({"params": {"slow": [60, 55], "risk.trailing_stop_pct": [None, 4]}}, {"rank_by": "calmar"}),
    (DRAWN, {"walk_forward": {"in_sample_days": 60, "out_of_sample_days": 30}}),
    ({"method": "list", "list": [{"fast": 5}, {"slow": 70, "risk.stop_loss_pct": 1}]}, {}),
    (
        {"params": {"indicators.fast.timeperiod": [5, 10]}},
        {"backtest": {"strategy": {"name": "rules", "params": RULES}}},
    ),
    (
        {"params": {"risk.sizing.value": [0.01, 0.02], "risk.stop_loss_pct": [2, 4]}},
        {"backtest": {"risk": {"sizing": {"method": "fixed_risk"}, "stop_loss_pct": 9}}},
    ),
]


class TestCanonicalForm:
    @pytest.mark.parametrize(("search", "more"), CASES)
    def test_the_canonical_payload_makes_the_same_points(self, search, more):
        request = sweep(search, **more)
        # The store does not keep the order of keys.
        again = parse(json.loads(json.dumps(canonical(request), sort_keys=True)))
        assert canonical(again) == canonical(request)
        assert sweep_hash(again) == sweep_hash(request)
        numbers = range(1, len(request) + 1)
        assert [again.point(n) for n in numbers] == [request.point(n) for n in numbers]
        assert again.backtest == request.backtest

    @pytest.mark.parametrize(("search", "more"), CASES)
    def test_given_and_canonical_payload_keep_to_the_schema(self, search, more):
        validator = jsonschema.Draft202012Validator(document())
        given = {"backtest": BACKTEST | more.get("backtest", {}), "search": search}
        validator.validate(given | {k: v for k, v in more.items() if k != "backtest"})
        validator.validate(canonical(sweep(search, **more)))

    def test_defaults_are_written_out(self):
        full = canonical(sweep({"params": {"fast": [5]}}))
        assert full["backtest"]["strategy"] == {"name": "sma_cross", "params": {"slow": 50}}
        assert full["backtest"]["fee_rate"] == 0.001
        assert (full["rank_by"], full["walk_forward"]) == ("sharpe", None)
        assert full["search"]["method"] == "grid"

    def test_what_is_searched_stands_in_the_search_only(self):
        given = {"params": {"fast": [5], "risk.stop_loss_pct": [2], "risk.sizing.value": [0.5]}}
        kept = canonical(sweep(given, backtest={"risk": {"stop_loss_pct": 9}}))["backtest"]
        assert "fast" not in kept["strategy"]["params"]
        assert "stop_loss_pct" not in kept["risk"]
        assert kept["risk"]["sizing"] == {"method": "equity_fraction"}

    def test_whatever_decides_the_points_changes_the_hash(self):
        walk = {"in_sample_days": 60, "out_of_sample_days": 30}
        requests = [
            sweep(),
            sweep({"params": {"fast": [5, 10], "slow": [30]}}),
            sweep(rank_by="calmar"),
            sweep(walk_forward=walk),
            sweep(walk_forward=walk | {"anchored": True}),
            sweep(walk_forward=walk | {"step_days": 31}),
            sweep(backtest={"fee_rate": 0.0}),
            sweep(DRAWN),
            sweep(DRAWN | {"seed": 8}),
        ]
        hashes = [sweep_hash(request) for request in requests]
        assert all(one != two for one, two in itertools.combinations(hashes, 2))

    def test_examples_of_the_schema_are_sweeps(self):
        for example in document()["examples"]:
            jsonschema.Draft202012Validator(document()).validate(example)
            assert len(parse(example)) > 50

    def test_every_field_is_described(self):
        def visit(node, path):
            if "type" in node and path:
                assert node.get("title") and node.get("description"), path
            for name, child in node.get("properties", {}).items():
                visit(child, f"{path}.{name}")

        for name, node in document()["properties"].items():
            if name != "backtest":
                visit(node, name)


class TestSavedStrategies:
    @staticmethod
    def find(strategy_id, version):
        return SavedStrategy(strategy_id, version or 3, "sma_cross", {"fast": 7, "slow": 77})

    def test_what_is_not_searched_comes_from_the_saved_strategy(self):
        conf = {
            "backtest": BACKTEST | {"strategy": {"id": 4}},
            "search": {"params": {"fast": [5, 9]}},
        }
        request = parse(conf, find_saved=self.find)
        assert [request.point(n).params for n in (1, 2)] == [
            {"fast": 5, "slow": 77},
            {"fast": 9, "slow": 77},
        ]
        kept = canonical(request)["backtest"]["strategy"]
        assert kept == {"name": "sma_cross", "params": {"slow": 77}, "id": 4, "version": 3}
        assert sweep_hash(parse(canonical(request))) == sweep_hash(request)
        # A point runs other settings than those that were saved.
        assert request.request(1).strategy.strategy_id is None

    def test_an_id_without_a_store_is_refused(self):
        error = refusal(backtest={"strategy": {"id": 4}})
        assert error.field == "backtest.strategy.name"


def test_every_built_in_strategy_can_be_searched_in_all_its_settings():
    for strategy in registry.builtin().values():
        for parameter in strategy.parameters:
            request = sweep(
                {"params": {parameter.name: [parameter.default]}},
                backtest={"strategy": {"name": strategy.name}},
            )
            assert request.point(1).params == strategy.parse_params({})
