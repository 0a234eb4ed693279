"""Backtests timed beside other tools: `make bench-backtest`.

1. One run of crossing averages over 50,400 candles: signals, fills, trade log, metrics.
2. 1,000 combinations of two averages over the same candles, two threads on our side.

Every tool runs in a process of its own, in turns, so that all of them meet the same moods of the
machine. Medians are printed, and ratios of medians. All tools must find the same figures, or
nothing is printed but what differs. ROUNDS=… and SWEEPS=… set how often.
"""

from __future__ import annotations

import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]
RESULTS = HERE.parent / "results" / "backtest.json"
ROUNDS = int(os.environ.get("ROUNDS", 21))
SWEEPS = int(os.environ.get("SWEEPS", 3))
EQUAL_RATIO = 1e-9
LONGEST_ONE_MS, LEAST_ONE_RATIO = 5.0, 4.0
LEAST_SWEEP_RATIO, MOST_MEMORY_RATIO = 20.0, 0.25
OURS = "candlevault"


@dataclass
class Contender:
    """A tool and how it is started; it takes part in every `every`-th round."""

    name: str
    command: list[str]
    every: int = 1
    version: str = ""
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    peak_mb: float = 0.0
    figures: dict[str, list[float]] = field(default_factory=dict)
    process: subprocess.Popen | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=PROJECT,
        )
        self.version = self._answer()["version"]

    def run(self) -> float:
        self.process.stdin.write("run\n")
        self.process.stdin.flush()
        answer = self._answer()
        self.seconds.append(answer["seconds"])
        self.cpu_seconds.append(answer["cpu_seconds"])
        self.peak_mb = max(self.peak_mb, answer["peak_mb"])
        self.figures = answer["figures"]
        return answer["seconds"]

    def stop(self) -> None:
        self.process.communicate()

    def _answer(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended: {' '.join(self.command)}")
        return json.loads(line)


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
        python = PROJECT / ".peers" / tool / "bin" / "python"
        if not python.exists():
            say(f"skipped: {name} is not set up in .peers/{tool}")
            continue
        command = [str(python), "-IB", "-W", "ignore", script(tool), task, *arguments]
        found.append(Contender(name, command, every))
    return found


def script(name: str) -> str:
    return str(HERE / f"run_{name}.py")


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)


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


def require_equal(found: list[Contender]) -> None:
    """The comparison is honest only where all find the same."""
    ours = found[0].figures
    for one in found[1:]:
        for name, values in one.figures.items():
            for i, pair in enumerate(zip(ours[name], values, strict=True)):
                if not math.isclose(*pair, rel_tol=EQUAL_RATIO):
                    raise SystemExit(f"{one.name} differs from us in {name}, number {i}: {pair}")


def table(title: str, found: list[Contender], unit: float, name: str) -> dict:
    """Print one task's table; returns it for the file."""
    ours = found[0]
    width = max(len(one.name) for one in found)
    print(f"\n{title}")
    words = (name, "min", "of cpu", "peak MB", "time/ours", "ours/memory")
    head = " ".join(
        f"{word:>{size}}" for word, size in zip(words, (10, 10, 10, 9, 10, 12), strict=True)
    )
    print(f"  {'':{width}} {head}   runs")
    rows = {}
    for one in found:
        ratio, memory = one.median / ours.median, ours.peak_mb / one.peak_mb
        print(
            f"  {one.name:{width}} {one.median * unit:10,.2f} {min(one.seconds) * unit:10,.2f}"
            f" {statistics.median(one.cpu_seconds) * unit:10,.2f}"
            f" {one.peak_mb:9,.0f} {ratio:9.2f}x {memory:12.2f}   {len(one.seconds)}"
        )
        rows[one.name] = {
            "version": one.version,
            "seconds": one.seconds,
            "cpu_seconds": one.cpu_seconds,
            "median_seconds": one.median,
            "peak_mb": one.peak_mb,
            "times_ours": ratio,
            "our_part_of_its_memory": memory,
        }
    return rows


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
    load = os.getloadavg()[0]
    if load > 1.0:
        say(f"the machine is busy (load {load:.1f}): figures will be worse than they could be")
    say("not timed: nautilus_trader and freqtrade, which take seconds a run")
    one, sweep = time_one(), time_sweep()
    require_equal(one)
    require_equal(sweep)
    print(f"\n{platform.machine()}, {os.cpu_count()} processors, load {load:.1f} at the start")
    results = {
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "load": load,
        "one": table("One run, 50,400 candles", one, 1e3, "median ms"),
        "sweep": table("1,000 combinations", sweep, 1.0, "median s"),
        "aims": verdicts(one, sweep),
    }
    print()
    for sentence, reached in results["aims"].items():
        print(f"  {'reached' if reached else 'MISSED ':7}  {sentence}")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    say(f"written to {RESULTS.relative_to(PROJECT)}")


if __name__ == "__main__":
    main()
