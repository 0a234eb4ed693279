"""Planted strategies that do not end, die or kill: told by line, and nothing of them is left."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest

from candlevault import paths
from candlevault.backtest.signals import Signals
from candlevault.backtest.user_strategies import calls, process, warden
from candlevault.backtest.user_strategies.process import Limits
from candlevault.errors import StrategyFailed
from tests.support.planted_strategies import BARS, failure_of, nothing_left, signals_of
from tests.support.user_strategies import ABOVE_THE_MEAN as ABOVE
from tests.support.user_strategies import file_of, line_of, text

__all__ = ["nothing_left"]

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


def test_a_process_that_leaves_its_group_and_kills_who_watches_it_dies_too(tmp_path):
    note = tmp_path / "pid"
    leave = f"import os; os.setsid()\nopen({str(note)!r}, 'w').write(str(os.getpid()))\n"
    source = text(leave + KILL.format(whom="os.getppid()"))
    assert "were killed" in failure_of(source).what
    while psutil.pid_exists(int(note.read_text())):
        time.sleep(0.01)


def test_one_file_that_hangs_while_it_is_read(monkeypatch):
    source = text(top="while True: pass  # here")
    with pytest.raises(StrategyFailed) as caught:
        calls.describe(file_of(source), Limits(1, 1024))
    assert str(caught.value) == (
        f"strategy planted (planted.py line {line_of(source)}): did not end within 1 s"
    )


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
from tests.support import planted_strategies as planted
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


def test_one_who_watches_and_is_stopped_himself_is_not_waited_for_for_ever(monkeypatch):
    monkeypatch.setenv("CANDLEVAULT_STRATEGY_TIMEOUT_S", "1")
    for name in ("START_S", "GRACE_S"):
        monkeypatch.setattr(warden, name, 0.5)
    monkeypatch.setattr(process, "_SLACK_S", 0.5)
    stop = KILL.format(whom="os.getppid()").replace("9", str(int(signal.SIGSTOP)))
    assert failure_of(text(stop)).what == "did not end within 1 s"
