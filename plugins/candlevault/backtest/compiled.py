"""Where compiled code is kept: one folder for each state of the sources.

numba's cache looks at the file of the function that is called and not at those it calls in
turn: with one folder for all, a loop would go on with the old machine code of what it calls
after that was changed, under the new version's name.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

_KEPT = 4
"""Folders of other states that stay: several checkouts may share one cache."""


def separate() -> Path:
    """Point numba's cache at the folder of these sources; returns it.

    It lies in NUMBA_CACHE_DIR if that is set, else in the home's or the user's cache, else in
    the folder for temporary files. Folders of older states are removed. Must be called before
    anything is compiled.
    """
    root = _root()
    place = root / f"candlevault-{_state()}"
    with contextlib.suppress(OSError):
        place.mkdir(parents=True, exist_ok=True)
        os.utime(place)
        _tidy(root, place)
    # Children of this process compile the same sources.
    os.environ["NUMBA_CACHE_DIR"] = str(place)
    if "numba" in sys.modules:
        sys.modules["numba"].config.CACHE_DIR = str(place)
    return place


def _root() -> Path:
    given = os.environ.get("NUMBA_CACHE_DIR")
    if given:
        path = Path(given)
        return path.parent if path.name.startswith("candlevault-") else path
    home = os.environ.get("CANDLEVAULT_HOME")
    candidates = [Path(home) / "cache"] if home else []
    with contextlib.suppress(RuntimeError):
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        candidates.append(Path(base) / "candlevault")
    for one in candidates:
        with contextlib.suppress(OSError):
            one.mkdir(parents=True, exist_ok=True)
            if os.access(one, os.W_OK):
                return one
    return Path(tempfile.gettempdir()) / f"candlevault-{os.getuid()}"


def _state() -> str:
    """A hash of every source below this package that compiles something, and of the engine,
    whose numbers are compiled in."""
    digest = hashlib.sha256()
    here = Path(__file__).parent
    for file in sorted(here.rglob("*.py")):
        source = file.read_bytes()
        if b"njit" in source or file.parent.name == "engine":
            digest.update(f"{file.relative_to(here)} {len(source)}\n".encode())
            digest.update(source)
    return digest.hexdigest()[:16]


def _tidy(root: Path, own: Path) -> None:
    others = [path for path in root.glob("candlevault-*") if path != own and path.is_dir()]
    others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in others[_KEPT:]:
        shutil.rmtree(path, ignore_errors=True)
