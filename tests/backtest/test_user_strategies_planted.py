"""Broken strategies, one defect each: told by name and line, and nothing of them is left."""

from __future__ import annotations

import functools
import os
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest

from candlevault import paths
from candlevault.backtest.signals import Signals
from candlevault.backtest.user_strategies import calls, process, warden
from candlevault.backtest.user_strategies.process import Limits
from candlevault.errors import StrategyFailed
from tests.support.user_strategies import bars_of, file_of, line_of, text

BARS = bars_of()


@pytest.fixture(autouse=True)
def nothing_left(tmp_path, monkeypatch):
    """No process, file, descriptor or mode stays behind, whatever a test plants."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    folder.chmod(0o1777)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("CANDLEVAULT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CANDLEVAULT_STRATEGY_TIMEOUT_S", "20")
    monkeypatch.setenv("CANDLEVAULT_DB_URL", "postgresql://secret@nowhere/market")
    before, held = _children(), _descriptors()
    yield
    assert _children() == before
    # Fewer are none of this test's: what others left may be collected meanwhile.
    assert _descriptors() <= held
    assert list(folder.iterdir()) == []
    # The folder is everybody's: cleaning up must not close it.
    assert folder.stat().st_mode & 0o7777 == 0o1777
    assert not (tmp_path / "home").exists()


def _children() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


def _descriptors() -> int:
    return psutil.Process().num_fds()


def signals_of(source: str, **params) -> Signals:
    (answer,) = calls.signals(file_of(source), BARS, [(params, len(BARS.close))])
    if isinstance(answer, StrategyFailed):
        raise answer
    return answer


def failure_of(source: str) -> StrategyFailed:
    with pytest.raises(StrategyFailed) as caught:
        signals_of(source)
    check(caught.value)
    return caught.value


def check(failed: StrategyFailed) -> None:
    """What holds for every failure."""
    assert str(failed).startswith("strategy planted (planted.py")
    assert not failed.transient
    assert str(failed).isprintable()
    assert len(str(failed)) < 600


@functools.cache
def answers_to(cases: tuple[str, ...]) -> tuple[str, list[Signals | StrategyFailed]]:
    """The answers to one call of each body, all of one process, and its file."""
    functions = "".join(
        f"\ndef case_{number}(bars, params):\n{textwrap.indent(body, '    ')}  # {number}\n"
        for number, body in enumerate(cases)
    )
    source = text("return globals()[f'case_{params[\"case\"]}'](bars, params)", top=functions)
    wanted = [({"case": number}, len(BARS.close)) for number in range(len(cases))]
    return source, list(calls.signals(file_of(source), BARS, wanted))


def told(cases: dict[str, tuple[str, str]], case: str) -> tuple[str, StrategyFailed]:
    """The file and the failure of one of many cases, each of which fails."""
    source, answers = answers_to(tuple(body for body, _ in cases.values()))
    failed = answers[list(cases).index(case)]
    assert isinstance(failed, StrategyFailed)
    check(failed)
    return source, failed


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


NEVER_ENDING = {
    "a loop": "while True: pass  # here",
    "a sleep": "import time; time.sleep(3600)  # here",
    "a loop that takes no exception": """
        while True:
            try:
                while True: pass  # here
            except BaseException:
                pass
        """,
    "a regular expression that holds the interpreter": (
        "import re; re.match('(a*)*b', 'a' * 60)  # here"
    ),
    "a call of C that holds the interpreter": "sum(range(10 ** 15))  # here",
    "a wait for a thread of its own": """
        import threading
        waiting = threading.Thread(target=threading.Event().wait)
        waiting.start()
        waiting.join()  # here
        """,
    "an endless print": "while True: print('x' * 10_000)  # here",
    "a property of what it returns": """
        class Late(Signals):
            def __getattribute__(self, name):
                while True: pass  # here
        return Late()
        """,
}


@pytest.mark.parametrize("body", NEVER_ENDING.values(), ids=NEVER_ENDING)
def test_what_does_not_end_is_ended_and_the_line_told(body, monkeypatch):
    monkeypatch.setenv("CANDLEVAULT_STRATEGY_TIMEOUT_S", "1")
    source = text(body)
    failed = failure_of(source)
    assert failed.what == "did not end within 1 s"
    assert failed.line == line_of(source)


DYING = {
    "an exit without a word": (
        "import os; os._exit(0)  # here",
        "ended its process with code 0 before it had answered",
    ),
    "a crash": (
        "import ctypes; ctypes.string_at(0)  # here",
        r"its process was ended by signal 11 \(SIGSEGV\)",
    ),
    "an abort": ("import os; os.abort()  # here", r"its process was ended by signal 6 \(SIGABRT\)"),
}


@pytest.mark.parametrize(("body", "what"), DYING.values(), ids=DYING)
def test_a_process_that_dies_is_told_with_the_line_where_it_was(body, what):
    source = text(body)
    failed = failure_of(source)
    assert re.fullmatch(what, failed.what)
    assert failed.line == line_of(source)


KILL = "import ctypes, os; ctypes.CDLL(None).kill({whom}, 9)\nimport time; time.sleep(3600)"


def test_a_process_that_kills_itself_behind_the_interpreter_is_told():
    failed = failure_of(text(KILL.format(whom="os.getpid()")))
    assert failed.what == "its process was ended by signal 9 (SIGKILL)"


@pytest.mark.parametrize("whom", ["os.getppid()", "0"], ids=["its parent", "its group"])
def test_a_process_that_kills_who_watches_it_dies_with_it(whom):
    failed = failure_of(text(KILL.format(whom=whom)))
    assert failed.what == "its process and the one that watched over it were killed"


@pytest.mark.parametrize(
    "how",
    [
        "pass",
        "os.setsid()",
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
        "os.setsid()\n    if os.fork(): os._exit(0)",
    ],
    ids=["plain", "of a session of its own", "that ignores signals", "made a daemon"],
)
def test_a_process_that_the_strategy_started_does_not_stay(how, tmp_path):
    note = tmp_path / "pid"
    source = text(
        f"""
