"""The folder that files for a run are put into: nothing outside it can be named."""

from __future__ import annotations

import re
from pathlib import Path

from candlevault import config, paths
from candlevault.errors import InvalidRequest
from candlevault.ingest.correction_files import MAX_BYTES


def folder() -> Path:
    """`CANDLEVAULT_INBOX`, or `inbox` in the home."""
    return Path(config.setting("CANDLEVAULT_INBOX") or paths.home() / "inbox").resolve()


def read(name: str) -> bytes:
    """The bytes of a file of the inbox; raises InvalidRequest for the field `file`."""
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}", name, re.ASCII):
        raise InvalidRequest("file", "must be a plain file name", name)
    path = folder() / name
    if path.is_symlink() or not path.is_file():
        raise InvalidRequest("file", f"there is no such file in the folder {folder()}", name)
    if path.stat().st_size > MAX_BYTES:
        raise InvalidRequest("file", f"is larger than {MAX_BYTES} bytes", name)
    return path.read_bytes()
