"""A strategy that knows the future is found out; one that keeps to the past never is."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candlevault.backtest import evaluation, indicators
from candlevault.backtest.data.frame import Bars
from candlevault.backtest.signals import Signals
from candlevault.backtest.strategies import registry
from candlevault.backtest.strategies.contract import Strategy
from candlevault.backtest.trust import lookahead
from candlevault.backtest.user_strategies import description
from candlevault.errors import StrategyFailed
from tests.support.user_strategies import bars_of, file_of, line_of, text

COUNT = 400
BARS = bars_of(COUNT)
HERE = Path(__file__).name


def strategy_of(signals, name="planted") -> Strategy:
    return Strategy(
        name=name,
        version="1",
        title="Planted",
        description="Planted by a test.",
        parameters=(),
        signals=signals,
        lines=lambda bars, params: {},
    )


def long_where(function):
    return lambda bars, params: Signals(enter_long=function(bars), exit_long=~function(bars))


def next_close(bars: Bars) -> np.ndarray:
    return np.append(bars.close[1:], np.nan)


def z_score(bars: Bars) -> np.ndarray:
    return (bars.close - bars.close.mean()) / (bars.close.std() or 1.0)


def at(row: int, count: int) -> np.ndarray:
    rows = np.zeros(count, dtype=bool)
    rows[row] = True
    return rows


def suppressed(bars: Bars) -> np.ndarray:
    # Honest entries, but for those after which the price falls: nothing tells at the entries.
    return (bars.close > 100.0) & ~(next_close(bars) < bars.close - 1.0)


CHEATS = {
    "the mean of everything": long_where(lambda bars: bars.close > bars.close.mean()),
    "a z-score over everything": long_where(lambda bars: z_score(bars) < -1.0),
    "a scale from least to greatest": long_where(
        lambda bars: (bars.close - bars.close.min()) / (np.ptp(bars.close) or 1.0) < 0.2
    ),
    "ranks over everything": long_where(lambda bars: bars.close.argsort().argsort() < 50),
    "the next close": long_where(lambda bars: next_close(bars) > bars.close),
    "the close of ten bars later": long_where(
        lambda bars: (
            np.append(bars.close[10:], np.full(min(10, len(bars.close)), np.nan)) > bars.close
        )
    ),
    "the lowest close of all": long_where(
        lambda bars: at(int(bars.close.argmin()), len(bars.close))
    ),
    "a centred average": long_where(
        lambda bars: bars.close > np.convolve(bars.close, np.ones(5) / 5, mode="same")
    ),
    "sums from the end": long_where(lambda bars: np.cumsum(bars.close[::-1])[::-1] > 10_000.0),
    "the last bar": lambda bars, params: Signals(
        enter_long=bars.close > 100.0,
        exit_long=at(len(bars.close) - 1, len(bars.close)),
    ),
    "how many bars there are": long_where(
        lambda bars: np.full(len(bars.close), len(bars.close) > 300)
    ),
    "only a price": lambda bars, params: Signals(
        enter_long=bars.close > 100.0, limit=np.append(bars.low[1:], bars.low[-1])
    ),
    "entries left out": long_where(suppressed),
    "only the short side": lambda bars, params: Signals(enter_short=bars.close > bars.close.mean()),
    "a wish for all or nothing": lambda bars, params: (
        Signals(enter_long=bars.close > 0.0) if len(bars.close) == COUNT else Signals()
    ),
}


@pytest.mark.parametrize("cheat", CHEATS.values(), ids=CHEATS)
@pytest.mark.parametrize("seed", range(5))
def test_a_look_at_later_bars_is_found_wherever_the_cuts_lie(cheat, seed):
    with pytest.raises(StrategyFailed) as caught:
        lookahead.check(strategy_of(cheat), BARS, {}, seed=seed)
    failed = caught.value
    assert failed.what.startswith("looks ahead: ")
    assert failed.file == HERE
    assert failed.line == cheat.__code__.co_firstlineno


def test_the_message_names_the_bar_and_what_was_known():
    # Long from bar 3 on if there is a bar 5; cut at 4 bars, the wish at bar 3 is gone.
    def signals(bars, params):
        rows = np.zeros(len(bars.close), dtype=bool)
        rows[3:] = len(bars.close) > 5
        return Signals(enter_long=rows)

    with pytest.raises(StrategyFailed) as caught:
        lookahead.check(strategy_of(signals), bars_of(6), {}, seed=1)
    assert caught.value.what == (
        "looks ahead: the wish at 2024-01-01T03:00:00Z is another one when it knows only"
        " the 4 of 6 bars up to 2024-01-01T03:00:00Z"
    )
    line = signals.__code__.co_firstlineno
    assert str(caught.value).startswith(f"strategy planted ({HERE} line {line}): looks ahead")


def test_a_strategy_that_cannot_work_without_the_future_looks_ahead():
    def signals(bars, params):
        return Signals(enter_long=np.full(len(bars.close), bars.close[300] > 0.0))

    with pytest.raises(
        StrategyFailed,
        match=r"looks ahead: it fails when it knows only the \d+ "
        r"of 400 bars up to .*: it raised IndexError",
    ):
        lookahead.check(strategy_of(signals), BARS, {}, seed=1)


def test_a_strategy_may_refuse_to_work_before_it_could_wish_anything():
    def signals(bars, params):
        if len(bars.close) < 200:
            raise ValueError("too few bars")
        rows = bars.close > 100.0
        rows[:199] = False
        return Signals(enter_long=rows)

    assert lookahead.check(strategy_of(signals), BARS, {}, seed=1).cuts


def test_a_strategy_that_never_wishes_anything_knows_nothing():
    def signals(bars, params):
        if len(bars.close) < 200:
            raise ValueError("too few bars")
        return Signals()

    assert lookahead.check(strategy_of(signals), BARS, {}, seed=1).cuts


class TestDeterminism:
    def test_chance_is_found(self):
        chance = np.random.default_rng()

        def signals(bars, params):
            return Signals(enter_long=chance.random(len(bars.close)) > 0.5)

        with pytest.raises(StrategyFailed, match="is not deterministic: asked again for the same"):
            lookahead.check(strategy_of(signals), BARS, {}, seed=1)

    def test_a_strategy_that_works_only_once_is_found(self):
        calls = itertools.count()

        def signals(bars, params):
            if len(bars.close) == COUNT and next(calls):
                raise RuntimeError("again?")
            return Signals(enter_long=bars.close > 100.0)

        with pytest.raises(
            StrategyFailed,
            match="failed when it was asked again for the same bars: it raised RuntimeError: again",
        ):
            lookahead.check(strategy_of(signals), BARS, {}, seed=1)

    def test_values_where_nothing_is_wished_may_be_anything(self):
        chance = np.random.default_rng()

        def signals(bars, params):
            wished = bars.close > 105.0
            return Signals(enter_long=wished, stop=np.where(wished, 1.0, chance.random()))

        assert lookahead.check(strategy_of(signals), BARS, {}, seed=1).cuts


@pytest.fixture
def own_folders(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("CANDLEVAULT_STRATEGY_TIMEOUT_S", "20")


def users(source: str) -> Strategy:
    """The strategy of a file, as the registry makes it."""
    said = {
        "name": "planted",
        "version": "1",
        "title": "t",
        "description": "d",
        "parameters": [],
        "rules": [],
        "line": line_of(source, "def signals"),
    }
    return description.strategy(file_of(source), said)


@pytest.mark.usefixtures("own_folders")
class TestFilesOfTheUser:
    @pytest.mark.parametrize(
        "body",
        [
            "return Signals(enter_long=bars.close > bars.close.mean())",
            "return Signals(enter_long=np.append(bars.close[1:], 0.0) > bars.close)",
            """
            import pandas as pd
            closes = pd.Series(bars.close)
            rises = (closes.shift(-1) > closes).to_numpy()
            return Signals(enter_long=rises)
            """,
        ],
        ids=["the mean", "the next close", "shifted with pandas"],
    )
    def test_a_cheat_is_told_with_the_line_of_its_function(self, body):
        source = text(body)
        with pytest.raises(StrategyFailed) as caught:
            lookahead.check(users(source), BARS, {}, seed=1)
        where = f"strategy planted (planted.py line {line_of(source, 'def signals')}): "
        assert str(caught.value).startswith(where + "looks ahead: the wish at ")

    def test_what_it_remembers_of_a_longer_history_does_not_help(self):
        source = text(
            """
            global longest
            if len(bars.close) > len(longest):
                longest = bars.close
            return Signals(enter_long=bars.close > longest.mean())
            """,
            top="longest = np.empty(0)",
        )
        with pytest.raises(StrategyFailed, match="looks ahead"):
            lookahead.check(users(source), BARS, {}, seed=1)

    @pytest.mark.parametrize(
        "body",
        [
            "return Signals(enter_long=np.random.rand(len(bars.close)) > 0.5)",
            "import os\nreturn Signals(enter_long=bars.close > 0, stop=bars.close + os.getpid())",
            "import time\nreturn Signals(enter_long=bars.close > 0, stop=bars.close + time.time())",
        ],
        ids=["chance", "its process", "the clock"],
    )
    def test_what_differs_from_run_to_run_is_not_deterministic(self, body):
        with pytest.raises(StrategyFailed, match=r"planted.py line \d+\): is not deterministic"):
            lookahead.check(users(text(body)), BARS, {}, seed=1)

    def test_an_honest_one_passes_with_two_processes(self, monkeypatch):
        started = []
        begin = description.calls.Process.__init__

        def counted(self, *given, **more):
            started.append(1)
            begin(self, *given, **more)

        monkeypatch.setattr(description.calls.Process, "__init__", counted)
        checked = lookahead.check(users(text()), BARS, {}, seed=1)
        assert checked.as_dict() == {"cuts": len(checked.cuts), "changed": 0}
        assert len(checked.cuts) > lookahead.CUTS
        assert len(started) == 2


# A strategy that parses its settings itself has none of its own to be tried with.
@pytest.mark.parametrize("name", [n for n, one in registry.builtin().items() if one.parse is None])
def test_every_built_in_strategy_keeps_to_the_past(name):
    strategy = registry.get(name)
    bars = bars_of(1500, seed=3)
    assert lookahead.check(strategy, bars, strategy.parse_params({}), seed=2).cuts


PAST = {
    "average": lambda bars, n: indicators.sma(bars.close, n),
    "exponential average": lambda bars, n: indicators.ema(bars.close, n),
    "strength": lambda bars, n: indicators.rsi(bars.close, n) + 50.0,
    "highest": lambda bars, n: indicators.highest(bars.high, n),
    "sum so far": lambda bars, n: np.cumsum(bars.volume) / np.arange(1, len(bars.close) + 1) * 100,
    "highest so far": lambda bars, n: np.maximum.accumulate(bars.close) - n,
    "close before": lambda bars, n: np.concatenate(
        [np.full(min(n, len(bars.close)), np.nan), bars.close[: max(0, len(bars.close) - n)]]
    ),
}


@settings(database=None, derandomize=True, deadline=None, max_examples=60)
@given(
    entry=st.sampled_from(sorted(PAST)),
    exit=st.sampled_from(sorted(PAST)),
    period=st.integers(1, 60),
    side=st.sampled_from(["long", "short"]),
    count=st.integers(1, 300),
    walk=st.integers(0, 50),
    seed=st.integers(0, 2**60),
)
def test_what_is_made_of_the_past_alone_is_never_accused(
    entry, exit, period, side, count, walk, seed
):
    def signals(bars, params):
        enter = bars.close > PAST[entry](bars, period)
        leave = bars.close < PAST[exit](bars, period)
        return Signals(
            **{f"enter_{side}": enter, f"exit_{side}": leave},
            stop_loss=np.where(enter, bars.close * 0.9, np.nan),
        )

    cuts = lookahead.check(strategy_of(signals), bars_of(count, walk), {}, seed=seed).cuts
    assert all(0 < cut < count for cut in cuts)


@settings(database=None, derandomize=True, deadline=None, max_examples=100)
@given(
    count=st.integers(1, 100_000),
    every=st.integers(1, 5000),
    begin=st.integers(0, 90_000),
    seed=st.integers(0, 2**60),
)
def test_cuts_ascend_inside_the_history_and_are_as_many_as_agreed(count, every, begin, seed):
    wished = np.zeros(count, dtype=bool)
    wished[begin::every] = True
    cuts = lookahead.cuts(Signals(enter_long=wished), count, seed=seed)
    assert list(cuts) == sorted(set(cuts))
    assert all(0 < cut < count for cut in cuts)
    assert cuts == lookahead.cuts(Signals(enter_long=wished), count, seed=seed)
    most = lookahead.CUTS + lookahead.EARLY_CUTS + 8
    assert len(cuts) <= most
    # All together cost as much as the agreed number of whole histories, and some.
    assert sum(cuts) <= (lookahead.CUTS + 8) * count + 50_000
    after_wishes = [cut for cut in cuts if wished[cut - 1]]
    possible = [row for row in np.flatnonzero(wished) if row + 1 < count]
    assert len(after_wishes) >= min(3, len(possible))


def test_every_kind_of_wish_has_a_cut_right_before_and_after_it():
    count = 5000
    rare = {"exit_long": 4100, "enter_short": 4200, "exit_short": 4300}
    often = np.arange(count) < 4000
    signals = Signals(enter_long=often, **{name: at(row, count) for name, row in rare.items()})
    cuts = set(lookahead.cuts(signals, count, seed=1))
    assert {row + after for row in rare.values() for after in (0, 1)} <= cuts


def test_another_seed_places_the_cuts_elsewhere():
    signals = Signals(enter_long=BARS.close > 100.0)
    assert lookahead.cuts(signals, COUNT, seed=1) != lookahead.cuts(signals, COUNT, seed=2)


class TestEvaluation:
    """Built-in strategies are called where they are; their errors get the same name."""

    def test_sets_of_settings_come_in_order(self):
        strategy = registry.get("sma_cross")
        sets = [strategy.parse_params({"fast": fast, "slow": 30}) for fast in (3, 9, 20)]
        got = list(evaluation.evaluate(strategy, BARS, sets))
        assert [
            one.differs(strategy.signals(BARS, params))
            for one, params in zip(got, sets, strict=True)
        ] == [None] * 3

    def test_what_a_built_in_raises_is_told_with_its_place(self):
        def signals(bars, params):
            raise ZeroDivisionError("by zero")

        with pytest.raises(StrategyFailed) as caught:
            list(evaluation.evaluate(strategy_of(signals), BARS, [{}]))
        line = signals.__code__.co_firstlineno
        assert str(caught.value) == (
            f"strategy planted ({HERE} line {line}): raised ZeroDivisionError: by zero"
        )

    def test_what_a_built_in_returns_is_checked(self):
        def signals(bars, params):
            return Signals(enter_long=np.ones(3, dtype=bool))

        with pytest.raises(StrategyFailed, match="returned what cannot be traded: signals"):
            list(evaluation.evaluate(strategy_of(signals), BARS, [{}]))

    def test_lines_of_a_built_in(self):
        strategy = registry.get("sma_cross")
        drawn, why = evaluation.lines(strategy, BARS, strategy.parse_params({}))
        assert (set(drawn), why) == ({"sma_fast", "sma_slow"}, None)

    @pytest.mark.usefixtures("own_folders")
    def test_lines_that_fail_are_none_and_say_why(self):
        source = text(lines="1 / 0  # here")
        strategy = users(source)
        drawn, why = evaluation.lines(strategy, BARS, {})
        assert drawn == {}
        assert why == (
            f"strategy planted (planted.py line {line_of(source)}): raised ZeroDivisionError:"
            " division by zero"
        )
        assert strategy.signals(BARS, {}).enter_long.any()

    @pytest.mark.usefixtures("own_folders")
    def test_lines_of_the_user(self):
        drawn, why = evaluation.lines(
            users(text(lines="return {'twice': bars.close * 2}")), BARS, {}
        )
        assert why is None
        assert np.array_equal(drawn["twice"], BARS.close * 2)
