"""Which strategies of the user there are, and why a file is none."""

from __future__ import annotations

import time
from collections.abc import Container

from candlevault.backtest.strategies.contract import Strategy
from candlevault.backtest.user_strategies import cache, calls, description, folder, process
from candlevault.backtest.user_strategies.folder import StrategyFile
from candlevault.backtest.user_strategies.process import Limits
from candlevault.errors import StrategyFailed

_DESCRIBE_S = 20
"""Seconds that the execution of a file may take when it is read."""

_LISTING_S = 5.0
"""After this long no further unknown file is read for a list. The next list goes on."""

_known: dict[str, tuple[str, Strategy | StrategyFailed, float]] = {}
"""The last description of each name: SHA-256, what it was, and until when it holds."""


def known(taken: Container[str]) -> dict[str, Strategy]:
    """The strategies of the folder by name, ascending; those named like one in `taken` left out.

    Reads the folder each time, so that it always is as the folder is. Files that were never
    seen before are executed, in processes of their own.
    """
    return {name: found for name, found in _survey(taken).items() if isinstance(found, Strategy)}


def described(taken: Container[str]) -> dict[str, Strategy]:
    """Those of `known` that were read before; nothing is executed, however new a file is."""
    looked = {name: _look(name) for name in folder.names() if name not in taken}
    return {name: found for name, found in looked.items() if isinstance(found, Strategy)}


def named(taken: Container[str]) -> tuple[str, ...]:
    """Names of the files that are strategies or may be: not read yet; nothing is executed."""
    looked = {name: _look(name) for name in folder.names() if name not in taken}
    return tuple(
        name for name, found in looked.items() if found is None or isinstance(found, Strategy)
    )


def broken(taken: Container[str]) -> dict[str, str]:
    """Why files of the folder are no strategies, by the name they would have; ascending."""
    return {
        name: str(found)
        for name, found in _survey(taken).items()
        if not isinstance(found, Strategy)
    }


def find(name: str) -> Strategy | str | None:
    """The strategy of that name, why its file is none, or None if there is no such file."""
    if name not in folder.names():
        return None
    found = _look(name) or _read(name)
    return found if isinstance(found, Strategy) else str(found)


def _survey(taken: Container[str]) -> dict[str, Strategy | StrategyFailed | str]:
    enough = time.monotonic() + _LISTING_S
    found: dict[str, Strategy | StrategyFailed | str] = {}
    for name in folder.names():
        if name in taken:
            found[name] = f"{name}.py: {name} is the name of a built-in strategy"
        else:
            judged = _look(name)
            if judged is None:
                in_time = time.monotonic() < enough
                judged = _read(name) if in_time else f"{name}.py: is not read yet"
            found[name] = judged
    return found


def _look(name: str) -> Strategy | StrategyFailed | str | None:
    """What is known of a file without executing it; None: nothing, of what it holds now."""
    file = folder.read(name)
    if isinstance(file, str):
        return file
    sha256, found, until = _known.get(name, ("", None, 0.0))
    if found is not None and sha256 == file.sha256 and time.monotonic() < until:
        return found
    kept = cache.find(file)
    return None if kept is None else _judged(file, kept)


def _read(name: str) -> Strategy | StrategyFailed | str:
    """What a file is once it was executed, in a process of its own."""
    file = folder.read(name)
    if isinstance(file, str):
        return file
    kept = _executed(file)
    cache.keep(file, kept)
    return _judged(file, kept)


def _judged(file: StrategyFile, kept: dict) -> Strategy | StrategyFailed:
    found = _declared(file, kept)
    until = float("inf") if isinstance(found, Strategy) else time.monotonic() + cache.BROKEN_FOR_S
    _known[file.name] = (file.sha256, found, until)
    return found


def _executed(file: StrategyFile) -> dict:
    allowed = process.limits()
    allowed = Limits(min(allowed.timeout_s, _DESCRIBE_S), allowed.memory_mb)
    try:
        return {"said": calls.describe(file, allowed)}
    except StrategyFailed as failed:
        return {"broken": {"what": failed.what, "line": failed.line}}


def _declared(file: StrategyFile, kept: dict) -> Strategy | StrategyFailed:
    if "said" in kept:
        try:
            return description.strategy(file, kept["said"])
        except StrategyFailed as failed:
            return failed
    what, line = kept["broken"].get("what"), kept["broken"].get("line")
    return calls.failure(file, str(what), line if type(line) is int else None)
