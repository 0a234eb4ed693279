"""What rules say on bars, by hand: operators, three values, prices of orders, trades."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from candlevault.backtest.rules import truth
from candlevault.backtest.rules.truth import Truth
from candlevault.backtest.signals import checked
from candlevault.backtest.strategies.rules import STRATEGY
from tests.support.rules import bars_of, fires, signals, walk
from tests.support.trading import traded

NAN = float("nan")
SMA_2 = {"function": "SMA", "timeperiod": 2}
CLOSES = bars_of([1, 2, 2, 3, 1])
BESIDE = bars_of([1, 2, 2, 3, 1], open=[2, 2, 1, 2, 2])


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        # close 1 2 2 3 1, open 2 2 1 2 2
        ({"above": ["close", "open"]}, [2, 3]),
        ({"below": ["close", "open"]}, [0, 4]),
        ({"at_least": ["close", "open"]}, [1, 2, 3]),
        ({"at_most": ["close", "open"]}, [0, 1, 4]),
        ({"equal": ["close", "open"]}, [1]),
        ({"crosses_above": ["close", "open"]}, [2]),
        ({"crosses_below": ["close", "open"]}, [4]),
        ({"above": ["close", 2]}, [3]),
        ({"below": [1.5, "close"]}, [1, 2, 3]),
        ({"above": [2, 1]}, [0, 1, 2, 3, 4]),
        ({"equal": [2, 2.0]}, [0, 1, 2, 3, 4]),
        ({"between": ["close", 2, 3]}, [1, 2, 3]),
        ({"between": ["close", "open", 2]}, [1, 2]),
        ({"between": ["close", 3, 2]}, []),
        ({"not": {"above": ["close", "open"]}}, [0, 1, 4]),
        ({"not": {"not": {"above": ["close", "open"]}}}, [2, 3]),
        # a cross needs the row before: row 0 is undefined, and so is its opposite
        ({"not": {"crosses_above": ["close", "open"]}}, [1, 3, 4]),
        ({"all": [{"above": ["close", "open"]}, {"above": ["close", 2]}]}, [3]),
        ({"any": [{"below": ["close", "open"]}, {"above": ["close", 2]}]}, [0, 3, 4]),
        ({"all": [{"above": ["close", "open"]}]}, [2, 3]),
        ({"any": [{"above": ["close", "open"]}]}, [2, 3]),
        # the past: undefined before there is one
        ({"above": ["close", {"of": "close", "bars_ago": 1}]}, [1, 3]),
        ({"at_most": ["close", {"of": "close", "bars_ago": 3}]}, [4]),
        ({"above": ["close", {"of": "close", "bars_ago": 0}]}, []),
        ({"equal": ["close", {"of": "close", "bars_ago": 0}]}, [0, 1, 2, 3, 4]),
        ({"equal": ["close", {"of": {"of": "close", "bars_ago": 1}, "bars_ago": 3}]}, [4]),
        ({"above": ["close", {"of": "close", "bars_ago": 10_000}]}, []),
        ({"not": {"above": ["close", {"of": "close", "bars_ago": 10_000}]}}, []),
        # arithmetic
        ({"above": [{"add": ["close", "open"]}, 4]}, [3]),
        ({"equal": [{"subtract": ["close", "open"]}, -1]}, [0, 4]),
        ({"above": [{"multiply": ["close", 2]}, 5]}, [3]),
        ({"equal": [{"divide": ["close", "open"]}, 0.5]}, [0, 4]),
        ({"above": [{"divide": ["close", {"subtract": ["close", 1]}]}, 1.7]}, [1, 2]),
        ({"not": {"above": [{"divide": ["close", {"subtract": ["close", 1]}]}, 1.7]}}, [3]),
        # trends: 1 2 2 3 1
        ({"rising": {"of": "close"}}, [1, 3]),
        ({"falling": {"of": "close"}}, [4]),
        ({"not": {"rising": {"of": "close"}}}, [2, 4]),
    ],
)
def test_operators_by_hand(condition, rows):
    assert fires(BESIDE, condition) == rows


def test_a_trend_holds_over_each_of_its_bars():
    bars = bars_of([1, 2, 3, 4, 4, 5, 6, 7, 6])
    assert fires(bars, {"rising": {"of": "close", "bars": 3}}) == [3, 7]
    assert fires(bars, {"not": {"rising": {"of": "close", "bars": 3}}}) == [4, 5, 6, 8]
    assert fires(bars, {"rising": {"of": "close", "bars": 9}}) == []
    assert fires(bars, {"not": {"rising": {"of": "close", "bars": 9}}}) == []
    # values within a trillionth are equal
    still = bars_of([1.0, 1.0 + 1e-13, 1.0 + 2e-12])
    assert fires(still, {"rising": {"of": "close"}}) == [2]


def test_values_within_a_trillionth_are_equal():
    bars = bars_of([1000.0 * (1 + 0.9e-12), 1000.0 * (1 + 1.1e-12)])
    assert fires(bars, {"equal": ["close", 1000]}) == [0]
    assert fires(bars, {"above": ["close", 1000]}) == [1]
    assert fires(bars, {"at_most": ["close", 1000]}) == [0]
    assert fires(bars, {"between": ["close", 999, 1000]}) == [0]
    assert fires(bars, {"crosses_above": ["close", 1000]}) == [1]


class TestUndefined:
    """An average of two bars is undefined in row 0: neither a condition nor its opposite fires."""

    @pytest.mark.parametrize("operator", ["above", "below", "at_least", "at_most", "equal"])
    def test_neither_a_comparison_nor_its_opposite_fires(self, operator):
        condition = {operator: ["close", "average"]}
        both = fires(CLOSES, condition, average=SMA_2)
        opposite = fires(CLOSES, {"not": condition}, average=SMA_2)
        assert sorted(both + opposite) == [1, 2, 3, 4]

    @pytest.mark.parametrize("operator", ["crosses_above", "crosses_below"])
    def test_a_cross_is_undefined_until_both_bars_are_defined(self, operator):
        condition = {operator: ["close", "average"]}
        both = fires(CLOSES, condition, average=SMA_2)
        opposite = fires(CLOSES, {"not": condition}, average=SMA_2)
        assert sorted(both + opposite) == [2, 3, 4]

    def test_one_true_part_is_enough_for_any_and_one_false_part_for_all(self):
        unknown = {"above": ["close", "average"]}
        true, false = {"at_most": ["close", 9]}, {"above": ["close", 9]}
        zero = [0]

        def first(condition):
            return [row for row in fires(CLOSES, condition, average=SMA_2) if row == 0]

        assert first({"any": [unknown, true]}) == zero
        assert first({"any": [unknown, false]}) == []
        assert first({"not": {"any": [unknown, false]}}) == []
        assert first({"all": [unknown, true]}) == []
        assert first({"not": {"all": [unknown, true]}}) == []
        assert first({"not": {"all": [unknown, false]}}) == zero
        assert first({"not": {"any": [unknown, true]}}) == []

    def test_between_is_false_as_soon_as_one_limit_excludes_the_value(self):
        low = {"between": ["close", 5, "average"]}
        assert fires(CLOSES, {"not": low}, average=SMA_2) == [0, 1, 2, 3, 4]
        inside = {"between": ["close", 0, "average"]}
        assert 0 not in fires(CLOSES, {"not": inside}, average=SMA_2)

    def test_division_by_zero_is_undefined(self):
        bars = bars_of([1, 2, 3], volume=[0, 1, 0])
        condition = {"above": [{"divide": ["close", "volume"]}, 1]}
        assert fires(bars, condition) == [1]
        assert fires(bars, {"not": condition}) == []

    def test_a_number_too_large_is_undefined(self):
        huge = {"multiply": [1e12, 1e12]}
        for _ in range(5):
            huge = {"multiply": [huge, huge]}
        assert fires(CLOSES, {"above": [huge, 0]}) == []
        assert fires(CLOSES, {"not": {"above": [huge, 0]}}) == []


THREE = {True: Truth(np.array([True]), np.array([False])),
         False: Truth(np.array([False]), np.array([True])),
         None: Truth(np.array([False]), np.array([False]))}  # fmt: skip


def value(part: Truth) -> bool | None:
    assert not (part.true & part.false).any()
    return True if part.true[0] else False if part.false[0] else None


@pytest.mark.parametrize("left", [True, False, None])
@pytest.mark.parametrize("right", [True, False, None])
def test_the_tables_of_three_values(left, right):
    values = (left, right)
    both = False if False in values else None if None in values else True
    either = True if True in values else None if None in values else False
    parts = [THREE[one] for one in values]
    assert value(truth.all_of(parts)) is both
    assert value(truth.any_of(parts)) is either
    assert value(truth.opposite(parts[0])) is (None if left is None else not left)
    # what one says of the opposites, the other says of the thing itself
    assert value(truth.opposite(truth.any_of(map(truth.opposite, parts)))) is both


def test_every_comparison_is_true_or_false_where_defined_and_neither_elsewhere():
    some = [1.0, 2.0, 2.0 * (1 + 5e-13), -1.0, 0.0, NAN]
    left, right = (np.array(column) for column in zip(*itertools.product(some, some), strict=True))
    unknown = np.isnan(left) | np.isnan(right)
    for operator in ("above", "below", "at_least", "at_most", "equal"):
        true, false = truth.compared(operator, left, right)
        np.testing.assert_array_equal(true | false, ~unknown)
        assert not (true & false).any()
    above, equal = truth.compared("above", left, right), truth.compared("equal", left, right)
    below = truth.compared("below", left, right)
    np.testing.assert_array_equal(
        above.true.astype(int) + equal.true + below.true, (~unknown).astype(int)
    )


class TestIndicators:
    def test_an_indicator_of_an_indicator_and_of_an_output(self):
        # close 1 2 2 3 1: average . 1.5 2 2.5 2; of the average . . 1.75 2.25 2.25
        lines = STRATEGY.lines(
            CLOSES,
            STRATEGY.parse_params(
                {
                    "indicators": {
                        "twice": SMA_2 | {"of": "once"},
                        "once": SMA_2,
                        "bands": {"function": "BBANDS", "timeperiod": 2, "of": "once"},
                        "top": {"function": "MAX", "timeperiod": 2, "of": "bands.middleband"},
                    },
                    "entry": {"long": {"above": ["close", 1]}},
                }
            ),
        )
        assert list(lines) == [
            "bands.upperband", "bands.middleband", "bands.lowerband", "once", "top", "twice",
        ]  # fmt: skip
        np.testing.assert_array_equal(lines["once"], [NAN, 1.5, 2.0, 2.5, 2.0])
        np.testing.assert_array_equal(lines["twice"], [NAN, NAN, 1.75, 2.25, 2.25])
        np.testing.assert_array_equal(lines["bands.middleband"], lines["twice"])
        np.testing.assert_array_equal(lines["top"], [NAN, NAN, NAN, 2.25, 2.25])

    def test_inputs_go_to_the_roles_they_are_named_for(self):
        bars = bars_of([1, 2, 3], high=[5, 6, 7], low=[1, 1, 1], volume=[10, 20, 40])
        spread = {"function": "SUB", "of": {"price0": "volume", "price1": "high"}}
        assert fires(bars, {"equal": ["x", 14]}, x=spread) == [1]
        default = {"function": "SUB"}  # high less low, as TA-Lib has it
        assert fires(bars, {"equal": ["x", 5]}, x=default) == [1]
        swapped = {"function": "MEDPRICE", "of": {"low": "volume"}}
        assert fires(bars, {"equal": ["x", 13]}, x=swapped) == [1]

    def test_a_candlestick_pattern_is_compared_with_numbers(self):
        # a body that swallows the one before, upwards, in row 3
        bars = bars_of([10, 9, 8, 11], open=[11, 10, 9, 7], high=[11, 10, 9, 11], low=[10, 9, 8, 7])
        engulfing = {"function": "CDLENGULFING"}
        assert fires(bars, {"above": ["x", 0]}, x=engulfing) == [3]
        assert fires(bars, {"equal": ["x", 0]}, x=engulfing) == [2]

    def test_unused_indicators_are_lines_too(self):
        params = STRATEGY.parse_params(
            {"indicators": {"x": SMA_2}, "entry": {"long": {"above": ["close", 1]}}}
        )
        assert list(STRATEGY.lines(CLOSES, params)) == ["x"]

    def test_one_bar_and_none_are_enough(self):
        params = STRATEGY.parse_params(
            {
                "indicators": {"x": {"function": "MACD"}},
                "entry": {"long": {"crosses_above": ["x.macd", {"of": "close", "bars_ago": 2}]}},
                "orders": {"long": {"limit": "x.macd"}},
            }
        )
        for count in (0, 1):
            wished = STRATEGY.signals(walk(9).head(count), params)
            assert not wished.enter_long.any()
            checked(wished, count)


class TestWishes:
    def test_sides_that_are_not_named_are_never_wished(self):
        wished = signals(CLOSES, entry={"short": {"above": ["close", 2]}})
        assert wished.enter_long is wished.exit_long is wished.exit_short is None
        assert wished.enter_short.tolist() == [False, False, False, True, False]

    def test_all_four_wishes(self):
        wished = signals(
            CLOSES,
            entry={"long": {"above": ["close", 2]}, "short": {"below": ["close", 2]}},
            exit={"long": {"equal": ["close", 2]}, "short": {"above": ["close", 1]}},
        )
        assert np.flatnonzero(wished.enter_long).tolist() == [3]
        assert np.flatnonzero(wished.enter_short).tolist() == [0, 4]
        assert np.flatnonzero(wished.exit_long).tolist() == [1, 2]
        assert np.flatnonzero(wished.exit_short).tolist() == [1, 2, 3]
        checked(wished, 5)

    def test_entries_on_both_sides_of_one_bar_are_not_taken(self):
        wished = signals(
            CLOSES,
            entry={"long": {"above": ["close", 1]}, "short": {"below": ["close", 3]}},
        )
        assert np.flatnonzero(wished.enter_long).tolist() == [3]
        assert np.flatnonzero(wished.enter_short).tolist() == [0, 4]
        checked(wished, 5)

    def test_they_contradict_each_other_even_where_one_of_them_has_no_price(self):
        both = {"above": ["close", 0]}
        wished = signals(
            CLOSES,
            entry={"long": both, "short": both},
            orders={"long": {"limit": {"of": "close", "bars_ago": 9}}},
        )
        assert not wished.enter_long.any()
        assert not wished.enter_short.any()


class TestOrders:
    def test_values_stand_at_the_entries_of_their_side_only(self):
        wished = signals(
            CLOSES,
            entry={"long": {"above": ["close", 2]}, "short": {"below": ["close", 2]}},
            exit={"long": {"equal": ["close", 2]}},
            orders={
                "long": {"stop_loss": {"subtract": ["close", 1]}, "take_profit": 9},
                "short": {"stop_loss": {"add": ["close", 1]}, "trail": 2},
            },
        )
        np.testing.assert_array_equal(wished.stop_loss, [2, NAN, NAN, 2, 2])
        np.testing.assert_array_equal(wished.take_profit, [NAN, NAN, NAN, 9, NAN])
        np.testing.assert_array_equal(wished.trail, [2, NAN, NAN, NAN, 2])
        assert wished.limit is wished.stop is wished.weight is wished.reduce is None
        checked(wished, 5)

    @pytest.mark.parametrize("name", ["limit", "stop", "stop_loss", "take_profit", "trail"])
    def test_an_entry_without_the_price_it_asks_for_is_not_taken(self, name):
        # undefined in row 0, zero in row 1, below zero in rows 3 and 4
        price = {"subtract": [{"of": "close", "bars_ago": 1}, {"subtract": ["open", 1]}]}
        bars = bars_of([1, 2, 3, 1, 1], open=[1, 2, 1, 9, 9])
        wished = signals(bars, entry={"long": {"above": ["close", 0]}},
                         orders={"long": {name: price}})  # fmt: skip
        assert np.flatnonzero(wished.enter_long).tolist() == [2]
        np.testing.assert_array_equal(getattr(wished, name), [NAN, NAN, 2, NAN, NAN])
        checked(wished, 5)

    def test_a_weight_above_one_counts_as_one(self):
        bars = bars_of([0.25, 1, 4, 2])
        wished = signals(
            bars,
            entry={"long": {"above": ["close", 0]}},
            orders={"long": {"weight": {"subtract": ["close", 0.5]}}},
        )
        np.testing.assert_array_equal(wished.weight, [NAN, 0.5, 1, 1])
        assert np.flatnonzero(wished.enter_long).tolist() == [1, 2, 3]

    def test_the_engine_fills_what_rules_order(self, frame_of):
        # The limit one below the close of row 1 is touched in row 2; the target in row 3.
        frame = frame_of([(10, 10, 10, 10), (10, 12, 10, 12), (12, 12, 10.5, 11), (11, 15, 11, 14),
                          (14, 14, 14, 14)])  # fmt: skip
        wished = signals(
            frame.bars(),
            entry={"long": {"crosses_above": ["close", 11]}},
            orders={"long": {"limit": {"subtract": ["close", 1]},
                             "take_profit": {"add": ["close", 1]},
                             "stop_loss": 5, "weight": 0.5}},
        )  # fmt: skip
        (trade,) = traded(frame, wished, initial_capital=1_000.0).log.trades
        assert (trade.entry_price, trade.exit_price) == (11.0, 13.0)
        assert trade.quantity == pytest.approx(500.0 / 11.0)
        assert trade.exit_reason == "take_profit"
