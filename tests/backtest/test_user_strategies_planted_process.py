"""The process that a strategy runs in: what it does to it, what it finds there, and who asks."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from candlevault.backtest.user_strategies import calls, process
from tests.support.planted_strategies import BARS, failure_of, nothing_left, signals_of
from tests.support.user_strategies import ABOVE_THE_MEAN as ABOVE
from tests.support.user_strategies import file_of, text

__all__ = ["nothing_left"]


def test_a_copy_of_the_process_does_not_answer_in_its_place():
    source = text(
        "os.fork()\nreturn Signals(enter_long=bars.close > params['above'])", top="import os"
    )
    wanted = [({"above": above}, len(BARS.close)) for above in range(95, 105)]
    got = list(calls.signals(file_of(source), BARS, wanted))
    for (params, _), one in zip(wanted, got, strict=True):
        assert np.array_equal(one.enter_long, BARS.close > params["above"])


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
