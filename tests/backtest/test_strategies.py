"""What holds for every strategy, and the registry that finds them."""

from __future__ import annotations

import types
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candlevault.backtest.data.frame import build_frame
from candlevault.backtest.engine.codes import ENTER_LONG, ENTER_SHORT, EXIT_LONG, EXIT_SHORT
from candlevault.backtest.indicators import remembering
from candlevault.backtest.signals import checked
from candlevault.backtest.strategies import registry, sma_cross
from candlevault.backtest.strategies.contract import Parameter
from candlevault.errors import ConfigurationError, InvalidRequest
from candlevault.timeframe import parse as timeframe
from candlevault.windows import Window
from tests.support.wishes import signals_of

QUIET = settings(database=None, deadline=None, derandomize=True, max_examples=60)
SMALL = {
    "atr_trailing": {"period": 3, "atr_period": 2},
    "bollinger_breakout": {"period": 3, "width": 0.5},
    "bollinger_reversion": {"period": 3, "width": 0.5},
    "buy_and_hold": {},
    "donchian": {"entry_period": 2, "exit_period": 1},
    "ema_cross": {"fast": 2, "slow": 3},
    "macd": {"fast": 2, "slow": 3, "signal": 2},
    "rsi_reversion": {"period": 2},
    "sma_cross": {"fast": 2, "slow": 3},
}
"""Settings that make every strategy act within a few bars."""

CLOSES = st.lists(st.sampled_from([1, 2, 3, 4, None]), min_size=2, max_size=40)


@pytest.fixture(scope="module")
def hours(real_candles):
    """BTCUSDT 2020-2023, real outages included."""
    table = real_candles("spot", "BTCUSDT", "1h")
    start = int(table["open_time"].iloc[0])
    window = Window(start, start + 30_000 * 3_600_000)
    table = table[table["open_time"] < window.end_ms]
    return build_frame(timeframe("1h"), window, table).bars()


@QUIET
@given(CLOSES, st.integers(1, 40), st.sampled_from(["mark", "carry"]))
def test_cutting_off_the_future_never_changes_a_signal(frame_of, closes, cut, absent):
    short = closes[:cut]
    if all(close is None for close in short):
        return
    whole, past = frame_of(closes, absent=absent), frame_of(short, absent=absent)
    for name, params in SMALL.items():
        known = signals_of(past, name, **params)
        row = signals_of(whole, name, **params).head(len(past.bars().close)).differs(known)
        assert row is None, f"{name} at bar {row}"


@pytest.mark.parametrize("name", list(SMALL))
def test_cutting_off_the_future_of_real_hours_never_changes_a_signal(hours, name):
    strategy = registry.get(name)
    params = strategy.parse_params({})
    whole = strategy.signals(hours, params)
    for count in (1, 2, 19, 20, 51, 1_000, 7_777, 29_000):
        row = whole.head(count).differs(strategy.signals(hours.head(count), params))
        assert row is None, f"{count} bars: another signal at bar {row}"


@QUIET
@given(CLOSES)
def test_no_strategy_enters_and_leaves_the_same_side_at_once(frame_of, closes):
    if all(close is None for close in closes):
        return
    frame = frame_of(closes)
    for name, params in SMALL.items():
        actions = signals_of(frame, name, **params).actions(len(frame.bars().close))
        for enter, leave in ((ENTER_LONG, EXIT_LONG), (ENTER_SHORT, EXIT_SHORT)):
            assert not ((actions & enter != 0) & (actions & leave != 0)).any(), name


@pytest.mark.parametrize("name", list(SMALL))
def test_the_defaults_act_on_real_hours_and_undefined_bars_do_not(hours, name):
    strategy = registry.get(name)
    params = strategy.parse_params({})
    signals = checked(strategy.signals(hours, params), len(hours.close))
    wished = signals.actions(len(hours.close)) != 0
    assert wished.any()
    lines = list(strategy.lines(hours, params).values())
    if lines:
        assert not wished[np.all(np.isnan(lines), axis=0)].any()


@pytest.mark.parametrize("name", list(SMALL))
def test_signals_are_the_same_while_indicators_are_remembered(hours, name):
    strategy = registry.get(name)
    params = strategy.parse_params({})
    plain = strategy.signals(hours, params)
    with remembering():
        for _ in range(2):
            assert strategy.signals(hours, params).differs(plain) is None


class TestRegistry:
    def test_finds_every_strategy_module(self):
        known = registry.builtin()
        assert list(known) == sorted(known)
        assert {name for name, strategy in known.items() if strategy.parse is None} == set(SMALL)

    def test_every_strategy_declares_what_the_form_and_the_result_need(self, frame_of):
        bars = frame_of([float(x) for x in range(1, 200)]).bars()
        for strategy in registry.builtin().values():
            assert strategy.version
            assert strategy.title
            assert strategy.description
            if strategy.parse is not None:
                continue
            params = strategy.parse_params({})
            for parameter in strategy.parameters:
                if parameter.kind in ("integer", "number"):
                    assert parameter.minimum <= parameter.default <= parameter.maximum
                assert parameter.description
            checked(strategy.signals(bars, params), len(bars.close))
            for line in strategy.lines(bars, params).values():
                assert len(line) == len(bars.close)

    def test_unknown_strategy_lists_the_known_and_the_nearest(self):
        with pytest.raises(InvalidRequest) as caught:
            registry.get("SMA-cross")
        assert caught.value.field == "strategy.name"
        assert ", ".join(registry.known()) in caught.value.rule
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
