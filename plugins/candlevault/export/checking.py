"""Checking an export: its files against its sidecar, and its sidecar against the store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from candlevault.export import sidecar
from candlevault.export.reading import Say, quiet, read
from candlevault.export.sidecar import Sidecar
from candlevault.storage.database import Connect


@dataclass(frozen=True, slots=True)
class Checked:
    """A sidecar and what is wrong with its export, one line each; empty if all is well."""

    sidecar: Sidecar
    problems: tuple[str, ...]


def check(path: str | Path) -> Checked:
    """Whether the files of an export are what its sidecar says.

    Raises InvalidRequest for a file that is no sidecar, OSError for one that is not there.
    """
    path = Path(path)
    found = sidecar.load(path)
    wrong = sidecar.problems(found, path.parent)
    return Checked(found, tuple(f"{problem.path} {problem.what}" for problem in wrong))


def check_against_store(
    found: Sidecar, database: str | Connect | None = None, *, say: Say = quiet
) -> tuple[str, ...]:
    """Whether the store still answers the same as of the export's instant; lines of what not."""
    series, window = found.facts["series"], found.facts["window"]
    now = read(
        series["symbol"],
        series["timeframe"],
        window["start"],
        window["end"],
        as_of=found.facts["as_of"],
        venue=series["venue"],
        market=series["market"],
        database=database,
        say=say,
    )
    told = now.facts()
    return tuple(
        f"{key} is {told[key]} in the store, {found.facts[key]} in the export"
        for key in ("revision", "fingerprint", "rows")
        if told[key] != found.facts[key]
    )
