"""The benchmark times what it says, and refuses a comparison of different results."""

from __future__ import annotations

import math

import pytest

from benchmarks import contenders
from benchmarks.backtest import __main__ as bench
from benchmarks.backtest import run_ceiling, run_ours, workload
from candlevault.backtest.engine.simulation import simulate, stage
from candlevault.backtest.strategies import sma_cross

ROWS = 1_200


def contender(name, seconds, peak_mb=100.0, **figures):
    return contenders.Contender(name, [], seconds=seconds, peak_mb=peak_mb, figures=figures)


def test_the_grid_holds_a_thousand_pairs():
    assert len(workload.GRID) == len(set(workload.GRID)) == 1_000
    assert all(fast < slow for fast, slow in workload.GRID)


def test_the_candles_are_the_same_every_time():
    once, again = workload.candles(ROWS), workload.candles(ROWS)
    assert all((a == b).all() for a, b in zip(once, again, strict=True))
    assert (once.high >= once.open).all() and (once.low <= once.close).all()


def test_the_sweep_gives_each_pair_of_the_grid_what_a_single_run_gives():
    found = run_ours.figures(run_ours.swept(ROWS))
    frame = run_ours.frame_of(ROWS)
    laid_out = stage([frame])
    for number in (0, 39, 40, 999):
        fast, slow = workload.GRID[number]
        signals = sma_cross.signals(laid_out.bars[0], {"fast": fast, "slow": slow})
        done = simulate(laid_out, [signals], run_ours.SETTINGS)
        assert found["final_equity"][number] == done.equity[-1]
        assert found["trades"][number] == len(done.log)


def test_the_bare_loop_finds_what_the_engine_finds():
    ours = run_ours.figures(run_ours.prepare_one()()())
    theirs = run_ceiling.figures(run_ceiling.prepare_one()()())
    for name, (value,) in theirs.items():
        assert math.isclose(value, ours[name][0], rel_tol=1e-9), name


def test_a_contender_that_finds_something_else_ends_the_benchmark():
    ours = contender("ours", [1.0], final_equity=[1.0, 2.0])
    contenders.require_equal([ours, contender("same", [1.0], final_equity=[1.0, 2.0 + 1e-12])])
    with pytest.raises(SystemExit, match="other differs from us in final_equity, number 1"):
        contenders.require_equal([ours, contender("other", [1.0], final_equity=[1.0, 2.0 + 1e-6])])


def test_aims_are_judged_by_medians_and_peaks():
    one = [contender("ours", [0.001, 0.004, 0.9]), contender("vectorbt", [0.017, 0.015, 0.016])]
    sweep = [contender("ours", [1.0], 250.0), contender("vectorbt", [19.9], 1_000.0)]
    assert bench.verdicts(one, sweep) == {
        "one run within 5 ms": True,
        "one run 4 times as fast as vectorbt": True,
        "sweep 20 times as fast as vectorbt": False,
        "sweep in 0.25 of the memory of vectorbt": True,
    }
    one[0].seconds = [0.0051]
    sweep[0].peak_mb = 251.0
    late = bench.verdicts(one, sweep)
    assert not late["one run within 5 ms"]
    assert not late["one run 4 times as fast as vectorbt"]
    assert not late["sweep in 0.25 of the memory of vectorbt"]
