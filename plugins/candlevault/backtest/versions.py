"""What code produced a result."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable

import candlevault
from candlevault.backtest.engine.simulation import ENGINE_VERSION

_WITHOUT_FIGURES = ("tear_sheet", "__pycache__")
"""Folders that only show what has come out."""

_CORE_MODULES = ("errors.py", "series.py", "timeframe.py", "windows.py")


@cache
def code_versions() -> dict[str, str]:
    """`candlevault`: release; `engine`: rules of the engine; `code_sha256`: the very sources.

    The hash covers the backtest package and the core it stands on, so that two results
    with equal versions came from equal code even between releases.
    """
    root = resources.files(candlevault)
    digest = hashlib.sha256()
    for name, source in sorted(
        [*_sources(root / "backtest", "backtest/")]
        + [(name, (root / name).read_bytes()) for name in _CORE_MODULES]
    ):
        # A checkout on another system may differ in line ends only.
        source = source.replace(b"\r\n", b"\n")
        digest.update(f"{name} {len(source)}\n".encode())
        digest.update(source)
    return {
        "candlevault": candlevault.__version__,
        "engine": ENGINE_VERSION,
        "code_sha256": digest.hexdigest(),
    }


def _sources(folder: Traversable, prefix: str) -> list[tuple[str, bytes]]:
    found = []
    for entry in folder.iterdir():
        if entry.is_dir() and entry.name not in _WITHOUT_FIGURES:
            found += _sources(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".py"):
            found.append((prefix + entry.name, entry.read_bytes()))
    return found
