"""The strategies' signals by hand, and the registry that finds them."""

from __future__ import annotations

import types
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candlevault.backtest.strategies import registry, rsi_reversion, sma_cross
from candlevault.backtest.strategies.contract import Parameter
from candlevault.errors import ConfigurationError, InvalidRequest


def signals(frame_of, closes, strategy, **params):
    bars = frame_of(closes).bars()
    return strategy.STRATEGY.signals(bars, strategy.STRATEGY.parse_params(params))


class TestSmaCross:
    def test_by_hand(self, frame_of):
        # close  4  3  2  3  5  5  1  1
        # fast(2)   3.5 2.5 2.5 4  5  3  1
        # slow(3)       3   8/3 10/3 13/3 11/3 7/3
        #               <   <   >    >    <    <
        got = signals(frame_of, [4, 3, 2, 3, 5, 5, 1, 1], sma_cross, fast=2, slow=3)
        assert got.tolist() == [0, 0, 0, 0, 1, 0, -1, 0]
        assert got.dtype == np.int8

    def test_fast_above_slow_from_the_first_defined_bar_is_no_cross(self, frame_of):
        assert signals(frame_of, [1, 2, 3, 4, 5], sma_cross, fast=2, slow=3).tolist() == [0] * 5

    def test_equal_averages_before_a_rise_count_as_not_above(self, frame_of):
        # frozen at 0.1: averages equal up to rounding; the rise at bar 4 crosses
        got = signals(frame_of, [0.1, 0.1, 0.1, 0.1, 0.2], sma_cross, fast=2, slow=3)
        assert got.tolist() == [0, 0, 0, 0, 1]

    def test_frozen_price_never_signals(self, frame_of):
        for price in (0.1, 0.3, 1 / 3, 12345.67):
            assert not signals(frame_of, [price] * 60, sma_cross, fast=7, slow=23).any()

    def test_averages_run_over_present_rows_only(self, frame_of):
        closes = [4, 3, 2, 3, 5, 5, 1, 1]
        holes = [4, 3, None, 2, 3, None, None, 5, 5, 1, None, 1]
        whole = signals(frame_of, closes, sma_cross, fast=2, slow=3)
        frame = frame_of(holes)
        spread = frame.on_grid(
            sma_cross.signals(frame.bars(), {"fast": 2, "slow": 3}), 0
        ).tolist()
        assert [s for s, c in zip(spread, holes, strict=True) if c is not None] == whole.tolist()
        assert spread == [0, 0, 0, 0, 0, 0, 0, 1, 0, -1, 0, 0]

    def test_carried_rows_take_part_in_the_averages(self, frame_of):
        # 4 3 (3) 2 3 5: fast 3.5 3 2.5 2.5 4; slow 10/3 8/3 8/3 10/3: cross at the 5
        frame = frame_of([4, 3, None, 2, 3, 5], absent="carry")
        lines = sma_cross.lines(frame.bars(), {"fast": 2, "slow": 3})
        np.testing.assert_allclose(lines["sma_fast"][1:], [3.5, 3.0, 2.5, 2.5, 4.0])
        np.testing.assert_allclose(lines["sma_slow"][2:], [10 / 3, 8 / 3, 8 / 3, 10 / 3])


class TestRsiReversion:
    def test_by_hand(self, frame_of):
        # period 2 (see the RSI test): RSI . . 66.67 88.89 32
        got = signals(frame_of, [10, 12, 11, 14, 10], rsi_reversion, period=2, lower=40, upper=80)
        assert got.tolist() == [0, 0, 0, -1, 1]
        assert got.dtype == np.int8

    def test_the_limits_themselves_do_nothing(self, frame_of):
        # gain 1, loss 1 -> RSI exactly 50
        closes = [10, 11, 10]
        params = {"period": 2, "lower": 50, "upper": 60}
        assert signals(frame_of, closes, rsi_reversion, **params).tolist() == [0, 0, 0]
        params = {"period": 2, "lower": 40, "upper": 50}
        assert signals(frame_of, closes, rsi_reversion, **params).tolist() == [0, 0, 0]

    def test_signals_every_bar_while_the_level_holds(self, frame_of):
        got = signals(frame_of, [9, 8, 7, 6, 5], rsi_reversion, period=2)
        assert got.tolist() == [0, 0, 1, 1, 1]


