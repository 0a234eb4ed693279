"""The unknown order of events inside a bar, computed by hand with a capital of 1000.

A long at 100 has its stop at 95 and its target at 110 unless said otherwise.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from candlevault.backtest.engine.codes import OPTIMISTIC, PESSIMISTIC, RESOLVED
from candlevault.backtest.engine.tables import Finer
from candlevault.backtest.risk import RiskRules
from tests.support.trading import alone, ends, rows_of, wished

QUIET = (100, 101, 99, 100)
BOTH = (100, 112, 93, 100)
LEVELS = RiskRules(stop_loss_pct=5, take_profit_pct=10)
STOPPED, GAINED = ("stop_loss", 100.0, 95.0), ("take_profit", 100.0, 110.0)


def finer_of(rows: int, candles: dict[int, list], symbols: int = 1) -> Finer:
    """The finer candles of the first symbol by row."""
    first, last = np.zeros((2, symbols, rows), dtype=np.int64)
    flat = []
    for row, parts in candles.items():
        first[0, row] = len(flat)
        flat += parts
        last[0, row] = len(flat)
    columns = np.array(flat, dtype=np.float64).reshape(-1, 4)
    return Finer(first, last, *(column.copy() for column in columns.T))


def entered(frame, mode=PESSIMISTIC, *, short=False, limit=None, stop=None, parts=None,
            risk=LEVELS, **options):  # fmt: skip
    """An entry wished in row 0; `parts` are the finer candles by row."""
    prices = {name: {0: price} for name, price in (("limit", limit), ("stop", stop)) if price}
    count = len(frame.bars().close)
    side = {"enter_short": 0} if short else {"enter_long": 0}
    finer = None if parts is None else finer_of(len(frame), parts)
    return alone(frame, wished(count, **side, **prices), direction="both", mode=mode, finer=finer,
                 risk=risk, **options)  # fmt: skip


def told(simulation):
    """How the one trade ended, whether it was in doubt."""
    (trade,) = simulation.trades
    return trade.exit_reason, trade.exit_price, trade.ambiguous


def asked(simulation):
    return [tuple(question) for question in simulation.questions.tolist()]


class TestStopAndTargetInOneBar:
    @pytest.fixture
    def frame(self, frame_of):
        return frame_of([QUIET, QUIET, BOTH, 100])

    def test_pessimistic_takes_the_stop_and_optimistic_the_target(self, frame):
        worse, better = entered(frame, PESSIMISTIC), entered(frame, OPTIMISTIC)
        assert (ends(worse), ends(better)) == ([STOPPED], [GAINED])
        assert worse.trades[0].ambiguous
        assert better.trades[0].ambiguous
        assert (asked(worse), asked(better)) == ([(0, 2, 0)], [(0, 2, 1)])
        assert (worse.unresolved, worse.branching, better.branching) == (0, 0, 0)

    @pytest.mark.parametrize(
        ("parts", "end"),
        [
            ([(100, 105, 99, 104), (104, 112, 103, 105), (105, 106, 93, 100)], GAINED),
            ([(100, 105, 99, 104), (104, 105, 93, 100), (100, 112, 99, 100)], STOPPED),
        ],
    )
    def test_finer_candles_show_which_came_first(self, frame, parts, end):
        got = entered(frame, RESOLVED, parts={2: parts})
        assert (ends(got), got.unresolved) == ([end], 0)
        assert got.trades[0].ambiguous
        assert asked(got) == [(0, 2, int(end is GAINED))]

    def test_where_a_finer_candle_holds_both_the_stop_is_taken_and_counted(self, frame):
        got = entered(frame, RESOLVED, parts={2: [(100, 101, 99, 100), (100, 112, 93, 100)]})
        assert (ends(got), got.unresolved) == ([STOPPED], 1)

    def test_its_open_tells_when_it_lies_beyond_a_level(self, frame):
        gained = [(100, 101, 99, 100), (111, 112, 93, 100)]
        assert ends(entered(frame, RESOLVED, parts={2: gained})) == [GAINED]
        stopped = [(100, 101, 99, 100), (94, 112, 93, 100)]
        got = entered(frame, RESOLVED, parts={2: stopped})
        assert (ends(got), got.unresolved) == ([STOPPED], 0)

    @pytest.mark.parametrize("parts", [None, {}, {1: [BOTH]}, {2: [(100, 105, 99, 100)]}])
    def test_without_telling_candles_the_stop_is_taken_and_counted(self, frame, parts):
        got = entered(frame, RESOLVED, parts=parts)
        assert (ends(got), got.unresolved) == ([STOPPED], 1)

    def test_finer_candles_are_not_looked_at_in_the_other_modes(self, frame):
        parts = {2: [(100, 112, 99, 105), (105, 106, 93, 100)]}
        assert ends(entered(frame, PESSIMISTIC, parts=parts)) == [STOPPED]

    def test_the_trailing_stop_counts_by_its_level_of_that_bar(self, frame_of):
        # best 104 before: stop at 98; the finer low of 98 comes before the target
        frame = frame_of([QUIET, (100, 104, 99, 103), (103, 111, 97, 100), 100])
        rules = RiskRules(trailing_stop_pct=6, take_profit_pct=10)
        parts = {2: [(103, 104, 98, 99), (99, 111, 97, 100)]}
        got = entered(frame, RESOLVED, parts=parts, risk=rules)
        assert ends(got) == [("trailing_stop", 100.0, 98.0)]

    def test_of_a_short_likewise(self, frame_of):
        frame = frame_of([QUIET, QUIET, (100, 106, 89, 100), 100])
        gained = {2: [(100, 104, 89, 95), (95, 106, 94, 100)]}
        stopped = {2: [(100, 106, 99, 105), (105, 105, 89, 100)]}
        assert told(entered(frame, RESOLVED, short=True, parts=gained)) == (
            "take_profit", 90.0, True)  # fmt: skip
        assert told(entered(frame, RESOLVED, short=True, parts=stopped)) == (
            "stop_loss", 105.0, True)  # fmt: skip


class TestChoices:
    def test_answer_the_first_doubts_and_the_mode_the_rest(self, frame_of):
        rows = [QUIET, QUIET, BOTH, QUIET, BOTH, QUIET, BOTH, 100]
        signals = wished(8, enter_long=[0, 2, 4])
        frame = frame_of(rows)
        for mode, rest in ((PESSIMISTIC, 0), (OPTIMISTIC, 1), (RESOLVED, 0)):
            for choices in ((), (1,), (0, 1), (1, 0, 1), (1, 0, 1, 0, 0)):
                got = alone(frame, signals, risk=LEVELS, mode=mode, choices=choices)
                expected = [*choices, *[rest] * 3][:3]
                assert asked(got) == [(0, 2, expected[0]), (0, 4, expected[1]), (0, 6, expected[2])]
                reasons = [("stop_loss", "take_profit")[choice] for choice in expected]
                assert [trade.exit_reason for trade in got.trades] == reasons
                assert got.unresolved == (max(0, 3 - len(choices)) if mode == RESOLVED else 0)

    def test_every_lot_in_doubt_is_a_question_of_its_own(self, frame_of):
        frame = frame_of([QUIET, 100, 100, BOTH, 100])
        rules = RiskRules(stop_loss_pct=5, take_profit_pct=10, max_entries=2)
        signals = wished(5, enter_long=[0, 1], weight={0: 0.25, 1: 0.25})
        got = alone(frame, signals, risk=rules, choices=(0, 1))
        assert asked(got) == [(0, 3, 0), (0, 3, 1)]
        assert [trade.exit_reason for trade in got.trades] == ["stop_loss", "take_profit"]


class TestLimitEntry:
    """Bought at 90, where the bar came down to: the low is met, the high may be past."""

    RULES = RiskRules(stop_loss_pct=10, take_profit_pct=10)  # 81 and 99

    def run(self, frame_of, bar, mode=PESSIMISTIC, **options):
        frame = frame_of([100, bar, 90, 90])
        return entered(frame, mode, limit=90.0, risk=self.RULES, **options)

    def test_a_stop_below_is_surely_met(self, frame_of):
        for mode in (PESSIMISTIC, OPTIMISTIC, RESOLVED):
            got = self.run(frame_of, (95, 96, 80, 92), mode)
            assert told(got) == ("stop_loss", 81.0, False)
            assert rows_of(got) == [(1, 1)]
            assert got.trades[0].bars_held == 1

    def test_a_high_at_the_target_may_have_come_before(self, frame_of):
        bar = (95, 100, 89, 92)
        worse, better = self.run(frame_of, bar), self.run(frame_of, bar, OPTIMISTIC)
        assert told(worse) == ("end_of_data", 90.0, True)
        assert told(better) == ("take_profit", 99.0, True)
        assert (rows_of(worse), rows_of(better)) == ([(1, 3)], [(1, 1)])
        # afterwards one is in the market and the other is not
        assert (worse.branching, better.branching) == (1, 1)

    def test_a_close_at_the_target_proves_it(self, frame_of):
        for mode in (PESSIMISTIC, OPTIMISTIC):
            assert told(self.run(frame_of, (95, 100, 89, 99), mode)) == (
                "take_profit", 99.0, False)  # fmt: skip

    def test_with_both_levels_in_reach_the_order_is_unknown(self, frame_of):
        bar = (95, 100, 80, 92)
        assert told(self.run(frame_of, bar)) == ("stop_loss", 81.0, True)
        assert told(self.run(frame_of, bar, OPTIMISTIC)) == ("take_profit", 99.0, True)
        assert self.run(frame_of, bar).branching == 0

    def test_finer_candles_show_what_came_after_the_entry(self, frame_of):
        bar = (95, 100, 89, 92)
        before = {1: [(95, 100, 94, 95), (95, 96, 89, 92)]}
        assert told(self.run(frame_of, bar, RESOLVED, parts=before)) == (
            "end_of_data", 90.0, True)  # fmt: skip
        after = {1: [(95, 96, 89, 91), (91, 100, 90, 92)]}
        got = self.run(frame_of, bar, RESOLVED, parts=after)
        assert told(got) == ("take_profit", 99.0, True)
        assert got.unresolved == 0
        # the finer candle of the entry holds the target too: unknown once more
        same = {1: [(95, 96, 94, 95), (95, 100, 89, 92)]}
        got = self.run(frame_of, bar, RESOLVED, parts=same)
        assert (told(got), got.unresolved) == (("end_of_data", 90.0, True), 1)
        # but for one that opens at the limit or below it
        opened = {1: [(95, 96, 94, 95), (90, 100, 89, 92)]}
        assert told(self.run(frame_of, bar, RESOLVED, parts=opened))[0] == "take_profit"

    def test_finer_candles_that_never_came_to_the_limit_tell_nothing(self, frame_of):
        got = self.run(frame_of, (95, 100, 89, 92), RESOLVED, parts={1: [(95, 100, 94, 95)]})
        assert (told(got), got.unresolved) == (("end_of_data", 90.0, True), 1)

    def test_at_a_better_open_it_met_the_whole_bar(self, frame_of):
        # bought at the open of 88: stop 79.2, target 96.8
        got = self.run(frame_of, (88, 97, 85, 92))
        assert told(got) == ("take_profit", pytest.approx(96.8), False)

    def test_of_a_short_is_mirrored(self, frame_of):
        # sold at 110: stop 121, target 99; the low of 98 may have come before
        frame = frame_of([100, (105, 111, 98, 108), 110, 110])
        rules = dict(short=True, limit=110.0, risk=self.RULES)
        assert told(entered(frame, PESSIMISTIC, **rules)) == ("end_of_data", 110.0, True)
        assert told(entered(frame, OPTIMISTIC, **rules)) == ("take_profit", 99.0, True)
        stopped = frame_of([100, (105, 122, 104, 108), 110, 110])
        assert told(entered(stopped, OPTIMISTIC, **rules)) == ("stop_loss", 121.0, False)


class TestStopEntry:
    """Bought at 110, where the bar went up to: the high is met, the low may be past."""

    RULES = RiskRules(stop_loss_pct=10, take_profit_pct=10)  # 99 and 121

    def run(self, frame_of, bar, mode=PESSIMISTIC, **options):
        frame = frame_of([100, bar, 110, 110])
        return entered(frame, mode, stop=110.0, risk=self.RULES, **options)

    def test_a_target_above_is_surely_met(self, frame_of):
        for mode in (PESSIMISTIC, OPTIMISTIC, RESOLVED):
            got = self.run(frame_of, (105, 122, 104, 112), mode)
            assert told(got) == ("take_profit", pytest.approx(121.0), False)
            assert rows_of(got) == [(1, 1)]

    def test_a_low_at_the_stop_may_have_come_before(self, frame_of):
        bar = (105, 112, 98, 111)
        worse, better = self.run(frame_of, bar), self.run(frame_of, bar, OPTIMISTIC)
        assert told(worse) == ("stop_loss", 99.0, True)
        assert told(better) == ("end_of_data", 110.0, True)
        assert (worse.branching, better.branching) == (1, 1)

    def test_a_close_at_the_stop_proves_it(self, frame_of):
        for mode in (PESSIMISTIC, OPTIMISTIC):
            assert told(self.run(frame_of, (105, 112, 98, 99), mode)) == (
                "stop_loss", 99.0, False)  # fmt: skip

    def test_with_both_levels_in_reach_the_order_is_unknown(self, frame_of):
        bar = (105, 122, 98, 111)
        assert told(self.run(frame_of, bar)) == ("stop_loss", 99.0, True)
        assert told(self.run(frame_of, bar, OPTIMISTIC)) == (
            "take_profit", pytest.approx(121.0), True)  # fmt: skip

    def test_finer_candles_show_what_came_after_the_entry(self, frame_of):
        bar = (105, 112, 98, 111)
        before = {1: [(105, 106, 98, 104), (104, 112, 103, 111)]}
        got = self.run(frame_of, bar, RESOLVED, parts=before)
        assert (told(got), got.unresolved) == (("end_of_data", 110.0, True), 0)
        assert asked(got) == [(0, 1, 1)]
        after = {1: [(105, 112, 104, 111), (111, 112, 98, 111)]}
        assert told(self.run(frame_of, bar, RESOLVED, parts=after)) == (
            "stop_loss", 99.0, True)  # fmt: skip

    def test_of_a_short_is_mirrored(self, frame_of):
        # sold at 90: stop 99; the high of 100 may have come before
        frame = frame_of([95, (95, 100, 89, 92), 90, 90])
        rules = dict(short=True, stop=90.0, risk=self.RULES)
        assert told(entered(frame, PESSIMISTIC, **rules)) == ("stop_loss", 99.0, True)
        assert told(entered(frame, OPTIMISTIC, **rules)) == ("end_of_data", 90.0, True)


class TestLimitThatTheCloseProves:
    """Triggered at 110, bought back at 105 or below, as the close of 104 proves."""

    RULES = RiskRules(stop_loss_pct=10, take_profit_pct=3)  # 94.5 and 108.15

    def run(self, frame_of, bar, mode, **options):
        frame = frame_of([100, bar, 104, 104])
        return entered(frame, mode, stop=110.0, limit=105.0, **({"risk": self.RULES} | options))

    def test_neither_extreme_is_surely_met(self, frame_of):
        low_only = RiskRules(stop_loss_pct=10)
        bar = (100, 111, 94, 104)
        assert told(self.run(frame_of, bar, PESSIMISTIC, risk=low_only))[0] == "stop_loss"
        got = self.run(frame_of, bar, OPTIMISTIC, risk=low_only)
        assert told(got) == ("end_of_data", 104.0, True)
        high_only = RiskRules(take_profit_pct=3)
        assert told(self.run(frame_of, bar, PESSIMISTIC, risk=high_only)) == (
            "end_of_data", 104.0, True)  # fmt: skip
        assert told(self.run(frame_of, bar, OPTIMISTIC, risk=high_only))[0] == "take_profit"

    def test_with_both_in_reach_even_neither_may_have_been_met(self, frame_of):
        got = self.run(frame_of, (100, 111, 94, 104), PESSIMISTIC)
        assert (told(got)[0], got.branching) == ("stop_loss", 1)

    def test_finer_candles_do_not_settle_it(self, frame_of):
        got = self.run(frame_of, (100, 111, 94, 104), RESOLVED,
                       parts={1: [(100, 101, 94, 100), (100, 111, 99, 104)]})  # fmt: skip
        assert (told(got)[0], got.unresolved) == ("stop_loss", 1)

    def test_a_close_beyond_the_stop_proves_that_too(self, frame_of):
        for mode in (PESSIMISTIC, OPTIMISTIC):
            got = self.run(frame_of, (100, 111, 93, 94), mode, risk=RiskRules(stop_loss_pct=10))
            assert told(got) == ("stop_loss", 94.5, False)


class TestWhatWasSurelyMet:
    """Excursions and the trailing stop of the bar in which a resting order filled."""

    NONE = RiskRules()

    @pytest.mark.parametrize("mode", [PESSIMISTIC, OPTIMISTIC, RESOLVED])
    def test_by_a_limit_entry_the_low_and_the_close(self, frame_of, mode):
        # bought at 80; 72 is met for sure, 100 perhaps, 88 at the close
        frame = frame_of([100, (90, 100, 72, 88), 80])
        (trade,) = entered(frame, mode, limit=80.0, risk=self.NONE).trades
        assert (trade.mae_pct, trade.mfe_pct) == (-10.0, 10.0)

    @pytest.mark.parametrize("mode", [PESSIMISTIC, OPTIMISTIC, RESOLVED])
    def test_by_a_stop_entry_the_high_and_the_close(self, frame_of, mode):
        # bought at 100; 120 is met for sure, 80 perhaps, 95 at the close
        frame = frame_of([90, (90, 120, 80, 95), 100])
        (trade,) = entered(frame, mode, stop=100.0, risk=self.NONE).trades
        assert (trade.mae_pct, trade.mfe_pct) == (-5.0, 20.0)

    def test_by_a_limit_that_the_close_proves_only_this(self, frame_of):
        frame = frame_of([100, (100, 111, 70, 76), 80])
        (trade,) = entered(frame, stop=110.0, limit=80.0, risk=self.NONE).trades
        assert (trade.mae_pct, trade.mfe_pct) == (-5.0, 0.0)

    def test_by_shorts_the_other_way_round(self, frame_of):
        # sold at 100 by a limit: 110 surely, 80 perhaps, 95 at the close
        frame = frame_of([90, (90, 110, 80, 95), 100])
        (trade,) = entered(frame, short=True, limit=100.0, risk=self.NONE).trades
        assert (trade.mae_pct, trade.mfe_pct) == (-10.0, 5.0)
        # sold at 100 by a stop: 80 surely, 120 perhaps, 105 at the close
        frame = frame_of([110, (110, 120, 80, 105), 100])
        (trade,) = entered(frame, short=True, stop=100.0, risk=self.NONE).trades
        assert (trade.mae_pct, trade.mfe_pct) == (-5.0, 20.0)

    def test_the_trailing_stop_starts_from_it(self, frame_of):
        # bought at 100 by a stop; best 120 for sure: the stop of the next bar is 110
        rules = RiskRules(trailing_stop_pct=10)
        frame = frame_of([90, (95, 120, 94, 118), (118, 119, 109, 115), 115])
        got = entered(frame, stop=100.0, risk=rules)
        assert ends(got) == [("trailing_stop", 100.0, 110.0)]
        # bought at 100 by a limit; the high of 120 may be past, the close of 105 is not
        frame = frame_of([110, (110, 120, 99, 105), (105, 106, 96, 100), 100])
        got = entered(frame, limit=100.0, risk=rules)
        assert got.trades[0].exit_reason == "end_of_data"
        frame = frame_of([110, (110, 120, 99, 105), (105, 106, 95, 100), 100])
        got = entered(frame, limit=100.0, risk=rules)
        assert ends(got) == [("trailing_stop", 100.0, 95.0)]

    def test_the_bar_of_the_exit_counts_by_the_exit_price_only(self, frame_of):
        frame = frame_of([100, (90, 100, 70, 88), 80])
        (trade,) = entered(frame, limit=80.0, risk=RiskRules(stop_loss_pct=10)).trades
        assert (trade.exit_reason, trade.mae_pct, trade.mfe_pct) == (
            "stop_loss", pytest.approx(-10.0), 0.0)  # fmt: skip


def test_nothing_in_doubt_asks_nothing(frame_of):
    frame = frame_of([QUIET, QUIET, (100, 101, 94, 96), 96])
    got = entered(frame)
    assert (asked(got), got.unresolved, got.branching) == ([], 0, 0)
    assert math.isclose(got.equity[-1], 950.0)
