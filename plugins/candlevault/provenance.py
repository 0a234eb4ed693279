"""Where candles came from, and what was refused of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from candlevault.windows import Window

PARSER_VERSION = 1
"""Raised whenever the same bytes would be turned into other candles."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """Where candles came from. `url` carries no secret; `sha256` is of the body as sent.

    `symbol` and `timeframe` are what the answer is of, in our spelling.
    """

    provider: str
    symbol: str
    timeframe: str
    url: str
    sha256: str
    bytes: int
    rows: int
    fetched_at: datetime
    duration_ms: int
    etag: str | None = None
    last_modified: str | None = None
    parser_version: int = PARSER_VERSION


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """A file that an archive lists: the month or day it holds, and what tells its version.

    `etag` is without quotes; `key` is the path below the archive's root.
    """

    key: str
    granularity: str
    window: Window
    etag: str
    bytes: int
    last_modified: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that a check refused: as it came, with the reasons and where it came from."""

    open_time_ms: int | None
    reasons: tuple[str, ...]
    row: dict[str, str]
    url: str
