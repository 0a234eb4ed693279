"""The pace: never more calls in any minute than allowed, by however many threads."""

from __future__ import annotations

import threading
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candlevault.providers.pace import Pace, pace_of


class Time:
    """A clock that sleeping moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        assert self.now + seconds > self.now, "a sleep that no clock can count never ends"
        self.slept.append(seconds)
        self.now += seconds


def calls(per_minute: int, pauses: list[float], apart_s: float = 0.0) -> list[float]:
    """The instants at which calls are granted, each asked for a pause after the one before."""
    time = Time()
    pace = Pace(per_minute, apart_s, clock=lambda: time.now, sleep=time.sleep)
    granted = []
    for pause in pauses:
        time.now += pause
        pace.wait()
        granted.append(time.now)
    return granted


def test_calls_below_the_limit_do_not_wait():
    assert calls(5, [0, 0, 0, 0, 0]) == [1000.0] * 5


def test_the_call_beyond_the_limit_waits_for_the_oldest_to_be_a_minute_old():
    assert calls(2, [0, 10, 0, 0]) == [1000.0, 1010.0, 1060.0, 1070.0]


def test_calls_are_kept_apart():
    assert calls(100, [0, 0, 5, 0], apart_s=1.5) == pytest.approx([1000.0, 1001.5, 1006.5, 1008.0])


@given(
    per_minute=st.integers(1, 10),
    apart_s=st.sampled_from([0.0, 0.5, 3.0]),
    pauses=st.lists(st.floats(0, 40), min_size=1, max_size=40),
)
def test_no_minute_has_more_calls_than_allowed(per_minute, apart_s, pauses):
    granted = calls(per_minute, pauses, apart_s)
    for i, instant in enumerate(granted):
        within = [other for other in granted[i:] if other < instant + 60 - 0.01]
        assert len(within) <= per_minute
    assert all(b - a >= apart_s - 0.01 for a, b in pairwise(granted))


def test_threads_share_one_pace():
    time = Time()
    lock = threading.Lock()

    def sleep(seconds: float) -> None:
        with lock:
            time.sleep(seconds)

    pace = Pace(3, clock=lambda: time.now, sleep=sleep)
    threads = [threading.Thread(target=pace.wait) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert time.now >= 1060


def test_a_provider_has_one_pace_in_a_process():
    assert pace_of("a", 5) is pace_of("a", 5)
    assert pace_of("a", 5) is not pace_of("b", 5)
