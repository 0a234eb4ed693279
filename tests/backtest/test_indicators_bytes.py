"""Indicators give the same bytes on every machine: fixed digests, and what the source says."""

from __future__ import annotations

import hashlib
import inspect
from types import ModuleType

import numpy as np
import pytest
from numba.core.dispatcher import Dispatcher

from candlevault.backtest import indicators as ind

DIGESTS = {
    "sma 20": "64f698b288917488",
    "sma 127": "c419bdbba4acc1cb",
    "ema 26": "fd6d8d7cbc4392cb",
    "ema 900": "eac6a0ffb618ba4b",
    "wilder 14": "0cafb048386feea1",
    "rsi 14": "82db925b45b656dc",
    "true_range": "9422d87a9a2ed910",
    "atr 14": "ea9423c82a4133e2",
    "macd histogram": "eae1e73b7bb04940",
    "bollinger lower": "a9d533cecbd0423e",
    "bollinger upper": "182e3e1a5b86bdd5",
    "crosses_above": "47292f9c393a8c95",
    "crosses_below": "183287ad19edb9e4",
}
"""The beginnings of SHA-256 over little-endian values, of the walk below.

They were computed with interpreted additions in the order of the definitions.
"""


def walk(rows=3000):
    """High, low and close in hundredths, drawn by a generator in whole numbers."""
    state, price, out = 1, 1_000_000, []
    for _ in range(rows):
        drawn = []
        for _ in range(3):
            state = (state * 1_103_515_245 + 12_345) % 2**31
            drawn.append(state >> 16)
        price += drawn[0] % 2001 - 1000
        out.append((price + drawn[1] % 500, price - drawn[2] % 500, price))
    return (np.array(column) / 100 for column in zip(*out, strict=True))


def computed():
    high, low, close = walk()
    fast, slow = ind.ema(close, 12), ind.ema(close, 26)
    return {
        "sma 20": ind.sma(close, 20),
        "sma 127": ind.sma(close, 127),
        "ema 26": slow,
        "ema 900": ind.ema(close * (1.0 / 3.0), 900),
        "wilder 14": ind.wilder(close, 14),
        "rsi 14": ind.rsi(close, 14),
        "true_range": ind.true_range(high, low, close),
        "atr 14": ind.atr(high, low, close, 14),
        "macd histogram": ind.macd(close).histogram,
        "bollinger lower": ind.bollinger(close, 20, 2.0).lower,
        "bollinger upper": ind.bollinger(close, 50, 1.5).upper,
        "crosses_above": ind.crosses_above(fast, slow),
        "crosses_below": ind.crosses_below(fast, slow),
        "highest": ind.highest(high, 20),
        "lowest": ind.lowest(low, 33),
        "at_least": ind.at_least(fast, slow),
    }


def modules() -> list[ModuleType]:
    return [value for value in vars(ind).values() if inspect.ismodule(value)]


def kernels():
    return {
        (module, name): value
        for module in modules()
        for name, value in vars(module).items()
        if isinstance(value, Dispatcher)
    }


def digest(values: np.ndarray) -> str:
    plain = np.where(np.isnan(values), np.nan, values).astype("<f8")
    return hashlib.sha256(plain.tobytes()).hexdigest()[:16]


def test_a_fixed_walk_has_fixed_digests():
    lines = computed()
    assert {name: digest(lines[name]) for name in DIGESTS} == DIGESTS


def test_compiled_loops_give_what_the_interpreter_gives_to_the_last_bit(monkeypatch):
    compiled = computed()
    for (module, name), kernel in kernels().items():
        monkeypatch.setattr(module, name, kernel.py_func)
    interpreted = computed()
    for name, line in compiled.items():
        assert line.tobytes() == interpreted[name].tobytes(), name


@pytest.mark.parametrize("option", ["fastmath", "parallel"])
def test_no_loop_may_be_reordered(option):
    found = kernels()
    assert len(found) >= 10
    for (module, name), kernel in found.items():
        assert not kernel.targetoptions.get(option), f"{module.__name__}.{name}"
        assert kernel.targetoptions["nogil"], f"{module.__name__}.{name}"
