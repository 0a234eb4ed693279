"""Compiled code never outlives the sources it was made of."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import candlevault

PACKAGE = Path(candlevault.__file__).parent
ASK = (
    "from candlevault.backtest.engine.protection import reaches, stop_level\n"
    "from candlevault.backtest.engine.fills import met\n"
    "import numpy as np\n"
    "from candlevault.backtest.engine.tables import PLACE\n"
    "from numba import njit\n"
    "place = np.zeros(1, dtype=PLACE)\n"
    "place['ceiling'] = 100.0\n"
    "place['floor'] = 1.0\n"
    "print(int(met(place[0], 50.0, 99.5)))\n"
    "import os; print(os.environ['NUMBA_CACHE_DIR'])\n"
)


def ask(plugins: Path, cache: Path) -> tuple[str, str]:
    environment = {**os.environ, "PYTHONPATH": str(plugins), "NUMBA_CACHE_DIR": str(cache)}
    done = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=True,
                          env=environment, timeout=300)
    answer, place = done.stdout.split()
    return answer, place


def test_a_change_in_what_is_called_is_compiled_into_its_callers(tmp_path):
    plugins = tmp_path / "plugins"
    shutil.copytree(PACKAGE, plugins / "candlevault",
                    ignore=shutil.ignore_patterns("__pycache__"))
    cache = tmp_path / "cache"
    answer, place = ask(plugins, cache)
    assert answer == "0"
    assert Path(place).parent == cache
    assert list(Path(place).rglob("*.nbi"))
    # `met` in fills.py is untouched; `reaches`, which it calls, gets a wide tolerance.
    source = plugins / "candlevault" / "backtest" / "engine" / "protection.py"
    source.write_text(source.read_text().replace("TOUCH_RATIO = 1e-12", "TOUCH_RATIO = 1e-2"))
    changed, other = ask(plugins, cache)
    assert changed == "1"
    assert other != place


def test_folders_of_old_sources_do_not_pile_up(tmp_path, monkeypatch):
    from candlevault.backtest import compiled

    for number in range(9):
        folder = tmp_path / f"candlevault-old{number}"
        folder.mkdir()
        os.utime(folder, (number, number))
    other = tmp_path / "something-else"
    other.mkdir()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    numba = sys.modules.get("numba")
    before = numba.config.CACHE_DIR if numba else None
    try:
        place = compiled.separate()
    finally:
        if numba:
            numba.config.CACHE_DIR = before
    kept = {path.name for path in tmp_path.iterdir()}
    assert kept == {place.name, "something-else", "candlevault-old5", "candlevault-old6",
                    "candlevault-old7", "candlevault-old8"}
