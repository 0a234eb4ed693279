"""How a contender is driven: it gets ready, then runs once for every line it reads.

Needs the standard library only, since it runs in the others' Pythons as well.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable

Figures = dict[str, list[float]]
"""By name one value a combination; a single run is one combination."""


def peak_mb() -> float:
    """The most memory this process ever held, imports included."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


def serve(
    version: str,
    prepare: dict[str, Callable[[], Callable[[], object]]],
    figures: Callable[[object], Figures],
) -> None:
    """Answer on standard output, one JSON line for each line read.

    The task is the first argument. `prepare[task]` warms up and returns what makes one run
    ready (not timed); that returns the run itself (timed). `figures` (not timed) reads from
    what the run returned, which must hold the metrics already.
    """
    ready = prepare[sys.argv[1]]()
    _say(version=version)
    for _ in sys.stdin:
        run = ready()
        start, spent = time.perf_counter(), time.process_time()
        found = run()
        seconds, spent = time.perf_counter() - start, time.process_time() - spent
        peak = peak_mb()
        _say(seconds=seconds, cpu_seconds=spent, peak_mb=peak, figures=figures(found))


def _say(**answer: object) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
