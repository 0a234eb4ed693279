"""Planted strategies whose answers are no signals and no lines, or lies."""

from __future__ import annotations

import re

import numpy as np
import pytest

from candlevault.backtest.user_strategies import calls
from candlevault.errors import StrategyFailed
from tests.support.planted_strategies import BARS, failure_of, nothing_left, signals_of, told
from tests.support.user_strategies import ABOVE_THE_MEAN as ABOVE
from tests.support.user_strategies import file_of, line_of, text

__all__ = ["nothing_left"]

RETURNED = {
    "none": ("return None", "returned NoneType where Signals are due"),
    "a list": ("return [1, 2]", "returned list where Signals are due"),
    "something that calls itself signals": (
        "return type('Signals', (), {})()",
        "returned Signals where Signals are due",
    ),
    "too few": (
        "return Signals(enter_long=np.ones(10, dtype=bool))",
        r"signals.enter_long: must hold 400 values, one per bar \(given: '\(10,\)'\)",
    ),
    "too many": (
        "return Signals(exit_long=np.ones(401, dtype=bool))",
        r"signals.exit_long: must hold 400 values",
    ),
    "two dimensions": (
        "return Signals(enter_long=np.ones((400, 1), dtype=bool))",
        r"signals.enter_long: must hold 400 values.*\(400, 1\)",
    ),
    "floats with NaN as wishes": (
        "return Signals(enter_long=np.where(bars.close > 100.0, 1.0, np.nan))",
        r"must be an array of bool \(given: 'float64'\); signals.enter_long holds NaN in \d+ of",
    ),
    "whole numbers as wishes": (
        "return Signals(enter_long=np.ones(400, dtype=np.int8))",
        "signals.enter_long: must be an array of bool .*int8",
    ),
    "objects": (
        "return Signals(enter_long=np.array([True] * 400, dtype=object))",
        "signals.enter_long: must be an array of bool .*object",
    ),
    "a list as wishes": (
        "return Signals(enter_long=[True] * 400)",
        "signals.enter_long: must be an array of bool .*list",
    ),
    "a column of pandas": (
        "import pandas\nreturn Signals(enter_long=pandas.Series(bars.close > 1.0))",
        "signals.enter_long: must be an array of bool .*Series",
    ),
    "a masked array": (
        "return Signals(enter_long=np.ma.masked_array(bars.close > 1.0))",
        "returned signals.enter_long as MaskedArray, not as a plain array",
    ),
    "single precision": (
        "return Signals(enter_long=bars.close > 1.0, limit=bars.close.astype('f4'))",
        "signals.limit: must be an array of float64 .*float32",
    ),
    "foreign byte order": (
        "return Signals(enter_long=bars.close > 1.0, limit=bars.close.astype('>f8'))",
        "signals.limit: must be an array of float64",
    ),
    "an endless price": (
        "return Signals(enter_long=bars.close > 1.0, limit=bars.close * np.inf)",
        r"signals.limit: must be above 0 and finite \(bar 0\) \(given: 'inf'\)",
    ),
    "a negative price": (
        "return Signals(enter_long=bars.close > 1.0, stop=-bars.close)",
        r"signals.stop: must be above 0 and finite \(bar 0\)",
    ),
    "a weight above one": (
        "return Signals(enter_long=bars.close > 1.0, weight=np.full(400, 1.5))",
        r"signals.weight: must be above 0 and at most 1 \(bar 0\)",
    ),
    "both sides": (
        "return Signals(enter_long=bars.close > 1.0, enter_short=bars.close > 1.0)",
        r"must not enter both sides at once \(bar 0\)",
    ),
}


@pytest.mark.parametrize("case", RETURNED)
def test_what_cannot_be_traded_is_told_with_the_line_of_the_function(case):
    source, failed = told(RETURNED, case)
    assert re.search(RETURNED[case][1], failed.what)
    assert failed.line == line_of(source, "def signals")


ANSWERS = {
    "noise": "os.write({fd}, os.urandom(5000))",
    "an endless answer": "os.write({fd}, struct.pack('<4sIQ', b'CVM1', 2, 2**40) + b'{{}}')",
    "a header of another kind": "os.write({fd}, struct.pack('<4sIQ', b'CVM1', 2, 0) + b'[]')",
    "a header with NaN": "say({fd}, {{'arrays': ['enter_long'], 'more': float('nan')}}, 400)",
    "arrays of other names": "say({fd}, {{'arrays': ['__class__']}}, 400)",
    "an array twice": "say({fd}, {{'arrays': ['weight', 'weight']}}, 6400)",
    "arrays cut short": "say({fd}, {{'arrays': ['enter_long']}}, 399)",
    "an error of another kind": "say({fd}, {{'error': 'none'}}, 0)",
    "nothing that was asked for": "say({fd}, {{}}, 0)",
}


def lying(lie: str) -> str:
    """A file that writes an answer of its own to every pipe it may find."""
    return text(
        f"""
        def say(fd, header, length):
            said = json.dumps(header).encode()
            os.write(fd, struct.pack('<4sIQ', b'CVM1', len(said), length) + said + b'x' * length)
        for name in os.listdir('/proc/self/fd'):
            if int(name) >= 100 and stat.S_ISFIFO(os.fstat(int(name)).st_mode):
                {lie.format(fd="int(name)")}
        {ABOVE}
        """,
        top="import json, os, stat, struct",
    )


@pytest.mark.parametrize("lie", ANSWERS.values(), ids=ANSWERS)
def test_garbage_in_place_of_an_answer_is_refused(lie):
    assert failure_of(lying(lie)).what == "sent an answer that cannot be read"


def test_an_error_that_is_made_up_is_bounded_and_printable():
    lie = "say({fd}, {{'error': {{'what': 'a\\0b' + 'x' * 100_000, 'line': '; DROP'}}}}, 0)"
    failed = failure_of(lying(lie))
    assert failed.what == "a b" + "x" * 496 + "…"
    assert failed.line is None


def test_bits_that_are_no_bits_become_wishes():
    got = signals_of(text("return Signals(enter_long=np.full(400, 255, np.uint8).view(bool))"))
    assert got.enter_long.view(np.uint8).tolist() == [1] * 400


def test_arrays_that_came_back_are_the_callers_own():
    got = signals_of(text(ABOVE))
    assert got.enter_long.flags.owndata
    assert got.enter_long.flags.writeable


def test_a_subclass_cannot_say_one_thing_to_the_check_and_another_to_the_trade():
    source = text(
        """
        class Sly(Signals):
            __slots__ = ("asked",)
            def __getattribute__(self, name):
                if name != "enter_long":
                    return object.__getattribute__(self, name)
                asked = getattr(Sly, "count", 0)
                Sly.count = asked + 1
                return np.ones(400, dtype=bool) if asked == 0 else "nothing"
        return Sly()
        """
    )
    assert signals_of(source).enter_long.all()


LINES = {
    "an error": ("raise ValueError('no')  # here", "raised ValueError: no"),
    "a list": ("return []  # here", None),
    "a list as a line": ("return {'a': [1.0]}", "returned lines.a, which is no array of float64"),
    "too few": ("return {'a': np.ones(3)}", r"returned lines.a of the shape \(3,\) for 400 bars"),
}


@pytest.mark.parametrize(("body", "what"), LINES.values(), ids=LINES)
def test_lines_that_are_wrong_are_told(body, what):
    source = text(lines=body)
    with pytest.raises(StrategyFailed, match=what or "returned list where lines by name are due"):
        calls.lines(file_of(source), BARS, {})
