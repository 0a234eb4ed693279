"""Asks for what the file of a strategy declares, and for its signals and lines."""

from __future__ import annotations

import logging
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import asdict, fields

import numpy as np

from candlevault.backtest.data.frame import Bars
from candlevault.backtest.signals import VALUES, Signals, checked
from candlevault.backtest.user_strategies.folder import StrategyFile
from candlevault.backtest.user_strategies.messages import Unreadable
from candlevault.backtest.user_strategies.process import Ended, Limits, Process, limits
from candlevault.errors import InvalidRequest, StrategyFailed

_MOST_TEXT = 500
_MOST_LINES = 64
_ARRAYS = tuple(field.name for field in fields(Signals))
_UNREADABLE = "sent an answer that cannot be read"

_log = logging.getLogger(__name__)


def failure(file: StrategyFile, what: str, line: int | None = None) -> StrategyFailed:
    """The error that says of `file` what happened, in printable and bounded words."""
    text = "".join(letter if letter.isprintable() else " " for letter in what)
    if len(text) > _MOST_TEXT:
        text = text[: _MOST_TEXT - 1] + "…"
    return StrategyFailed(file.name, text, file=file.file, line=line)


def describe(file: StrategyFile, limits: Limits) -> dict:
    """What the strategy of `file` declares, as JSON that nobody has judged yet.

    Raises StrategyFailed when the file cannot be executed or declares what cannot be told.
    """
    (answer,) = _converse(file, {"task": "describe", "rows": 0, "calls": []}, (), limits, 1, 0)
    if isinstance(answer, StrategyFailed):
        raise answer
    described = answer[0].get("strategy")
    if not isinstance(described, dict):
        raise failure(file, _UNREADABLE)
    return described


def signals(
    file: StrategyFile, bars: Bars, calls: Sequence[tuple[dict, int]]
) -> Generator[Signals | StrategyFailed]:
    """The checked signals of each of `calls`, in order; a call is params and a count of bars.

    It sees the oldest bars of that count. One process does all calls, one after the other and
    ahead of the caller. A call that fails is answered with the error, and the next one follows;
    StrategyFailed is raised when the file cannot be executed or the process ends.
    """
    with closing(_work(file, "signals", bars, calls, len(_ARRAYS))) as answers:
        for answer, (_, count) in zip(answers, calls, strict=True):
            yield answer if isinstance(answer, StrategyFailed) else _signals(file, answer, count)


def lines(file: StrategyFile, bars: Bars, params: dict) -> dict[str, np.ndarray]:
    """The indicator arrays by name, float64, as long as the bars. Raises StrategyFailed."""
    (answer,) = _work(file, "lines", bars, [(params, len(bars.close))], _MOST_LINES)
    if isinstance(answer, StrategyFailed):
        raise answer
    names = answer[0].get("arrays")
    if not _are_names(names):
        raise failure(file, _UNREADABLE)
    return _arrays(file, answer[1], len(bars.close), dict.fromkeys(names, np.dtype(np.float64)))


def _signals(file: StrategyFile, answer: tuple[dict, bytes], count: int) -> Signals:
    names = answer[0].get("arrays")
    if not _are_names(names) or not set(names) <= set(_ARRAYS):
        raise failure(file, _UNREADABLE)
    kinds = {name: np.dtype(np.float64 if name in VALUES else np.uint8) for name in names}
    arrays = _arrays(file, answer[1], count, kinds)
    arrays = {name: value if name in VALUES else value != 0 for name, value in arrays.items()}
    try:
        return checked(Signals(**arrays), count)
    except InvalidRequest as error:
        raise failure(file, f"returned what cannot be traded: {error}") from None


def _are_names(names: object) -> bool:
    return (
        isinstance(names, list)
        and len(names) <= _MOST_LINES
        and all(isinstance(name, str) and 0 < len(name) <= _MOST_LINES for name in names)
    )


def _arrays(
    file: StrategyFile, body: bytes, count: int, kinds: dict[str, np.dtype]
) -> dict[str, np.ndarray]:
    """The arrays that `body` holds one after the other; they own their memory."""
    if len(body) != sum(kind.itemsize for kind in kinds.values()) * count:
        raise failure(file, _UNREADABLE)
    found, start = {}, 0
    for name, kind in kinds.items():
        found[name] = np.frombuffer(body, kind, count, start).copy()
        start += kind.itemsize * count
    return found


def _work(
    file: StrategyFile,
    task: str,
    bars: Bars,
    calls: Sequence[tuple[dict, int]],
    arrays: int,
) -> Generator[tuple[dict, bytes] | StrategyFailed]:
    count = len(bars.close)
    header = {"task": task, "rows": count, "calls": list(calls)}
    kinds = [np.int64 if name == "open_time" else np.float64 for name in Bars._fields]
    columns = [
        np.ascontiguousarray(column, kind).tobytes()
        for column, kind in zip(bars, kinds, strict=True)
    ]
    return _converse(file, header, columns, limits(), len(calls), arrays * count * 8)


def _converse(
    file: StrategyFile,
    header: dict,
    columns: Sequence[bytes],
    limits: Limits,
    answers: int,
    most: int,
) -> Generator[tuple[dict, bytes] | StrategyFailed]:
    about = {"name": file.name, "file": file.file, "source": len(file.source)}
    process = None
    try:
        process = Process(file.file, limits, calls=answers, most=most)
        process.send({**header, **about, **asdict(limits)}, [file.source, *columns])
        for _ in range(answers):
            answer = process.receive()
            error = answer[0].get("error")
            if error is None:
                yield answer
                continue
            failed = _failed(file, error)
            if answer[0].get("final"):
                raise failed
            yield failed
    except Ended as ended:
        raise failure(file, ended.what, ended.line) from None
    except Unreadable:
        raise failure(file, _UNREADABLE) from None
    finally:
        printed = process.close() if process else ""
        if printed:
            _log.info("strategy %s printed: %s", file.name, printed)


def _failed(file: StrategyFile, error: object) -> StrategyFailed:
    if not isinstance(error, dict) or not isinstance(error.get("what"), str):
        return failure(file, _UNREADABLE)
    line = error.get("line")
    return failure(file, error["what"], line if type(line) is int else None)
