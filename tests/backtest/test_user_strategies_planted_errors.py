"""Planted strategies that raise: told by name and line."""

from __future__ import annotations

import re

import pytest

from candlevault.backtest.signals import Signals
from candlevault.backtest.user_strategies import calls
from candlevault.errors import StrategyFailed
from tests.support.planted_strategies import BARS, nothing_left, told
from tests.support.user_strategies import ABOVE_THE_MEAN as ABOVE
from tests.support.user_strategies import file_of, line_of, text

__all__ = ["nothing_left"]

RAISED = {
    "an error": ("1 / 0  # here", "raised ZeroDivisionError: division by zero"),
    "an error three calls deep": (
        "def one(): two()\ndef two(): [][1]  # here\none()",
        "raised IndexError: list index out of range",
    ),
    "an error in a library": (
        "from candlevault.backtest.indicators import sma\nsma(bars.close, 0)  # here",
        "raised InvalidRequest: period: must be a whole number",
    ),
    "an end of the program": ("import sys; sys.exit(3)  # here", "raised SystemExit: 3"),
    "an interrupt": ("raise KeyboardInterrupt  # here", "raised KeyboardInterrupt"),
    "a base exception of its own": (
        "class Mine(BaseException): pass\nraise Mine('x' * 10_000)  # here",
        "raised Mine: x{299}…",
    ),
    "an error that cannot say what it is": (
        "class Mute(Exception):\n    def __str__(self): raise Mute\nraise Mute  # here",
        "raised Mute: an error that cannot say what it is",
    ),
    "an error with control characters": (
        "raise ValueError('a\\0b\\nc\\x1b[31m\\ud800')  # here",
        r"raised ValueError: a b c \[31m",
    ),
    "a recursion": ("def on(): on()  # here\non()", "raised RecursionError"),
    "a change of the bars": ("bars.close[0] = 1.0  # here", "raised ValueError.*read-only"),
    "a change of the bars by force": (
        "bars.close.flags.writeable = True  # here",
        "raised ValueError: cannot set WRITEABLE flag",
    ),
    "an input": ("input()  # here", "raised EOFError"),
    "a signal to itself": (
        "import os; os.kill(os.getpid(), 9)  # here",
        "raised PermissionError: a strategy must not send signals",
    ),
    "a signal to its parent": (
        "import os; os.kill(os.getppid(), 9)  # here",
        "raised PermissionError: a strategy must not send signals",
    ),
    "a signal to its group": (
        "import os; os.killpg(0, 9)  # here",
        "raised PermissionError: a strategy must not send signals",
    ),
    "a secret that it looks for": (
        "import os; os.environ['CANDLEVAULT_DB_URL']  # here",
        "raised KeyError: 'CANDLEVAULT_DB_URL'",
    ),
    "all memory": (
        "return np.ones(100 * 1024**3, dtype=bool)  # here",
        "used more than 2048 MB of memory",
    ),
    "memory bit by bit": (
        "held = []\nwhile True: held.append(np.empty(1 << 23))  # here",
        "used more than 2048 MB of memory",
    ),
}


@pytest.mark.parametrize("case", RAISED)
def test_what_is_raised_is_told_with_its_line(case):
    source, failed = told(RAISED, case)
    assert re.search(RAISED[case][1], failed.what)
    here = (
        RAISED[case][0]
        .splitlines()
        .index(next(line for line in RAISED[case][0].splitlines() if "# here" in line))
    )
    begin = line_of(source, f"def case_{list(RAISED).index(case)}(")
    assert failed.line == begin + 1 + here


def test_a_call_that_fails_does_not_keep_the_next_from_being_done():
    source = text(f"if params['n'] == 2: raise ValueError('two')\n{ABOVE}")
    wanted = [({"n": n}, 400) for n in (1, 2, 3)]
    answers = list(calls.signals(file_of(source), BARS, wanted))
    assert [isinstance(one, Signals) for one in answers] == [True, False, True]
    assert isinstance(answers[1], StrategyFailed)
