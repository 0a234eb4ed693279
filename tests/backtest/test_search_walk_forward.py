"""Choosing on one window and running on the next: windows, slices, no leak, one account."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candlevault.backtest import result as results
from candlevault.backtest.data.frame import build_frame
from candlevault.backtest.data.inputs import Inputs
from candlevault.backtest.payload import canonical as backtest_canonical
from candlevault.backtest.payload import parse as parse_backtest
from candlevault.backtest.search import folds, running, walk_forward
from candlevault.backtest.search.folds import DAY_MS, cut
from candlevault.backtest.signals import Signals
from candlevault.backtest.strategies import registry
from candlevault.backtest.strategies.contract import Parameter, Strategy
from candlevault.errors import InvalidRequest
from candlevault.windows import Window
from tests.support.sweeping import START_MS, frame_from, sweep_over, text_of, wandering

HOUR_MS = 3_600_000
GRID = {"params": {"fast": [2, 3, 5], "slow": [6, 9]}}


def day(number: float) -> int:
    return START_MS + int(number * DAY_MS)


def walk(in_sample: int, out_of_sample: int, **more) -> dict:
    return {"in_sample_days": in_sample, "out_of_sample_days": out_of_sample, **more}


def planned(request):
    return folds.plan(request.backtest, request.walk_forward)


def chosen(request, inputs) -> list[int | None]:
    numbers = range(1, len(request) + 1)
    return [
        walk_forward.choose(
            request.rank_by,
            running.evaluate(
                request,
                numbers,
                walk_forward.in_sample(request, inputs, fold),
                lambda metrics: getattr(metrics, request.rank_by),
            ),
        )
        for fold in planned(request)
    ]


def walked(request, inputs):
    return walk_forward.run(request, inputs, planned(request), chosen(request, inputs))


class TestWindows:
    def windows(self, count, timeframe="1h", **more):
        request = sweep_over(wandering(count, timeframe=timeframe), GRID, walk_forward=walk(**more))
        return [
            (one.in_sample.start_ms, one.in_sample.end_ms, one.out_of_sample.end_ms)
            for one in planned(request)
            if one.in_sample.end_ms == one.out_of_sample.start_ms
        ]

    def test_rolling_windows_move_on_by_the_days_out_of_sample(self):
        assert self.windows(24 * 10, in_sample=4, out_of_sample=2) == [
            (day(0), day(4), day(6)),
            (day(2), day(6), day(8)),
            (day(4), day(8), day(10)),
        ]

    def test_anchored_windows_all_begin_at_the_start(self):
        assert self.windows(24 * 10, in_sample=4, out_of_sample=2, anchored=True) == [
            (day(0), day(4), day(6)),
            (day(0), day(6), day(8)),
            (day(0), day(8), day(10)),
        ]

    def test_the_last_window_ends_with_the_data(self):
        assert self.windows(24 * 7 + 5, in_sample=4, out_of_sample=2) == [
            (day(0), day(4), day(6)),
            (day(2), day(6), day(7) + 5 * HOUR_MS),
        ]

    def test_a_single_candle_out_of_sample_makes_a_fold(self):
        assert len(self.windows(24 * 4 + 1, in_sample=4, out_of_sample=2)) == 1
        with pytest.raises(InvalidRequest, match="leaves nothing"):
            self.windows(24 * 4, in_sample=4, out_of_sample=2)

    def test_a_longer_step_leaves_days_between(self):
        assert self.windows(24 * 11, in_sample=3, out_of_sample=2, step_days=4) == [
            (day(0), day(3), day(5)),
            (day(4), day(7), day(9)),
        ]

    def test_windows_hold_whole_candles_of_a_week(self):
        # 2024-01-01 is a Monday: 10 days end in the second week, whose candle is in sample.
        assert self.windows(6, "1w", in_sample=10, out_of_sample=14) == [
            (day(0), day(14), day(28)),
            (day(14), day(28), day(42)),
        ]

    @settings(derandomize=True, deadline=None, database=None, max_examples=60)
    @given(
        count=st.integers(40, 400),
        in_sample=st.integers(1, 9),
        out_of_sample=st.integers(1, 5),
        rest=st.integers(0, 3),
        anchored=st.booleans(),
    )
    def test_no_candle_is_run_twice_and_none_in_sample_comes_after(
        self, count, in_sample, out_of_sample, rest, anchored
    ):
        more = walk(in_sample, out_of_sample, step_days=out_of_sample + rest, anchored=anchored)
        try:
            request = sweep_over(wandering(count), GRID, walk_forward=more)
        except InvalidRequest:
            assert count <= in_sample * 24
            return
        found = planned(request)
        whole = request.backtest.window
        for one in found:
            assert one.in_sample.end_ms == one.out_of_sample.start_ms
            assert whole.start_ms <= one.in_sample.start_ms
            assert one.out_of_sample.end_ms <= whole.end_ms
            assert one.in_sample.end_ms - one.in_sample.start_ms >= in_sample * DAY_MS
        for one, two in itertools.pairwise(found):
            assert (
                two.out_of_sample.start_ms - one.out_of_sample.start_ms
                == (out_of_sample + rest) * DAY_MS
            )
            assert one.out_of_sample.end_ms <= two.out_of_sample.start_ms
        if not rest:
            assert found[-1].out_of_sample.end_ms == whole.end_ms

    def test_a_thousand_folds_are_enough(self):
        with pytest.raises(InvalidRequest, match="more than 1000 folds"):
            sweep_over(wandering(1200, timeframe="1d"), GRID, walk_forward=walk(1, 1))


class TestSlices:
    """A window in sample is the backtest of that window; out of sample with that history."""

    def single(self, request, number, window: Window, warmup: int, frame):
        payload = backtest_canonical(request.request(number))
        payload |= {"start_time": text_of(window.start_ms), "end_time": text_of(window.end_ms)}
        payload["data"]["warmup_bars"] = warmup
        step = frame.timeframe.step_ms
        first = (window.start_ms - START_MS) // step
        rows = range(first, (window.end_ms - START_MS) // step)
        before = range(max(0, first - warmup), first)
        columns = {n: getattr(frame, n) for n in ("open", "high", "low", "close", "volume")}

        def part(wanted, absent):
            kept = [row for row in wanted if frame.present[row]]
            return build_frame(
                frame.timeframe,
                Window(day(0) + wanted[0] * step, day(0) + (wanted[-1] + 1) * step),
                {"open_time": frame.open_time[kept]} | {n: c[kept] for n, c in columns.items()},
                absent=absent,
            )

        earlier = [part(before, "mark")] if len(before) else None
        inputs = Inputs.of([part(rows, frame.absent)], before=earlier)
        return results.run(parse_backtest(payload), inputs)

    @pytest.mark.parametrize("absent", ["mark", "carry"])
    @pytest.mark.parametrize("warmup", [0, 30])
    def test_every_fold_is_two_single_backtests(self, absent, warmup):
        # Holes at the start of windows in and out of sample, and right before their ends.
        frame = wandering(24 * 9, absent=absent, holes=[*range(48, 52), *range(96, 99), 140, 188])
        request = sweep_over(
            frame,
            GRID,
            backtest={"data": {"absent": absent, "warmup_bars": warmup}, "fee_rate": 0.001},
            walk_forward=walk(4, 2),
        )
        inputs = Inputs.of([frame])
        result = walked(request, inputs)
        assert len(result.folds) == 3
        for one in result.folds:
            before = self.single(request, one.point, one.fold.in_sample, warmup, frame)
            assert before.metrics == one.in_sample
            rows = 4 * 24 + warmup
            after = self.single(request, one.point, one.fold.out_of_sample, rows, frame)
            assert after.metrics == one.out_of_sample

    def test_a_window_without_a_candle_is_refused(self):
        frame = wandering(24 * 8, holes=range(24 * 4, 24 * 6))
        request = sweep_over(frame, GRID, walk_forward=walk(4, 2))
        with pytest.raises(InvalidRequest, match="holds no candle"):
            walked(request, Inputs.of([frame]))

    def test_funding_and_several_symbols_are_cut_alike(self):
        frames = [wandering(240, seed=seed) for seed in (1, 2)]
        funding = [np.arange(240) * 1e-6 * sign for sign in (1, -1)]
        whole = Inputs.of(frames, funding=funding)
        part = cut(whole, Window(day(2), day(5)), 10)
        assert [len(frame) for frame in part.frames] == [72, 72]
        assert part.leads == (10, 10)
        assert [rates.tolist() for rates in part.funding] == [
            rates[48:120].tolist() for rates in funding
        ]
        assert part.stage.market.funding.shape == (2, 72)


def steps(pieces: list[tuple[int, float]]) -> np.ndarray:
    """Closes that grow by a part a bar: (bars, growth) one after the other."""
    growth = np.concatenate([np.full(bars, 1.0 + part) for bars, part in pieces])
    return 100.0 * np.cumprod(growth)


def flat_candles(close: np.ndarray):
    return frame_from({name: close for name in ("open", "high", "low", "close")} | {
        "volume": np.ones(len(close))
    })  # fmt: skip


@pytest.fixture
def sides(monkeypatch):
    """Strategies made for the test: `side` is long (1) or short (2) or nothing (0) from its
    first bar on; `peek` is long when the last bar it sees is higher than the first one."""

    def hold(bars, params):
        first = np.arange(len(bars.close)) == 0
        none = np.zeros(len(first), dtype=bool)
        return Signals(
            enter_long=first if params["side"] == 1 else none,
            enter_short=first if params["side"] == 2 else none,
        )

    def peek(bars, params):
        up = bool(bars.close[-1] > bars.close[0]) == (params["side"] == 1)
        first = np.arange(len(bars.close)) % 7 == 0
        return Signals(enter_long=first & up, exit_long=np.roll(first, 3))

    made = {
        name: Strategy(
            name=name,
            version="1",
            title=name,
            description=name,
            parameters=(Parameter("side", "integer", 1, 0, 2, "Side."),),
            signals=signals,
            lines=lambda bars, params: {},
        )
        for name, signals in (("side", hold), ("peek", peek))
    }
    everyone = registry.builtin() | made
    monkeypatch.setattr(registry, "builtin", lambda: everyone)


SIDES = {"params": {"side": [0, 1, 2]}}


class TestKnownBest:
    def test_the_side_that_won_in_sample_is_run_out_of_sample(self, sides):
        # Up, up, down, down, down, up: two days in sample, one out of it.
        close = steps([(24, 0.001), (24, 0.001), (24, -0.001), (24, -0.002), (24, -0.001),
                       (24, 0.004)])  # fmt: skip
        frame = flat_candles(close)
        request = sweep_over(
            frame,
            SIDES,
            backtest={"strategy": "side", "direction": "both"},
            rank_by="total_return_pct",
            walk_forward=walk(2, 1),
        )
        inputs = Inputs.of([frame])
        result = walked(request, inputs)
        # In sample: up up | up down | down down | down down … -> long, short, short, short.
        assert [request.given(one.point)["side"] for one in result.folds] == [1, 2, 2, 2]

    def test_an_untouched_account_where_nothing_could_be_judged(self, sides):
        frame = flat_candles(np.full(24 * 4, 100.0))
        request = sweep_over(frame, SIDES, backtest={"strategy": "side"}, walk_forward=walk(2, 1))
        result = walked(request, Inputs.of([frame]))
        assert [one.point for one in result.folds] == [None, None]
        assert [one.in_sample for one in result.folds] == [None, None]
        assert set(result.equity.tolist()) == {10_000.0}
        assert (result.in_sample_mean, result.efficiency) == (None, None)
        assert result.profitable_folds_pct == 0.0


class TestNoLeak:
    """What lies out of sample cannot reach the choice, whatever the strategy does."""

    @settings(derandomize=True, deadline=None, database=None, max_examples=25)
    @given(seed=st.integers(0, 10_000), fold=st.integers(0, 2), name=st.sampled_from(
        ["sma_cross", "rsi_reversion", "donchian"]
    ))  # fmt: skip
    def test_other_candles_out_of_sample_change_no_choice_before(self, seed, fold, name):
        self.check(seed, fold, name)

    @pytest.mark.parametrize("fold", [0, 1, 2])
    def test_not_even_for_a_strategy_that_looks_ahead(self, sides, fold):
        for seed in range(8):
            self.check(seed, fold, "peek")

    def check(self, seed, fold, name):
        search = {
            "sma_cross": GRID,
            "rsi_reversion": {"params": {"period": [3, 6], "lower": [30, 45]}},
            "donchian": {"params": {registry.get("donchian").parameters[0].name: [5, 9, 14]}},
            "peek": {"params": {"side": [0, 1, 2]}},
        }[name]
        count = 24 * 10
        frame, other = wandering(count, seed=seed), wandering(count, seed=seed + 77_777)
        request = sweep_over(
            frame,
            search,
            backtest={"strategy": name},
            rank_by="total_return_pct",
            walk_forward=walk(4, 2),
        )
        split = 24 * 4 + 24 * 2 * fold
        columns = {
            n: np.concatenate([getattr(frame, n)[:split], getattr(other, n)[split:]])
            for n in ("open", "high", "low", "close", "volume")
        }
        changed = frame_from(columns)
        before = chosen(request, Inputs.of([frame]))[: fold + 1]
        assert chosen(request, Inputs.of([changed]))[: fold + 1] == before

    def test_positions_do_not_cross_windows(self, sides):
        close = steps([(24 * 2, 0.001), (24 * 2, 0.001)])
        frame = flat_candles(close)
        request = sweep_over(
            frame, {"params": {"side": [1]}}, backtest={"strategy": "side"},
            rank_by="total_return_pct", walk_forward=walk(1, 1),
        )  # fmt: skip
        inputs = Inputs.of([frame])
        result = walked(request, inputs)
        # Its only entry lies at the first bar it sees, in sample: nothing is held after it.
        assert [one.in_sample.trade_count for one in result.folds] == [1, 1, 1]
        assert [one.out_of_sample.trade_count for one in result.folds] == [0, 0, 0]


class TestStitching:
    def test_the_account_goes_on_where_the_window_before_ended(self):
        frame = wandering(24 * 12, seed=5)
        request = sweep_over(
            frame, GRID, backtest={"fee_rate": 0.001}, walk_forward=walk(4, 2),
        )  # fmt: skip
        result = walked(request, Inputs.of([frame]))
        growth = [1.0 + one.out_of_sample.total_return_pct / 100.0 for one in result.folds]
        assert result.metrics.final_equity == pytest.approx(10_000 * math.prod(growth), rel=1e-12)
        assert result.equity[-1] == result.metrics.final_equity
        assert len(result.equity) == len(result.open_time) == 24 * 8
        for position, one in enumerate(result.folds):
            last = 48 * (position + 1) - 1
            assert result.equity[last] == pytest.approx(
                10_000 * math.prod(growth[: position + 1]), rel=1e-12
            )
            assert result.open_time[last] + HOUR_MS == one.fold.out_of_sample.end_ms
        trades = sum(one.out_of_sample.trade_count for one in result.folds)
        assert result.metrics.trade_count == trades > 0
        assert result.metrics.long_pnl == pytest.approx(
            result.metrics.final_equity - 10_000, rel=1e-9
        )
        assert result.profitable_folds_pct == sum(one > 1.0 for one in growth) / 4 * 100.0
        assert result.efficiency is None or result.efficiency == pytest.approx(
            result.metrics.annual_return_pct
            / (sum(one.in_sample.annual_return_pct for one in result.folds) / 4)
        )
        assert result.in_sample_mean == pytest.approx(
            sum(one.in_sample.sharpe for one in result.folds) / 4
        )

    def test_trades_keep_their_times_and_the_account_what_it_held(self):
        frame = wandering(24 * 12, seed=5)
        request = sweep_over(frame, GRID, walk_forward=walk(4, 2))
        inputs = Inputs.of([frame])
        parts = [
            running.run_point(
                request, request.point(1), walk_forward.out_of_sample(request, inputs, fold)
            )[0]
            for fold in planned(request)
        ]
        grid = cut(inputs, Window(day(4), day(12)), 0).stage.open_time
        stitched = walk_forward.stitch(grid, parts, 10_000.0)
        times = [(one.entry_time, one.exit_time) for part in parts for one in part.trades]
        assert [(one.entry_time, one.exit_time) for one in stitched.trades] == times
        assert len(times) > 4
        held = np.concatenate([part.held for part in parts])
        assert stitched.held.tolist() == held.tolist()
        assert stitched.refused == {
            reason: sum(part.refused[reason] for part in parts) for reason in parts[0].refused
        }

    def test_it_rests_between_windows_that_do_not_touch(self):
        frame = wandering(24 * 12, seed=5)
        request = sweep_over(frame, GRID, walk_forward=walk(3, 2, step_days=4))
        result = walked(request, Inputs.of([frame]))
        assert len(result.folds) == 3
        # Out of sample: days 3 and 4, 7 and 8, 11; at rest: 5, 6, 9 and 10.
        assert len(result.equity) == 24 * 9
        assert len(set(result.equity[47:96].tolist())) == 1
        assert result.equity[47] == pytest.approx(result.folds[0].out_of_sample.final_equity)

    def test_one_fold_is_stitched_from_itself(self):
        frame = wandering(24 * 6, seed=9)
        request = sweep_over(frame, GRID, walk_forward=walk(4, 2))
        result = walked(request, Inputs.of([frame]))
        assert result.metrics == result.folds[0].out_of_sample

    def test_an_account_that_is_used_up_rests(self, sides):
        # Short while the price multiplies: nothing is left, and nothing is traded any more.
        close = steps([(24, -0.001), (24, 0.05), (24, -0.002), (24, -0.002)])
        frame = flat_candles(close)
        request = sweep_over(
            frame,
            {"params": {"side": [2]}},
            backtest={"strategy": "side", "direction": "short"},
            walk_forward=walk(1, 1),
        )
        inputs = Inputs.of([frame])
        parts = []
        for first in (1, 2, 3):
            window = Window(day(first), day(first + 1))
            parts.append(running.run_point(request, request.point(1), cut(inputs, window, 0))[0])
        assert parts[0].equity[-1] <= 0.0 < parts[1].equity[-1]
        grid = cut(inputs, Window(day(1), day(4)), 0).stage.open_time
        stitched = walk_forward.stitch(grid, parts, 10_000.0)
        assert set(stitched.equity[24:].tolist()) == {float(parts[0].equity[-1])}
        assert len(stitched.log) == len(parts[0].log)
        assert not stitched.held[24:].any()