if os.fork() == 0:
    {how}
    open({str(note)!r}, "w").write(str(os.getpid()))
    time.sleep(3600)
while not os.path.exists({str(note)!r}) or not os.path.getsize({str(note)!r}):
    time.sleep(0.01)
{ABOVE}""",
        top="import os, signal, time",
    )
    assert signals_of(source).enter_long.any()
    assert not psutil.pid_exists(int(note.read_text()))


ABOVE = "return Signals(enter_long=bars.close > 100.0, exit_long=bars.close < 100.0)"


def test_many_processes_that_start_more_of_them_do_not_stay(monkeypatch):
    monkeypatch.setenv("CANDLEVAULT_STRATEGY_TIMEOUT_S", "1")
    source = text(
        "for _ in range(6): os.fork()  # here\nwhile True: pass  # there", top="import os"
    )
    failed = failure_of(source)
    assert failed.what == "did not end within 1 s"
    assert failed.line in (line_of(source), line_of(source, "# there"))


def test_one_who_silences_who_tells_the_line_is_ended_all_the_same(monkeypatch):
    monkeypatch.setenv("CANDLEVAULT_STRATEGY_TIMEOUT_S", "1")
    source = text(
        "faulthandler.cancel_dump_traceback_later()\nwhile True: pass", top="import faulthandler"
    )
    failed = failure_of(source)
    assert (failed.what, failed.line) == ("did not end within 1 s", None)


def test_a_copy_of_the_process_does_not_answer_in_its_place():
    source = text(
        "os.fork()\nreturn Signals(enter_long=bars.close > params['above'])", top="import os"
    )
    wanted = [({"above": above}, len(BARS.close)) for above in range(95, 105)]
    got = list(calls.signals(file_of(source), BARS, wanted))
    for (params, _), one in zip(wanted, got, strict=True):
        assert np.array_equal(one.enter_long, BARS.close > params["above"])


def test_a_process_that_leaves_its_group_and_kills_who_watches_it_dies_too(tmp_path):
    note = tmp_path / "pid"
    leave = f"import os; os.setsid()\nopen({str(note)!r}, 'w').write(str(os.getpid()))\n"
    source = text(leave + KILL.format(whom="os.getppid()"))
    assert "were killed" in failure_of(source).what
    while psutil.pid_exists(int(note.read_text())):
        time.sleep(0.01)


HARMLESS = {
    "a copy of its process that returns": "import os; os.fork()",
    "a thread left running": (
        "import threading, time\nthreading.Thread(target=time.sleep, args=(3600,)).start()"
    ),
    "output closed": "import sys; sys.stdout.close(); sys.stderr.close()",
    "descriptors closed": "import os; os.closerange(0, 60)",
    "much output": "print('x' * 10_000_000)",
    "another environment": "import os; os.environ['CANDLEVAULT_HOME'] = '/'; os.chdir('/')",
    "files written": "open('left.txt', 'w').write('x'); import os; os.makedirs('a/b')",
    "a folder that cannot be read": "import os; os.makedirs('a/b'); os.chmod('a', 0)",
    "an error it swallows": "try:\n    1 / 0\nexcept Exception: pass",
    "limits it lifts": (
        "import resource\nresource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
        "import faulthandler; faulthandler.cancel_dump_traceback_later()"
    ),
    "another way of writing": "import os; os.write = None",
}


@pytest.mark.parametrize("body", HARMLESS.values(), ids=HARMLESS)
def test_what_a_strategy_does_to_its_own_process_changes_nothing(body):
    got = signals_of(text(f"{body}\n{ABOVE}"))
    assert np.array_equal(got.enter_long, BARS.close > 100.0)
    assert np.array_equal(got.exit_long, BARS.close < 100.0)
    assert got.enter_short is None


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


def test_one_file_that_hangs_while_it_is_read(monkeypatch):
    source = text(top="while True: pass  # here")
    with pytest.raises(StrategyFailed) as caught:
        calls.describe(file_of(source), Limits(1, 1024))
    assert str(caught.value) == (
        f"strategy planted (planted.py line {line_of(source)}): did not end within 1 s"
    )


def test_every_call_has_the_whole_time():
    # 4.8 s together, with 2 s for each of them.
    source = text(f"import time; time.sleep(0.4)\n{ABOVE}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CANDLEVAULT_STRATEGY_TIMEOUT_S", "2")
        assert len(list(calls.signals(file_of(source), BARS, [({}, 400)] * 12))) == 12


def test_many_calls_are_done_by_one_process():
    source = text(
        "return Signals(enter_long=bars.close > 0, limit=np.full(len(bars.close),"
        " float(os.getpid())))",
        top="import os",
    )
    answers = list(calls.signals(file_of(source), BARS, [({}, n) for n in (1, 50, 400)]))
    assert [len(one.limit) for one in answers] == [1, 50, 400]
    assert len({one.limit[0] for one in answers}) == 1
    assert answers[0].limit[0] != os.getpid()


def test_a_call_that_fails_does_not_keep_the_next_from_being_done():
    source = text(f"if params['n'] == 2: raise ValueError('two')\n{ABOVE}")
    wanted = [({"n": n}, 400) for n in (1, 2, 3)]
    answers = list(calls.signals(file_of(source), BARS, wanted))
    assert [isinstance(one, Signals) for one in answers] == [True, False, True]
    assert isinstance(answers[1], StrategyFailed)


def test_a_caller_who_loses_interest_ends_the_process(tmp_path):
    note = tmp_path / "pid"
    source = text(
        f"open({str(note)!r}, 'w').write(str(os.getpid()))\n"
        f"if params['n'] > 0: time.sleep(3600)\n{ABOVE}",
        top="import os, time",
    )
    answers = calls.signals(file_of(source), BARS, [({"n": n}, 400) for n in range(9)])
    assert isinstance(next(answers), Signals)
    assert psutil.pid_exists(int(note.read_text()))
    answers.close()
    assert not psutil.pid_exists(int(note.read_text()))


_ASK = """
import sys, tempfile
tempfile.tempdir = sys.argv[2]
from tests.backtest import test_user_strategies_planted as planted
planted.signals_of(sys.argv[1])
"""


def test_a_strategy_ends_with_the_process_that_asked(tmp_path):
    # The one who asks is killed without warning while the strategy hangs.
    note = tmp_path / "pid"
    source = text(
        f"open({str(note)!r}, 'w').write(str(os.getpid()))\nwhile True: pass", top="import os"
    )
    asking = subprocess.Popen(
        [sys.executable, "-c", _ASK, source, str(tmp_path / "temporary")],
        env={**os.environ, "PYTHONPATH": f"{paths.PLUGINS}:{paths.PROJECT}"},
    )
    while not note.is_file() or not note.read_text():
        time.sleep(0.01)
    asking.kill()
    asking.wait()
    folder = tmp_path / "temporary"
    give_up = time.monotonic() + 60
    while psutil.pid_exists(int(note.read_text())) or list(folder.iterdir()):
        assert time.monotonic() < give_up, "something stayed behind"
        time.sleep(0.01)


def test_results_do_not_depend_on_the_process(monkeypatch):
    # Sets of texts come in another order in every process that hashes with another seed.
    source = text(
        "order = [len(word) for word in {'a', 'bb', 'ccc', 'dddd', 'eeeee'}]\n"
        "return Signals(enter_long=bars.close > 0, limit=np.resize(np.array(order, float), 400))"
    )
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    one = signals_of(source)
    monkeypatch.setenv("PYTHONHASHSEED", "8")
    assert one.differs(signals_of(source)) is None


def test_what_a_strategy_prints_is_logged_and_cut(caplog):
    caplog.set_level("INFO")
    signals_of(text(f"print('look here'); print('x' * 1_000_000)\n{ABOVE}"))
    (record,) = caplog.records
    assert record.getMessage().startswith("strategy planted printed: look here")
    assert len(record.getMessage()) < 5000


def test_one_who_watches_and_is_stopped_himself_is_not_waited_for_for_ever(monkeypatch):
    monkeypatch.setenv("CANDLEVAULT_STRATEGY_TIMEOUT_S", "1")
    for name in ("START_S", "GRACE_S"):
        monkeypatch.setattr(warden, name, 0.5)
    monkeypatch.setattr(process, "_SLACK_S", 0.5)
    stop = KILL.format(whom="os.getppid()").replace("9", str(int(signal.SIGSTOP)))
    assert failure_of(text(stop)).what == "did not end within 1 s"


def test_it_is_the_first_to_go_when_the_machine_lacks_memory_and_dumps_no_core():
    source = text(
        f"""
        assert open("/proc/self/oom_score_adj").read().strip() == "1000"
        for kind in (resource.RLIMIT_CORE, resource.RLIMIT_AS, resource.RLIMIT_CPU):
            soft, hard = resource.getrlimit(kind)
            assert soft == hard != resource.RLIM_INFINITY, kind
        {ABOVE}
        """,
        top="import resource",
    )
    assert signals_of(source).enter_long.any()


def test_bars_hold_nothing_past_their_end():
    # A view of a longer array would give the future away.
    source = text(
        "held = bars.close.base\nreturn Signals(enter_long=bars.close > 0,"
        " limit=np.full(len(bars.close), float(len(held))))"
    )
    one, two = calls.signals(file_of(source), BARS, [({}, 10), ({}, 400)])
    assert (one.limit[0], two.limit[0]) == (80.0, 3200.0)


def test_many_threads_may_ask_at_once():
    source = text("return Signals(enter_long=bars.close > params['above'])")
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda above: signals_of(source, above=above), range(96, 104)))
    for above, one in zip(range(96, 104), got, strict=True):
        assert np.array_equal(one.enter_long, BARS.close > above)


def test_a_machine_that_cannot_start_a_process_is_told(monkeypatch):
    monkeypatch.setattr(process.sys, "executable", "/nowhere/python")
    failed = failure_of(text())
    assert failed.what == "no process could be started: No such file or directory"


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
