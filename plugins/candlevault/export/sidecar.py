"""The file beside an export that says what it holds: `….candlevault.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import candlevault
from candlevault.errors import InvalidRequest
from candlevault.export.candle_set import CandleSet, iso
from candlevault.export.stage import is_inside, sha256_of

SUFFIX = ".candlevault.json"
VERSION = 1

_IDENTITY = ("series", "window", "fingerprint", "rows", "known_absences", "lost")
_FACTS = (*_IDENTITY, "as_of", "revision")


@dataclass(frozen=True, slots=True)
class DataFile:
    """A data file: `path` is relative to the sidecar's folder, with `/`."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What an export holds (`facts`: see CandleSet.facts), how and in which files."""

    format: str
    options: dict[str, object]
    facts: dict[str, object]
    files: tuple[DataFile, ...] = ()

    @property
    def identity(self) -> tuple:
        """Equal for exports of equal content, whenever they were read."""
        return (self.format, self.options, *(self.facts[key] for key in _IDENTITY))

    def text(self) -> str:
        """The file's content."""
        content = {
            "candlevault_export": VERSION,
            "format": self.format,
            "options": self.options,
            **self.facts,
            "files": [
                {"path": file.path, "bytes": file.bytes, "sha256": file.sha256}
                for file in self.files
            ],
            "written_at": iso(datetime.now(UTC)),
            "written_by": f"candlevault {candlevault.__version__}",
        }
        return json.dumps(content, indent=2) + "\n"

    def describe(self) -> str:
        """One line: what it is an export of."""
        series, window = self.facts["series"], self.facts["window"]
        return (
            f"{series['venue']}/{series['market']}/{series['symbol']}/{series['timeframe']}"
            f" [{window['start']}, {window['end']}) as of {self.facts['as_of']}"
        )


def name_for(candle_set: CandleSet, format_name: str) -> str:
    """The sidecar's name: `BTCUSDT__1h.parquet.candlevault.json`."""
    return f"{candle_set.series.slug}.{format_name}{SUFFIX}"


def load(path: Path) -> Sidecar:
    """The sidecar in a file; raises InvalidRequest where it is none, OSError where none is."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["candlevault_export"] != VERSION:
            raise InvalidRequest(
                "sidecar", f"must be of version {VERSION}", content["candlevault_export"]
            )
        files = tuple(
            DataFile(str(file["path"]), int(file["bytes"]), str(file["sha256"]))
            for file in content["files"]
        )
        found = Sidecar(
            str(content["format"]),
            dict(content["options"]),
            {key: content[key] for key in _FACTS},
            files,
        )
        found.describe()
    except (ValueError, KeyError, TypeError) as error:
        told = f"{type(error).__name__}: {error}"
        raise InvalidRequest("sidecar", f"{path} describes no export ({told})") from None
    for file in files:
        # It may have come with files from elsewhere, and some of what it names is replaced.
        if not is_inside(file.path):
            raise InvalidRequest("sidecar", "names a file outside its folder", file.path)
    return found


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one data file."""

    path: str
    what: str
    missing: bool


def problems(found: Sidecar, folder: Path) -> list[Problem]:
    """Where the data files in `folder` are not what the sidecar says; empty if all is well."""
    wrong = []
    for file in found.files:
        path = folder / file.path
        if not path.is_file():
            wrong.append(Problem(file.path, "is missing", missing=True))
        elif path.stat().st_size != file.bytes:
            told = f"has {path.stat().st_size} bytes, not {file.bytes}"
            wrong.append(Problem(file.path, told, missing=False))
        elif sha256_of(path) != file.sha256:
            wrong.append(Problem(file.path, "has another SHA-256", missing=False))
    return wrong
