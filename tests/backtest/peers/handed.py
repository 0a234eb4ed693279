"""What the test hands to a peer's script, and how candles are laid out as the peer's rows.

Runs in the peer's Python and needs NumPy only. `<market>.npz` holds the candles (open_time in ms
UTC, open, high, low, close) and, by strategy, the wishes `<name>_enter` and `<name>_exit`, one a
candle, known at its close. `plan.json` lists the runs: name, market, strategy, layout, settings.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

CAPITAL = 10_000.0
FEE_RATE = 0.001


class Rows(NamedTuple):
    """A peer's rows. `candle` numbers the candle of each row, `at_open` says whether the row is
    nothing but that candle's open; `enter` and `exit` are fills wanted at the row's open."""

    candle: np.ndarray
    at_open: np.ndarray
    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    enter: np.ndarray
    exit: np.ndarray


def read(folder: str) -> list[tuple[dict[str, np.ndarray], dict]]:
    """The runs of the folder, each with the arrays of its market."""
    markets = {}
    for file in Path(folder).glob("*.npz"):
        with np.load(file) as arrays:
            markets[file.stem] = dict(arrays)
    runs = json.loads((Path(folder) / "plan.json").read_text())
    return [(markets[run["market"]], run) for run in runs]


def wishes(arrays: dict[str, np.ndarray], run: dict) -> tuple[np.ndarray, np.ndarray]:
    """The wishes of a run's strategy: to be in, to be out; one value a candle."""
    return arrays[f"{run['strategy']}_enter"], arrays[f"{run['strategy']}_exit"]


def lay_out(arrays: dict[str, np.ndarray], run: dict, enter, leave) -> Rows:
    """The candles as rows, and one flat row after them at the last close.

    The run's `layout` is `whole`, a row a candle, or `open_first`, two rows a candle: its open (a
    flat row) and then itself, so that what happens at an open is over before the rest of the
    candle is looked at. In the flat row at the end whoever still holds something is asked to
    leave; a run that says `own_end` has no such row.
    """
    prices = [arrays[name] for name in ("open", "high", "low", "close")]
    candle = np.arange(len(prices[0]))
    due, gone = np.zeros((2, len(candle) + 1), dtype=bool)
    due[1:-1], gone[1:] = enter[:-1], leave
    gone[-1] = True
    rows, last = np.append(candle, len(candle)), prices[3][-1]
    table = [np.append(column, last) for column in prices]
    at_open = np.zeros(len(rows), dtype=bool)
    at_open[-1] = True
    if run["layout"] == "open_first":
        twice = np.repeat(rows, 2)[:-1]
        at_open = np.arange(len(twice)) % 2 == 0
        table = [np.where(at_open, table[0][twice], column[twice]) for column in table]
        due, gone, rows = due[twice] & at_open, gone[twice] & at_open, twice
    made = Rows(rows, at_open, *table, due, gone)
    return Rows(*(column[:-1] for column in made)) if run.get("own_end") else made


def told(arrays: dict[str, np.ndarray], trades, equity: float, **more) -> dict:
    """A run's answer: trades as (entry candle, exit candle, entry price, exit price, quantity),
    where the row after the last candle counts as the last candle, and the final equity."""
    last = len(arrays["open_time"]) - 1
    return {
        "trades": [[min(int(i), last), min(int(j), last), *map(float, rest)]
                   for i, j, *rest in trades],
        "equity": float(equity),
        **more,
    }  # fmt: skip


def answer(version: str, runs: dict) -> None:
    """Print everything as the last line of standard output."""
    sys.stdout.write("\n" + json.dumps({"version": version, "runs": runs}) + "\n")
