"""SQL tests: one file per fact, a query that returns the offenders; no rows is a pass.

A file of include/sql/tests starts with comment lines `-- what:`, `-- scope:`,
`-- severity: fail|warn`, `-- why:` and, where a defect of one kind cannot be planted
without tripping others, `-- neighbours: a, b`. Its last CTE is named `violations`.
Adding a test is adding a file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path

import psycopg

from candlevault import paths
from candlevault.errors import ConfigurationError
from candlevault.quality import overlay
from candlevault.windows import Window

FAIL = "fail"
WARN = "warn"
SAMPLES = 20
"""How many violations are kept of one test."""


@dataclass(frozen=True, slots=True)
class SqlTest:
    """One test: its name, header and statement."""

    name: str
    what: str
    scope: str
    severity: str
    why: str
    neighbours: tuple[str, ...]
    statement: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a test found: how many violations, and the first few as name → text."""

    test: SqlTest
    count: int
    samples: tuple[dict[str, str], ...]

    @property
    def passed(self) -> bool:
        """Whether nothing was found."""
        return self.count == 0


def load(folder: Path = paths.SQL_TESTS) -> tuple[SqlTest, ...]:
    """Every test of a folder by name; raises ConfigurationError naming file and rule."""
    tests = tuple(_parse(file) for file in sorted(folder.glob("*.sql")))
    if not tests:
        raise ConfigurationError(f"{folder}: holds no SQL test")
    names = {test.name for test in tests}
    for test in tests:
        for neighbour in test.neighbours:
            if neighbour not in names:
                raise ConfigurationError(f"{test.name}.sql: unknown neighbour {neighbour}")
    return tests


@cache
def project_tests() -> tuple[SqlTest, ...]:
    """The project's tests, read once a process."""
    return load()


def run(
    connection: psycopg.Connection,
    tests: tuple[SqlTest, ...],
    series_id: int,
    window: Window,
    venue_time: datetime,
) -> list[Outcome]:
    """Run tests on one series and window, all on the same snapshot, and return all outcomes.

    Cold months are read like hot ones. The connection must be outside any transaction.
    """
    parameters = {
        "series_id": series_id,
        "window_start": window.start,
        "window_end": window.end,
        "venue_time": venue_time,
    }
    outcomes = []
    # Bound as literals, so that the planner sees the window and reads few partitions.
    with (
        overlay.cold_and_hot(connection, series_id, window),
        psycopg.ClientCursor(connection) as cursor,
    ):
        for test in tests:
            cursor.execute(test.statement, parameters)
            names = [column.name for column in cursor.description or ()]
            rows = cursor.fetchmany(SAMPLES)
            samples = tuple(
                {name: str(value) for name, value in zip(names, row, strict=True)} for row in rows
            )
            outcomes.append(Outcome(test, cursor.rowcount, samples))
    return outcomes


def _parse(file: Path) -> SqlTest:
    text = file.read_text(encoding="utf-8")
    header = dict(re.findall(r"^-- (what|scope|severity|why|neighbours): (.+)$", text, re.M))
    for key in ("what", "scope", "severity", "why"):
        if key not in header:
            raise ConfigurationError(f"include/sql/tests/{file.name}: header lacks `-- {key}:`")
    if header["severity"] not in (FAIL, WARN):
        raise ConfigurationError(f"include/sql/tests/{file.name}: severity must be fail or warn")
    if not re.search(r"violations AS \(", text) or "SELECT * FROM violations" not in text:
        raise ConfigurationError(
            f"include/sql/tests/{file.name}: the last CTE must be named violations"
        )
    neighbours = tuple(
        name.strip() for name in header.get("neighbours", "").split(",") if name.strip()
    )
    return SqlTest(
        file.stem,
        header["what"],
        header["scope"],
        header["severity"],
        header["why"],
        neighbours,
        text,
    )
