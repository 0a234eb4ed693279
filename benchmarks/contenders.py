"""Contenders of a benchmark: tools in processes of their own, driven in turns."""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

PROJECT = Path(__file__).parents[1]
EQUAL_RATIO = 1e-9


@dataclass
class Contender:
    """A tool and how it is started; it takes part in every `every`-th round.

    Its program answers as candlevault's benchmarks/serving.py has it. `seconds` are those of the
    runs so far, `peak_mb` the most memory any of its processes held.
    """

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
        """The median of the seconds."""
        return statistics.median(self.seconds)

    def start(self) -> None:
        """Start the program and wait until it is ready."""
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
        """Run once; returns the seconds."""
        self.process.stdin.write("run\n")
        self.process.stdin.flush()
        answer = self._answer()
        self.seconds.append(answer["seconds"])
        self.cpu_seconds.append(answer["cpu_seconds"])
        self.peak_mb = max(self.peak_mb, answer["peak_mb"])
        self.figures = answer["figures"]
        return answer["seconds"]

    def stop(self) -> None:
        """End the program."""
        self.process.communicate()

    def _answer(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended: {' '.join(self.command)}")
        return json.loads(line)


def say(text: str) -> None:
    """Tell how far it is, with the time of day."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)


def peer_python(tool: str) -> Path | None:
    """The Python in which a peer is set up; None, and said aloud, where it is not."""
    python = PROJECT / ".peers" / tool / "bin" / "python"
    if python.exists():
        return python
    say(f"skipped: {tool} is not set up in .peers/{tool}")
    return None


def require_equal(found: list[Contender]) -> None:
    """The comparison is honest only where all find the same."""
    ours = found[0].figures
    for one in found[1:]:
        for name, values in one.figures.items():
            for i, pair in enumerate(zip(ours[name], values, strict=True)):
                if not math.isclose(*pair, rel_tol=EQUAL_RATIO):
                    raise SystemExit(f"{one.name} differs from us in {name}, number {i}: {pair}")