@settings(database=None, deadline=None, derandomize=True, max_examples=60)
@given(st.lists(st.sampled_from([1, 2, 3, 4, None]), min_size=2, max_size=40), st.integers(1, 40),
       st.sampled_from(["mark", "carry"]))
def test_cutting_off_the_future_never_changes_a_signal(frame_of, closes, cut, absent):
    short = closes[:cut]
    if all(close is None for close in short):
        return
    for name, params in (("sma_cross", {"fast": 2, "slow": 3}), ("rsi_reversion", {"period": 2})):
        strategy = registry.get(name)
        params = strategy.parse_params(params)
        whole, past = frame_of(closes, absent=absent), frame_of(short, absent=absent)
        assert (
            whole.on_grid(strategy.signals(whole.bars(), params), 0)[: len(short)].tolist()
            == past.on_grid(strategy.signals(past.bars(), params), 0).tolist()
        )


class TestRegistry:
    def test_finds_every_strategy_module(self):
        assert list(registry.known()) == ["rsi_reversion", "sma_cross"]

    def test_every_strategy_declares_what_the_form_and_the_result_need(self, frame_of):
        bars = frame_of([float(x) for x in range(1, 200)]).bars()
        for strategy in registry.known().values():
            assert strategy.version
            assert strategy.title
            assert strategy.description
            params = strategy.parse_params({})
            for parameter in strategy.parameters:
                assert parameter.minimum <= parameter.default <= parameter.maximum
                assert parameter.description
            got = strategy.signals(bars, params)
            assert got.dtype == np.int8
            assert len(got) == len(bars.close)
            for line in strategy.lines(bars, params).values():
                assert len(line) == len(bars.close)

    def test_unknown_strategy_lists_the_known_and_the_nearest(self):
        with pytest.raises(InvalidRequest) as caught:
            registry.get("SMA-cross")
        assert caught.value.field == "strategy.name"
        assert "rsi_reversion, sma_cross" in caught.value.rule
        assert "did you mean sma_cross?" in caught.value.rule

    @pytest.mark.parametrize(
        ("params", "field"),
        [
            ({"fast": 50, "slow": 50}, "p.fast"),
            ({"fast": 60}, "p.fast"),
            ({"slow": 1}, "p.slow"),
            ({"slow": "50"}, "p.slow"),
            ({"speed": 1}, "p.speed"),
        ],
    )
    def test_params_are_refused_by_name(self, params, field):
        with pytest.raises(InvalidRequest) as caught:
            registry.get("sma_cross").parse_params(params, "p")
        assert caught.value.field == field

    def test_rsi_limits_must_ascend(self):
        with pytest.raises(InvalidRequest) as caught:
            registry.get("rsi_reversion").parse_params({"lower": 70, "upper": 70})
        assert caught.value.field == "strategy.params.lower"

    def test_params_come_back_typed_in_declared_order(self):
        params = registry.get("rsi_reversion").parse_params({"upper": 80, "period": 7.0})
        assert list(params.items()) == [("period", 7), ("lower", 30.0), ("upper", 80.0)]
        assert type(params["period"]) is int
        assert type(params["upper"]) is float

    def test_a_module_without_a_strategy_is_a_configuration_error(self):
        with pytest.raises(ConfigurationError, match="does not bind STRATEGY"):
            registry.collect([types.ModuleType("some.package.empty")])

    def test_a_strategy_named_unlike_its_module_is_a_configuration_error(self):
        module = types.ModuleType("some.package.other")
        module.STRATEGY = sma_cross.STRATEGY
        with pytest.raises(ConfigurationError, match="sma_cross lives in a module named other"):
            registry.collect([module])

    def test_defaults_that_break_their_own_rules_are_a_configuration_error(self):
        module = types.ModuleType("some.package.sma_cross")
        module.STRATEGY = replace(
            sma_cross.STRATEGY,
            parameters=(
                Parameter("fast", "integer", 60, 1, 100, "x"),
                Parameter("slow", "integer", 50, 1, 100, "x"),
            ),
        )
        with pytest.raises(ConfigurationError, match="defaults of strategy sma_cross"):
            registry.collect([module])
