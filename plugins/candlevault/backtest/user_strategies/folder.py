"""The folder of the user's strategies and the files in it, read and hashed, never run."""

from __future__ import annotations

import hashlib
import keyword
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from candlevault import config, paths

MAX_BYTES = 1024 * 1024
MAX_NAME = 64


@dataclass(frozen=True, slots=True)
class StrategyFile:
    """One file: the strategy's `name`, the `file`'s own name, its bytes and their SHA-256."""

    name: str
    file: str
    source: bytes = field(repr=False)
    sha256: str


def location() -> Path:
    """`CANDLEVAULT_STRATEGIES`, or `strategies` in the home."""
    return Path(config.setting("CANDLEVAULT_STRATEGIES") or paths.home() / "strategies").resolve()


def names() -> tuple[str, ...]:
    """Names of all files `<name>.py`, ascending; those that begin with `_` or `.` do not count.

    Empty where there is no folder.
    """
    try:
        found = [path.name for path in location().iterdir()]
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return ()
    return tuple(
        sorted(
            name.removesuffix(".py")
            for name in found
            if name.endswith(".py") and not name.startswith(("_", "."))
        )
    )


def read(name: str) -> StrategyFile | str:
    """The file of the strategy `name`, or why it is none of which a strategy is read."""
    file = f"{name}.py"
    if not (name.isascii() and name.isidentifier()) or keyword.iskeyword(name):
        return f"{file}: a strategy's name must be a Python name of ASCII letters, digits and _"
    if len(name) > MAX_NAME:
        return f"{file}: a strategy's name has at most {MAX_NAME} characters"
    folder = location()
    try:
        path = (folder / file).resolve(strict=True)
        if not path.is_relative_to(folder):
            return f"{file}: is a link out of the folder"
        # Opening a pipe would wait for somebody to write into it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as opened:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return f"{file}: is no plain file"
            source = opened.read(MAX_BYTES + 1)
    except (OSError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        return f"{file}: cannot be read: {reason or 'its links go in a circle'}"
    if len(source) > MAX_BYTES:
        return f"{file}: is larger than {MAX_BYTES} bytes"
    return StrategyFile(name, file, source, hashlib.sha256(source).hexdigest())
