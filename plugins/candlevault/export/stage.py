"""Files that appear whole or not at all.

Everything is written below temporary names in its final folders, brought to the disk, and
only then renamed. The folder is locked meanwhile, so that two exports never mix.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

_PART = ".candlevault-part"


@contextlib.contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold the folder `root`, made where missing; waits for another export into it."""
    root.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_inside(name: str) -> bool:
    """Whether a relative name, with `/`, stays inside the folder it is relative to."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts


class Stage:
    """The files of one export into `root` before anybody sees them.

    `owned` names what an earlier export of the same kind wrote there.
    """

    def __init__(self, root: Path, owned: frozenset[str] = frozenset()) -> None:
        self.root = root
        self.owned = owned
        self._parts: dict[str, Path] = {}
        self._made: list[Path] = []

    @property
    def names(self) -> list[str]:
        """The names of the files to be, relative to the root, in the order asked for."""
        return list(self._parts)

    def file(self, name: str) -> Path:
        """Where to write what will be called `name`, relative to the root and with `/`."""
        if not is_inside(name) or name in self._parts:
            raise ValueError(name)
        self._make_folder((self.root / name).parent)
        self.sweep([name])
        self._parts[name] = self._part_of(name)
        return self._parts[name]

    def part(self, name: str) -> Path:
        """The temporary file of `name`."""
        return self._parts[name]

    def strangers(self, folder: str, pattern: str) -> list[Path]:
        """Files in a folder below the root that are neither staged nor owned."""
        known = {self.root / name for name in (*self.owned, *self._parts)}
        return sorted(path for path in (self.root / folder).glob(pattern) if path not in known)

    def seal(self) -> None:
        """Bring every file to the disk."""
        for part in self._parts.values():
            with part.open("rb+") as file:
                os.fsync(file.fileno())

    def publish(self, names: list[str]) -> None:
        """Give these files their names, in this order."""
        for name in names:
            part = self._parts.pop(name)
            part.replace(self.root / name)
        for folder in {(self.root / name).parent for name in names}:
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def discard(self) -> None:
        """Remove what was staged and not published, and folders made for nothing."""
        for part in self._parts.values():
            part.unlink(missing_ok=True)
        self._parts.clear()
        for folder in reversed(self._made):
            with contextlib.suppress(OSError):
                folder.rmdir()

    def sweep(self, names: Iterable[str]) -> None:
        """Remove what a killed export left of these files under temporary names."""
        for name in names:
            self._part_of(name).unlink(missing_ok=True)

    def _part_of(self, name: str) -> Path:
        final = self.root / name
        return final.with_name(f".{final.name}{_PART}")

    def _make_folder(self, folder: Path) -> None:
        missing = []
        while not folder.exists():
            missing.append(folder)
            folder = folder.parent
        for path in reversed(missing):
            path.mkdir(exist_ok=True)
            self._made.append(path)
