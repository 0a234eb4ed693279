"""Descriptions of strategies kept on disk, so that a file is executed once per content.

A broken file is tried again after a while: it may have been broken by a missing package, or
only late on a busy machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import candlevault
from candlevault import paths
from candlevault.backtest.user_strategies import messages
from candlevault.backtest.user_strategies.folder import StrategyFile
from candlevault.backtest.user_strategies.messages import Unreadable

BROKEN_FOR_S = 600
_FORMAT = 1
_MOST = 4 * 1024 * 1024


def find(file: StrategyFile) -> dict | None:
    """What was kept for exactly these bytes: `{"said": …}` or `{"broken": …}`; else None."""
    for place in _places():
        found = _read(place / f"{file.name}.json")
        if found.get("of") != _key(file):
            continue
        if isinstance(found.get("said"), dict):
            return {"said": found["said"]}
        if isinstance(found.get("broken"), dict) and _fresh(found.get("at")):
            return {"broken": found["broken"]}
    return None


def keep(file: StrategyFile, content: Mapping[str, object]) -> None:
    """Keep it until the file changes; whole or not at all, and not where nothing can be kept."""
    document = json.dumps({"of": _key(file), "at": time.time(), **content}).encode()
    for place in _places():
        with contextlib.suppress(OSError):
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            if _write(place, f"{file.name}.json", document):
                return


def _read(path: Path) -> dict:
    try:
        with path.open("rb") as kept:
            if os.fstat(kept.fileno()).st_uid == os.geteuid():
                return messages.parsed(kept.read(_MOST))
    except (OSError, Unreadable):
        pass
    return {}


def _write(place: Path, name: str, document: bytes) -> bool:
    # A folder in a place for everybody may have been made by somebody else.
    about = place.stat(follow_symlinks=False)
    if about.st_uid != os.geteuid() or about.st_mode & 0o022:
        return False
    descriptor, new = tempfile.mkstemp(prefix=f".{name}.", dir=place)
    try:
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(document)
        Path(new).replace(place / name)
    except BaseException:
        Path(new).unlink(missing_ok=True)
        raise
    return True


def _fresh(at: object) -> bool:
    # A time in the future means that the clock was set back.
    return isinstance(at, int | float) and 0 <= time.time() - at < BROKEN_FOR_S


def _key(file: StrategyFile) -> list:
    """Whatever could make another description of the same file."""
    version = sys.version.split()[0]
    return [_FORMAT, file.name, file.sha256, candlevault.__version__, version]


def _places() -> tuple[Path, Path]:
    """In the home, or in the folder for temporary files where the home cannot be written to."""
    shared = Path(tempfile.gettempdir()) / f"candlevault-strategies-{os.geteuid()}"
    return paths.home() / "cache" / "strategies", shared
