"""What `remembering` keeps, for whom, how much and how long."""

from __future__ import annotations

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from candlevault.backtest import indicators as ind
from candlevault.backtest.indicators import averages
from candlevault.errors import InvalidRequest


def sealed(values) -> np.ndarray:
    array = np.array(values, dtype=np.float64)
    array.flags.writeable = False
    return array


@pytest.fixture
def close():
    return sealed(np.arange(1.0, 101.0))


def test_the_same_array_and_settings_give_the_same_answer_again(close):
    with ind.remembering():
        first = ind.sma(close, 5)
        assert ind.sma(close, 5) is first
        assert ind.sma(values=close, period=5) is first
        assert ind.rsi(close) is ind.rsi(close, 14)
        assert ind.macd(close) is ind.macd(close, 12, slow=26)
        assert ind.atr(close, close, close) is ind.atr(close, close, close, 14)


def test_what_is_remembered_equals_what_is_computed(close):
    plain = ind.bollinger(close, 7)
    with ind.remembering():
        for _ in range(2):
            for kept, fresh in zip(ind.bollinger(close, 7), plain, strict=True):
                assert kept.tobytes() == fresh.tobytes()


def test_other_settings_functions_and_orders_are_other_answers(close):
    other = sealed(close[::-1])
    with ind.remembering():
        assert ind.sma(close, 5) is not ind.sma(close, 6)
        assert ind.sma(close, 5) is not ind.ema(close, 5)
        assert ind.crosses_above(close, other).tolist() != ind.crosses_above(other, close).tolist()
        assert ind.bollinger(close, 5, 1.0).upper[-1] != ind.bollinger(close, 5, 2.0).upper[-1]


def test_an_equal_array_is_another_array(close):
    with ind.remembering():
        twin = sealed(close)
        assert ind.sma(twin, 5) is not ind.sma(close, 5)
        assert ind.sma(twin, 5) is ind.sma(twin, 5)


def test_a_number_that_equals_a_period_but_is_none_is_still_refused(close):
    with ind.remembering():
        ind.sma(close, 1)
        for wrong in (True, 1.0):
            with pytest.raises(InvalidRequest):
                ind.sma(close, wrong)


def test_no_array_inherits_the_answer_of_one_that_is_gone():
    """Identities are used again once an array is gone; those that are kept never are."""
    with ind.remembering():
        for value in range(200):
            assert ind.sma(sealed(np.full(20, float(value))), 4)[-1] == value


def test_an_array_that_can_be_written_to_is_computed_anew():
    values = np.arange(1.0, 30.0)
    window = values[:]
    window.flags.writeable = False
    with ind.remembering():
        for given in (values, window):
            before = ind.sma(given, 2)[-1]
            values *= 2.0
            assert ind.sma(given, 2)[-1] == 2.0 * before


def test_remembered_answers_cannot_be_written_to(close):
    with ind.remembering():
        for line in (ind.sma(close, 5), ind.sma(close, 5), *ind.macd(close), *ind.macd(close)):
            with pytest.raises(ValueError, match="read-only"):
                line[0] = 1.0


def test_nothing_is_kept_outside(close):
    assert ind.sma(close, 5) is not ind.sma(close, 5)
    with ind.remembering():
        kept = weakref.ref(ind.sma(close, 5))
        gc.collect()
        assert kept() is not None
    gc.collect()
    assert kept() is None
    with pytest.raises(ZeroDivisionError), ind.remembering():
        raise ZeroDivisionError
    assert ind.sma(close, 5) is not ind.sma(close, 5)


def test_the_inner_of_two_blocks_remembers_and_leaves_the_outer_as_it_was(close):
    with ind.remembering():
        outer = ind.sma(close, 5)
        with ind.remembering():
            assert ind.sma(close, 5) is not outer
        assert ind.sma(close, 5) is outer


def test_the_least_recently_used_go_first_when_the_limit_is_reached(close):
    # The input and three answers of 800 bytes each.
    with ind.remembering(limit_bytes=3200):
        two, three, four = (ind.sma(close, period) for period in (2, 3, 4))
        assert ind.sma(close, 2) is two
        ind.sma(close, 5)
        assert ind.sma(close, 2) is two
        assert ind.sma(close, 4) is four
        assert ind.sma(close, 3) is not three


def test_the_limit_holds_for_inputs_and_answers_together():
    seen = []

    def alive() -> int:
        return sum(800 for reference in seen if reference() is not None)

    with ind.remembering(limit_bytes=10_000):
        for value in range(50):
            values = sealed(np.full(100, float(value)))
            seen += [weakref.ref(values), weakref.ref(ind.ema(values, 3))]
            del values
            assert alive() <= 10_000
        assert alive() > 8_000


def test_an_answer_larger_than_the_limit_drives_out_nothing(close):
    large = sealed(np.arange(1.0, 1001.0))
    with ind.remembering(limit_bytes=4_000):
        small = ind.sma(close, 5)
        assert ind.sma(large, 5) is not ind.sma(large, 5)
        assert ind.sma(close, 5) is small


def test_bands_share_their_middle_with_the_average_and_count_it_once(close):
    # close, average, deviation, lower and upper: five arrays of 800 bytes
    with ind.remembering(limit_bytes=4_000):
        bands = ind.bollinger(close, 5)
        assert ind.sma(close, 5) is bands.middle
        assert ind.bollinger(close, 5) is bands


def test_threads_share_what_is_remembered(close):
    with ind.remembering(), ThreadPoolExecutor(4) as pool:
        first = ind.ema(close, 9)
        assert all(line is first for line in pool.map(lambda _: ind.ema(close, 9), range(50)))


def test_threads_that_ask_at_the_same_moment_get_one_array(close, monkeypatch):
    meet = threading.Barrier(4, timeout=60)
    smooth = averages._smooth

    def together(*args):
        meet.wait()
        smooth(*args)

    monkeypatch.setattr(averages, "_smooth", together)
    with ind.remembering(), ThreadPoolExecutor(4) as pool:
        lines = list(pool.map(lambda _: ind.ema(close, 9), range(4)))
    assert all(line is lines[0] for line in lines)


def test_many_threads_under_a_tight_limit_get_right_answers(close):
    plain = {period: ind.sma(close, period).tobytes() for period in range(1, 21)}

    def ask(i):
        period = 1 + (i * 7) % 20
        return ind.sma(close, period).tobytes() == plain[period]

    with ind.remembering(limit_bytes=4_000), ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(2_000)))
