"""Random rules: as a slow reference says, blind to the future, and never a crash."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from candlevault.backtest.rules.functions import MOVING_AVERAGES, catalogue
from candlevault.backtest.rules.params_schema import EXAMPLES
from candlevault.backtest.rules.tree import ARITHMETIC, COMPARISONS, PRICES
from candlevault.backtest.signals import checked
from candlevault.backtest.strategies.rules import STRATEGY
from candlevault.errors import InvalidRequest
from tests.support.rules import same, ticks, walk

QUIET = settings(
    database=None,
    deadline=None,
    derandomize=True,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
MANY = settings(QUIET, max_examples=10 * QUIET.max_examples)
BARS = {"ticks": ticks(60), "walk": walk(60)}
NAMES = ("a", "b", "c", "d")


def setting(parameter):
    if parameter.kind == "choice":
        return st.sampled_from(list(MOVING_AVERAGES))
    if parameter.kind == "integer":
        return st.integers(parameter.minimum, 9)
    return st.floats(max(parameter.minimum, -3.0), min(parameter.maximum, 3.0))


@st.composite
def indicators(draw) -> tuple[dict, list[str]]:
    """Up to four indicators, each of prices and of those before it, and all names there are."""
    known, found = list(PRICES), {}
    for name in NAMES[: draw(st.integers(0, len(NAMES)))]:
        function = catalogue()[draw(st.sampled_from(list(catalogue())))]
        one = {"function": function.name}
        for parameter in function.settings:
            if draw(st.booleans()):
                one[parameter.name] = draw(setting(parameter))
        of = {
            role: draw(st.sampled_from(known))
            for role, source in function.inputs
            if source is None or draw(st.booleans())
        }
        if of:
            one["of"] = next(iter(of.values())) if len(function.inputs) == 1 else of
        if function.name == "MAVP":
            one |= {"minperiod": 2, "maxperiod": 9}
        found[name] = one
        known += (
            [name]
            if len(function.outputs) == 1
            else [f"{name}.{output}" for output in function.outputs]
        )
    return found, known


def operands(known):
    plain = st.one_of(
        st.sampled_from(known),
        st.integers(-3, 6),
        st.floats(-1e12, 1e12, allow_nan=False),
    )
    return st.recursive(
        plain,
        lambda inner: st.one_of(
            st.builds(lambda of, n: {"of": of, "bars_ago": n}, inner, st.integers(0, 5)),
            st.builds(
                lambda operator, pair: {operator: list(pair)},
                st.sampled_from(ARITHMETIC),
                st.tuples(inner, inner),
            ),
        ),
        max_leaves=4,
    )


def conditions(known):
    operand = operands(known)
    plain = st.one_of(
        st.builds(
            lambda operator, pair: {operator: list(pair)},
            st.sampled_from(COMPARISONS),
            st.tuples(operand, operand),
        ),
        st.builds(lambda three: {"between": list(three)}, st.tuples(operand, operand, operand)),
        st.builds(
            lambda operator, of, bars: {operator: {"of": of, "bars": bars}},
            st.sampled_from(("rising", "falling")),
            operand,
            st.integers(1, 4),
        ),
    )
    return st.recursive(
        plain,
        lambda inner: st.one_of(
            st.builds(
                lambda operator, parts: {operator: parts},
                st.sampled_from(("all", "any")),
                st.lists(inner, min_size=1, max_size=3),
            ),
            st.builds(lambda one: {"not": one}, inner),
        ),
        max_leaves=6,
    )


@st.composite
def rules(draw) -> dict:
    found, known = draw(indicators())
    sides = draw(st.sampled_from((("long",), ("short",), ("long", "short"))))
    carried = st.dictionaries(
        st.sampled_from(("limit", "stop", "stop_loss", "take_profit", "trail", "weight")),
        operands(known),
        min_size=1,
        max_size=3,
    )
    condition = conditions(known)
    return {
        "indicators": found,
        "entry": {side: draw(condition) for side in sides},
        "exit": {side: draw(condition) for side in sides if draw(st.booleans())},
        "orders": {side: draw(carried) for side in sides if draw(st.booleans())},
    }


class Reference:
    """The meaning of rules once more, row by row in plain Python; None is undefined."""

    def __init__(self, columns):
        self.columns = columns

    def value(self, operand, row):
        if row < 0:
            return None
        if isinstance(operand, str):
            found = float(self.columns[operand][row])
            return None if math.isnan(found) else found
        if isinstance(operand, int | float):
            return float(operand)
        if "of" in operand:
            return self.value(operand["of"], row - operand["bars_ago"])
        ((operator, pair),) = operand.items()
        left, right = (self.value(one, row) for one in pair)
        if left is None or right is None or (operator == "divide" and right == 0.0):
            return None
        found = {
            "add": lambda: left + right,
            "subtract": lambda: left - right,
            "multiply": lambda: left * right,
            "divide": lambda: left / right,
        }[operator]()
        return found if math.isfinite(found) else None

    def order(self, left, right):
        """1 above, 0 equal, -1 below, None undefined."""
        if left is None or right is None:
            return None
        if abs(left - right) <= 1e-12 * max(abs(left), abs(right)):
            return 0
        return 1 if left > right else -1

    def holds(self, condition, row):
        ((operator, given),) = condition.items()
        if operator == "not":
            inner = self.holds(given, row)
            return None if inner is None else not inner
        if operator in ("all", "any"):
            parts = [self.holds(one, row) for one in given]
            decisive = operator == "any"
            if decisive in parts:
                return decisive
            return None if None in parts else not decisive
        if operator == "between":
            value, lowest, highest = given
            return self.holds(
                {"all": [{"at_least": [value, lowest]}, {"at_most": [value, highest]}]}, row
            )
        if operator in ("rising", "falling"):
            values = [self.value(given["of"], row - back) for back in range(given["bars"] + 1)]
            if None in values:
                return None
            way = 1 if operator == "rising" else -1
            return all(self.order(new, old) == way for new, old in itertools.pairwise(values))
        now, before = (
            self.order(*(self.value(one, row - back) for one in given)) for back in (0, 1)
        )
        if operator.startswith("crosses"):
            if now is None or before is None:
                return None
            way = 1 if operator == "crosses_above" else -1
            return now == way and before != way
        if now is None:
            return None
        return {
            "above": now > 0,
            "below": now < 0,
            "at_least": now >= 0,
            "at_most": now <= 0,
            "equal": now == 0,
        }[operator]

    def fires(self, condition, count):
        return np.array([self.holds(condition, row) is True for row in range(count)])


@pytest.mark.parametrize("kind", list(BARS))
@QUIET
@given(params=rules())
def test_every_wish_is_what_a_slow_reference_says(kind, params):
    bars = BARS[kind]
    checked_params = STRATEGY.parse_params(params)
    wished = checked(STRATEGY.signals(bars, checked_params), 60)
    columns = STRATEGY.lines(bars, checked_params) | {name: getattr(bars, name) for name in PRICES}
    reference = Reference(columns)
    entered = {side: reference.fires(condition, 60) for side, condition in params["entry"].items()}
    both = (
        np.logical_and.reduce(list(entered.values())) if len(entered) == 2 else np.zeros(60, bool)
    )
    for side, rows in entered.items():
        rows = rows & ~both
        carried = {
            name: np.array([reference.value(operand, row) or np.nan for row in range(60)])
            for name, operand in params["orders"].get(side, {}).items()
        }
        for value in carried.values():
            rows &= value > 0.0
        np.testing.assert_array_equal(getattr(wished, f"enter_{side}"), rows)
        for name, value in carried.items():
            largest = 1.0 if name == "weight" else math.inf
            np.testing.assert_array_equal(
                getattr(wished, name)[rows], np.minimum(value[rows], largest)
            )
        if side in params["exit"]:
            np.testing.assert_array_equal(
                getattr(wished, f"exit_{side}"), reference.fires(params["exit"][side], 60)
            )


@QUIET
@given(params=rules(), cut=st.integers(0, 60), kind=st.sampled_from(list(BARS)))
def test_cutting_off_the_future_never_changes_a_wish_or_a_line(params, cut, kind):
    params = STRATEGY.parse_params(params)
    bars = BARS[kind]
    whole, past = STRATEGY.signals(bars, params), STRATEGY.signals(bars.head(cut), params)
    assert whole.head(cut).differs(past) is None
    lines, shorter = STRATEGY.lines(bars, params), STRATEGY.lines(bars.head(cut), params)
    assert list(lines) == list(shorter)
    for name, line in lines.items():
        assert same(line[:cut], shorter[name])


@QUIET
@given(params=rules())
def test_canonical_rules_stay_as_they_are_and_mean_the_same(params):
    once = STRATEGY.parse_params(params)
    assert json.dumps(STRATEGY.parse_params(once)) == json.dumps(once)
    assert STRATEGY.parse_params(json.loads(json.dumps(once, allow_nan=False))) == once


WORDS = st.one_of(
    st.sampled_from(
        ["long", "short", "all", "any", "not", "above", "between", "rising", "of", "bars_ago",
         "function", "EMA", "MAVP", "close", "bars", "add", "orders", "limit", "__import__",
         "a.b", "a.__class__", "\x00", "☃", "\ud800", ""]
    ),
    st.text(max_size=5),
)  # fmt: skip
SCRAPS = st.one_of(
    WORDS,
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.just(10**400),
    st.builds(lambda: 10**5_000),
)
JUNK = st.recursive(
    SCRAPS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(WORDS, inner, max_size=3)),
    max_leaves=12,
)


def places(value, path=()):
    """Every place inside JSON, by its path."""
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, (*path, key))
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from places(inner, (*path, position))


def replaced(value, path, other):
    if not path:
        return other
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], other)
    return copy


def refused_or_usable(params) -> None:
    try:
        parsed = STRATEGY.parse_params(params)
    except InvalidRequest as error:
        assert error.field.startswith("strategy.params")
        assert len(str(error)) < 2_000
        return
    checked(STRATEGY.signals(BARS["ticks"], parsed), 60)


@MANY
@given(params=JUNK)
def test_junk_is_refused_and_never_a_crash(params):
    refused_or_usable(params)


@MANY
@given(st.data())
def test_junk_anywhere_inside_good_rules_is_refused_or_harmless(data):
    good = data.draw(st.sampled_from(EXAMPLES))
    path = data.draw(st.sampled_from(list(places(good))))
    refused_or_usable(replaced(good, path, data.draw(st.one_of(SCRAPS, JUNK))))
