"""Archives as really published, kept in the publisher's layout, served as they are.

`ROOT/data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2023-01.zip` with its `.CHECKSUM`, or
the extracted `.csv`, which is packed again (so only its content is the publisher's).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

PATH = re.compile(
    r"data/(?P<place>spot|futures/um)/(?P<period>daily|monthly)/klines/"
    r"(?P<symbol>[A-Z0-9]+)/(?P<timeframe>[0-9]+[a-zA-Z]+)/"
    r"(?P=symbol)-(?P=timeframe)-(?P<date>\d{4}-\d{2}(?:-\d{2})?)",
    re.ASCII,
)
"""A published file's path without `.zip`."""


@dataclass(frozen=True, slots=True)
class PublishedArchives:
    """Kept archives by their path without `.zip`, such as `data/spot/…/BTCUSDT-1h-2023-01`."""

    files: dict[str, Path]

    @classmethod
    def find(cls, root: Path) -> PublishedArchives | None:
        """The archives below `root/data` or `root/archives/data`; None without any."""
        for base in (root, root / "archives"):
            if (base / "data").is_dir():
                files: dict[str, Path] = {}
                for path in sorted((base / "data").rglob("*")):
                    stem = path.relative_to(base).as_posix().removesuffix(path.suffix)
                    if path.suffix in (".zip", ".csv") and PATH.fullmatch(stem):
                        # ".csv" sorts before ".zip": the original zip wins.
                        files[stem] = path
                if files:
                    return cls(files)
        return None

    def checksum(self, stem: str) -> bytes | None:
        """The publisher's own checksum file of a kept zip, if it was kept too."""
        path = self.files[stem]
        beside = path.with_name(path.name + ".CHECKSUM")
        return beside.read_bytes() if path.suffix == ".zip" and beside.is_file() else None
