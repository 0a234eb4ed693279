"""Backtests timed beside other tools: `make bench SUBJECTS=backtest`.

1. One run of crossing averages over 50,400 candles: signals, fills, trade log, metrics.
2. 1,000 combinations of two averages over the same candles, two threads on our side.

Every tool runs in a process of its own, in turns, so that all of them meet the same moods of the
machine. Medians are printed, and ratios of medians. All tools must find the same figures, or
nothing is printed but what differs. ROUNDS=… and SWEEPS=… set how often.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from benchmarks.contenders import Contender, peer_python, require_equal, say
from benchmarks.report import conclude, machine, table

HERE = Path(__file__).parent
ROUNDS = int(os.environ.get("ROUNDS", 21))
SWEEPS = int(os.environ.get("SWEEPS", 3))
LONGEST_ONE_MS, LEAST_ONE_RATIO = 5.0, 4.0
LEAST_SWEEP_RATIO, MOST_MEMORY_RATIO = 20.0, 0.25
OURS = "candlevault"


def contenders(task: str) -> list[Contender]:
    """Those that are set up here; the others are named aloud."""
    ours = [sys.executable, "-B", "-m", "benchmarks.backtest.run_ours", task]
    found = [Contender(OURS, ours)]
    wanted = [
        ("vectorbt", "vectorbt", ["numba", "1000"], 1),
        ("vectorbt, Rust", "vectorbt", ["auto", "1000"], 1),
    ]
    if task == "sweep":
        wanted = [
            ("vectorbt", "vectorbt", ["numba", "1000"], 1),
            ("vectorbt, chunks of 100", "vectorbt", ["numba", "100"], 1),
            ("vectorbt, Rust, chunks of 100", "vectorbt", ["auto", "100"], 1),
        ]
    else:
        wanted += [("backtesting.py", "backtesting", [], 7)]
        found.append(Contender("bare loop", [sys.executable, "-B", script("ceiling"), task]))
    for name, tool, arguments, every in wanted:
        python = peer_python(tool)
        if python is None:
            continue
        command = [str(python), "-IB", "-W", "ignore", script(tool), task, *arguments]
        found.append(Contender(name, command, every))
    return found


def script(name: str) -> str:
    return str(HERE / f"run_{name}.py")


def time_one() -> list[Contender]:
    found = contenders("one")
    for one in found:
        say(f"one run: warming {one.name}")
        one.start()
    for number in range(ROUNDS):
        if number % 7 == 0:
            say(f"one run: round {number + 1} of {ROUNDS}")
        for one in found:
            if number % one.every == 0:
                one.run()
    for one in found:
        one.stop()
    return found


def time_sweep() -> list[Contender]:
    found = contenders("sweep")
    for one in found:
        # What is compiled now is loaded later, which takes less memory.
        say(f"sweep: warming {one.name}")
        one.start()
        one.stop()
    for number in range(SWEEPS):
        for one in found:
            # A process of its own for every sweep: its peak memory is that of one sweep.
            one.start()
            seconds = one.run()
            one.stop()
            say(
                f"sweep {number + 1} of {SWEEPS}: {one.name} {seconds:.2f} s, {one.peak_mb:,.0f} MB"
            )
    return found


def verdicts(one: list[Contender], sweep: list[Contender]) -> dict[str, bool]:
    """What is aimed at, by sentence; only what could be measured."""
    found = {f"one run within {LONGEST_ONE_MS:g} ms": one[0].median * 1e3 <= LONGEST_ONE_MS}
    for other in (other for other in one if other.name.startswith("vectorbt")):
        found[f"one run {LEAST_ONE_RATIO:g} times as fast as {other.name}"] = (
            other.median >= LEAST_ONE_RATIO * one[0].median
        )
    for other in sweep[1:]:
        found[f"sweep {LEAST_SWEEP_RATIO:g} times as fast as {other.name}"] = (
            other.median >= LEAST_SWEEP_RATIO * sweep[0].median
        )
        found[f"sweep in {MOST_MEMORY_RATIO:g} of the memory of {other.name}"] = (
            sweep[0].peak_mb <= MOST_MEMORY_RATIO * other.peak_mb
        )
    return found


def main() -> None:
    """Run it."""
    results = machine()
    say("not timed: nautilus_trader and freqtrade, which take seconds a run")
    one, sweep = time_one(), time_sweep()
    require_equal(one)
    require_equal(sweep)
    print(
        f"\n{results['machine']}, {results['processors']} processors,"
        f" load {results['load']:.1f} at the start"
    )
    results["one"] = table("One run, 50,400 candles", one, 1e3, "median ms")
    results["sweep"] = table("1,000 combinations", sweep, 1.0, "median s")
    conclude("backtest", results, verdicts(one, sweep))


if __name__ == "__main__":
    main()
