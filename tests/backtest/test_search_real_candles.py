"""A grid over real candles: hourly BTCUSDT from 2020 to 2025, averages that cross."""

from __future__ import annotations

import pytest

from candlevault import timeframe as timeframes
from candlevault.backtest import result as results
from candlevault.backtest.data.frame import build_frame
from candlevault.backtest.data.inputs import Inputs
from candlevault.backtest.search import folds, running, walk_forward
from candlevault.backtest.search.deflated_sharpe import deflate
from candlevault.backtest.search.parsing import parse
from candlevault.backtest.search.ranking import rank
from candlevault.windows import Window
from tests.support.sweeping import text_of


@pytest.fixture(scope="module")
def inputs(real_candles):
    table = real_candles("spot", "BTCUSDT", "1h")
    hour = timeframes.parse("1h")
    window = Window(
        int(table["open_time"].iloc[0]), int(table["open_time"].iloc[-1]) + hour.step_ms
    )
    frame = build_frame(hour, window, {name: table[name].to_numpy() for name in table})
    return Inputs.of([frame])


@pytest.fixture(scope="module")
def request_(inputs):
    window = inputs.frames[0].window
    return parse(
        {
            "backtest": {
                "symbol": "BTCUSDT",
                "timeframe": "1h",
                "start_time": text_of(window.start_ms),
                "end_time": text_of(window.end_ms),
                "strategy": {"name": "sma_cross"},
            },
            "search": {
                "params": {
                    "fast": {"from": 10, "to": 100, "step": 10},
                    "slow": {"from": 20, "to": 400, "step": 20},
                }
            },
            "walk_forward": {"in_sample_days": 365, "out_of_sample_days": 90},
        }
    )


@pytest.fixture(scope="module")
def found(request_, inputs):
    return running.evaluate(request_, range(1, len(request_) + 1), inputs, lambda m: m)


def test_single_backtests_give_the_figures_of_their_points(request_, inputs, found):
    assert (len(request_), request_.combinations.left_out) == (175, 25)
    for number in (1, 60, 117, 175):
        assert found[number - 1] == results.run(request_.request(number), inputs).metrics


def test_the_best_of_many_is_worth_less_than_it_seems(request_, found):
    ranking = rank(
        "sharpe",
        [one.sharpe for one in found],
        [one.total_return_pct for one in found],
        request_.places(),
    )
    best = found[ranking.best]
    deflated = deflate(
        [one.period_sharpe for one in found],
        sharpe=best.period_sharpe,
        skewness=best.skewness,
        kurtosis=best.kurtosis,
        periods=best.periods,
    )
    assert request_.given(ranking.best + 1) == {"fast": 30, "slow": 400}
    # A corner of the grid: its neighbours do worse, and so does nearly every other point.
    assert ranking.best_value == pytest.approx(1.2690327045)
    assert (ranking.neighbours, ranking.neighbours_mean) == (3, pytest.approx(1.1518162823))
    assert ranking.median == pytest.approx(0.8226221368)
    assert deflated.trials == 175
    # By luck alone the best of 175 would have a daily ratio of 0.029, this one has 0.066.
    assert deflated.expected_maximum == pytest.approx(0.02872078757)
    assert deflated.sharpe == pytest.approx(0.06642420761)
    assert deflated.probabilistic == pytest.approx(0.999094681893)
    assert deflated.deflated == pytest.approx(0.961700056911)


def test_choosing_as_time_goes_by(request_, inputs):
    planned = folds.plan(request_.backtest, request_.walk_forward)
    chosen = []
    for fold in planned:
        scores = running.evaluate(
            request_,
            range(1, len(request_) + 1),
            walk_forward.in_sample(request_, inputs, fold),
            lambda metrics: metrics.sharpe,
        )
        chosen.append(walk_forward.choose("sharpe", scores))
    result = walk_forward.run(request_, inputs, planned, chosen)
    assert len(planned) == 20
    assert planned[-1].out_of_sample.end_ms == request_.backtest.window.end_ms
    # What was best in sample (a ratio of 1.77 on average) came to 0.41 out of it.
    assert result.in_sample_mean == pytest.approx(1.7728610103)
    assert result.metrics.sharpe == pytest.approx(0.4101526180)
    assert result.metrics.total_return_pct == pytest.approx(49.5263595843)
    assert result.efficiency == pytest.approx(0.0721403605)
    assert result.profitable_folds_pct == 50.0
    assert (
        len(result.equity)
        == (planned[-1].out_of_sample.end_ms - planned[0].out_of_sample.start_ms) // 3_600_000
    )
