"""What a benchmark prints and keeps: a table, what is aimed at, and a JSON file."""

from __future__ import annotations

import json
import os
import platform
import statistics
from pathlib import Path

from benchmarks.contenders import PROJECT, Contender, say

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, object]:
    """What it runs on; says so when the machine is busy."""
    load = os.getloadavg()[0]
    if load > 1.0:
        say(f"the machine is busy (load {load:.1f}): figures will be worse than they could be")
    return {"machine": platform.machine(), "processors": os.cpu_count(), "load": load}


def table(title: str, found: list[Contender], unit: float, name: str) -> dict:
    """Print the table of one task, ours first; returns it for the file. `unit` turns seconds into
    what `name` says."""
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


def conclude(subject: str, results: dict[str, object], aims: dict[str, bool]) -> None:
    """Print which aims were reached, and write everything to results/<subject>.json."""
    print()
    for sentence, reached in aims.items():
        print(f"  {'reached' if reached else 'MISSED ':7}  {sentence}")
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{subject}.json"
    file.write_text(json.dumps({**results, "aims": aims}, indent=2) + "\n")
    say(f"written to {file.relative_to(PROJECT)}")
