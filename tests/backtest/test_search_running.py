"""Many points on the same candles: each of them is exactly the single backtest."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest

from candlevault.backtest import result as results
from candlevault.backtest.data.inputs import Inputs
from candlevault.backtest.search import running
from candlevault.backtest.search.folds import cut
from candlevault.backtest.signals import Signals
from candlevault.backtest.strategies import registry
from candlevault.backtest.strategies.contract import Parameter, Strategy
from candlevault.backtest.user_strategies import calls
from candlevault.errors import StrategyFailed
from candlevault.windows import Window
from tests.support.sweeping import sweep_over, wandering


def everything(request, inputs, **options):
    numbers = range(1, len(request) + 1)
    return running.evaluate(request, numbers, inputs, lambda metrics: metrics, **options)


class TestByHand:
    @pytest.fixture
    def prices(self, frame_of):
        # sma(1) crosses above sma(2) at bar 3 and below at bar 6: in at 15, out at 6.
        return frame_of([10, 10, 10, 12, 15, 15, 9, 6])

    def test_four_points_end_where_the_arithmetic_says(self, prices):
        request = sweep_over(
            prices, {"params": {"fast": [1], "slow": [2, 7], "risk.stop_loss_pct": [None, 10]}}
        )
        ends = [one.final_equity for one in everything(request, Inputs.of([prices]))]
        # With a stop at 13.5 the gap to 9 is left at bar 6; a slow average over 7 never crosses.
        assert ends == [10_000 * 6 / 15, 10_000 * 9 / 15, 10_000, 10_000]

    def test_a_point_that_never_trades_has_no_sharpe_ratio(self, prices):
        request = sweep_over(prices, {"params": {"fast": [1], "slow": [7]}})
        (only,) = everything(request, Inputs.of([prices]))
        assert (only.trade_count, only.sharpe) == (0, None)


GRIDS = {
    "sma_cross": {"fast": [2, 5, 9], "slow": [7, 12, 30]},
    "rsi_reversion": {"period": [5, 9], "lower": [30, 45], "risk.stop_loss_pct": [None, 1]},
    "donchian": {},
    "atr_trailing": {},
}


def grid_of(name: str) -> dict:
    if GRIDS[name]:
        return {"params": GRIDS[name]}
    first = registry.get(name).parameters[0]
    return {"params": {first.name: [first.default, first.default + 3]}}


class TestEveryPointIsTheSingleBacktest:
    @pytest.mark.parametrize("name", GRIDS)
    @pytest.mark.parametrize("absent", ["mark", "carry"])
    def test_metrics_and_equity_agree_to_the_bit(self, name, absent):
        frame = wandering(600, absent=absent, holes=[0, 40, 41, 42, 300, 599])
        request = sweep_over(
            frame,
            grid_of(name),
            backtest={"strategy": name, "direction": "both", "fee_rate": 0.001},
        )
        inputs = Inputs.of([frame])
        found = everything(request, inputs)
        for number, measured in enumerate(found, start=1):
            single = results.run(request.request(number), inputs)
            assert measured == single.metrics
            simulation, again = running.run_point(request, request.point(number), inputs)
            assert again == single.metrics
            assert simulation.equity.tobytes() == single.equity.tobytes()
        assert len({one.final_equity for one in found}) > 1

    def test_several_symbols_share_the_capital(self):
        frames = [wandering(400, seed=seed, holes=[seed]) for seed in (1, 2)]
        request = sweep_over(frames[0], grid_of("sma_cross"), backtest={"also": ["ETHUSDT"]})
        inputs = Inputs.of(frames)
        for number, measured in enumerate(everything(request, inputs), start=1):
            assert measured == results.run(request.request(number), inputs).metrics

    def test_the_strategy_sees_the_candles_that_warm_it_up(self):
        whole = wandering(500, holes=[90])
        window = Window(int(whole.open_time[100]), whole.window.end_ms)
        inputs = cut(Inputs.of([whole]), window, 60)
        assert inputs.leads == (59,)
        request = sweep_over(
            inputs.frames[0],
            grid_of("sma_cross"),
            backtest={"data": {"absent": "mark", "warmup_bars": 60}},
        )
        for number, measured in enumerate(everything(request, inputs), start=1):
            assert measured == results.run(request.request(number), inputs).metrics

    @pytest.mark.parametrize("mode", ["pessimistic", "optimistic"])
    def test_the_mode_inside_bars_is_that_of_the_payload(self, mode):
        frame = wandering(600)
        request = sweep_over(
            frame,
            {"params": {"risk.stop_loss_pct": [0.3, 0.6], "risk.take_profit_pct": [0.3, 0.6]}},
            backtest={"intrabar": {"mode": mode}},
        )
        inputs = Inputs.of([frame])
        found = everything(request, inputs)
        assert any(one.ambiguous_count for one in found)
        for number, measured in enumerate(found, start=1):
            assert measured == results.run(request.request(number), inputs).metrics


class TestThreads:
    def test_two_threads_give_the_bytes_of_one(self):
        frame = wandering(2000, holes=range(700, 720))
        request = sweep_over(
            frame,
            {"params": {"fast": {"from": 2, "to": 12}, "slow": {"from": 13, "to": 40, "step": 3}}},
        )
        inputs = Inputs.of([frame])
        one, two, four = (
            json.dumps([m.as_dict() for m in everything(request, inputs, threads=threads)])
            for threads in (1, 2, 4)
        )
        assert one == two == four
        assert len(request) > 3 * running.CHUNK

    def test_what_ends_between_chunks_ends_the_work(self):
        frame = wandering(300)
        request = sweep_over(frame, {"params": {"fast": {"from": 1, "to": 49}, "slow": [50, 60]}})
        before = threading.active_count()
        told = []

        class Cancelled(Exception):
            pass

        def cancel(count):
            told.append(count)
            raise Cancelled

        for threads in (1, 2):
            told.clear()
            with pytest.raises(Cancelled):
                everything(request, Inputs.of([frame]), threads=threads, after_chunk=cancel)
            assert told == [running.CHUNK]
        assert threading.active_count() == before

    def test_progress_counts_every_point_once(self):
        frame = wandering(300)
        request = sweep_over(frame, {"params": {"fast": {"from": 1, "to": 49}, "slow": [50, 60]}})
        told = []
        everything(request, Inputs.of([frame]), after_chunk=told.append)
        assert sum(told) == len(request) == 98
        assert max(told) == running.CHUNK

    def test_part_of_the_points_gives_their_part_of_the_answers(self):
        frame = wandering(300)
        request = sweep_over(frame, {"params": {"fast": {"from": 1, "to": 49}, "slow": [50, 60]}})
        inputs = Inputs.of([frame])
        assert (
            running.evaluate(request, range(40, 81), inputs, lambda metrics: metrics)
            == everything(request, inputs)[39:80]
        )


def counting(calls: list, wrong: int | None = None) -> Strategy:
    """Goes in and out every `period` bars; fails for the period `wrong`."""

    def signals(bars, params):
        calls.append(params["period"])
        if params["period"] == wrong:
            raise ZeroDivisionError("nothing to divide by")
        phase = np.arange(len(bars.close)) % (2 * params["period"])
        return Signals(enter_long=phase == 0, exit_long=phase == params["period"])

    return Strategy(
        name="counting",
        version="1",
        title="Counting",
        description="Counts bars.",
        parameters=(Parameter("period", "integer", 3, 1, 100, "Bars."),),
        signals=signals,
        lines=lambda bars, params: {},
    )


@pytest.fixture
def installed(monkeypatch):
    """Makes a strategy known by its name."""

    def install(strategy: Strategy) -> None:
        everyone = registry.builtin() | {strategy.name: strategy}
        monkeypatch.setattr(registry, "builtin", lambda: everyone)

    return install


class TestStrategies:
    def test_the_point_whose_settings_fail_is_named(self, installed):
        installed(counting([], wrong=9))
        frame = wandering(200)
        request = sweep_over(
            frame, {"params": {"period": [7, 8, 9, 10]}}, backtest={"strategy": "counting"}
        )
        for threads in (1, 2):
            with pytest.raises(StrategyFailed) as failed:
                everything(request, Inputs.of([frame]), threads=threads)
            assert 'point 3, {"period": 9}' in str(failed.value)
            assert "nothing to divide by" in str(failed.value)
            assert failed.value.strategy == "counting"

    def test_points_that_differ_in_risk_only_share_the_signals(self, installed):
        calls: list[int] = []
        installed(counting(calls))
        frame = wandering(200)
        request = sweep_over(
            frame,
            {"params": {"period": [5, 6], "risk.stop_loss_pct": [None, 1, 2, 3]}},
            backtest={"strategy": "counting"},
        )
        inputs = Inputs.of([frame])
        found = everything(request, inputs, threads=1)
        assert calls == [5, 6]
        for number, measured in enumerate(found, start=1):
            assert measured == results.run(request.request(number), inputs).metrics


class TestStrategiesOfTheUser:
    SOURCE = '''
"""In above, out below the mean of the last bars."""
import numpy as np
from candlevault.backtest.strategies.contract import Parameter, Strategy
from candlevault.backtest.signals import Signals


def signals(bars, params):
    if params["bars"] == 13:
        raise ValueError("unlucky")
    mean = np.full(len(bars.close), np.nan)
    for i in range(params["bars"] - 1, len(mean)):
        mean[i] = sum(bars.close[i + 1 - params["bars"] : i + 1].tolist()) / params["bars"]
    return Signals(enter_long=bars.close > mean, exit_long=bars.close < mean)


STRATEGY = Strategy(
    name="mine", version="1", title="Mine", description="Mine.",
    parameters=(Parameter("bars", "integer", 5, 2, 100, "Bars."),),
    signals=signals, lines=lambda bars, params: {},
)
'''

    @pytest.fixture(autouse=True)
    def folder(self, tmp_path, monkeypatch):
        place = tmp_path / "strategies"
        place.mkdir()
        (place / "mine.py").write_text(self.SOURCE)
        monkeypatch.setenv("CANDLEVAULT_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("CANDLEVAULT_STRATEGIES", str(place))

    def test_one_process_runs_all_points_and_each_is_the_single_backtest(self, monkeypatch):
        frame = wandering(300)
        request = sweep_over(
            frame,
            {"params": {"bars": {"from": 2, "to": 12}, "risk.stop_loss_pct": [None, 1, 2, 3]}},
            backtest={"strategy": "mine"},
        )
        asked = []
        signals = calls.signals
        monkeypatch.setattr(
            calls, "signals", lambda *given: asked.append(len(given[2])) or signals(*given)
        )
        inputs = Inputs.of([frame])
        found = everything(request, inputs)
        assert asked == [11]
        assert len(found) == 44 > running.CHUNK
        for number in (1, 2, 33, 44):
            assert found[number - 1] == results.run(request.request(number), inputs).metrics

    def test_the_point_that_fails_is_named_with_the_line(self):
        frame = wandering(300)
        request = sweep_over(
            frame, {"params": {"bars": [12, 13, 14]}}, backtest={"strategy": "mine"}
        )
        with pytest.raises(
            StrategyFailed, match=r'mine\.py line.*point 2, \{"bars": 13\}.*unlucky'
        ):
            everything(request, Inputs.of([frame]))
