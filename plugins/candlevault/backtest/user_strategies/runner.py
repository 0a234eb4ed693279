"""Reads and runs one file of the user's. Only ever imported in the process the warden made for it.

The request says which of three tasks to do: `describe`, `signals` or `lines`. Every call of
code of the user's is announced to the warden, and every answer is either what was asked for or
an error with the line of the user's file. Nothing here is trusted by the process that asked.
"""

from __future__ import annotations

import ast
import dataclasses
import faulthandler
import json
import os
import sys
import traceback
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from candlevault.backtest.data.frame import Bars
from candlevault.backtest.signals import VALUES, Signals, checked
from candlevault.backtest.strategies.contract import Strategy
from candlevault.backtest.user_strategies import messages
from candlevault.errors import InvalidRequest

_TEXT = 300
"""Characters of an error's text that are told."""

_really_exit = os._exit
_write = os.write


@dataclass(slots=True)
class _Wire:
    """Where answers, lines and beats go; only the process that was made for it writes there."""

    answers: int
    trace: int
    beat: int
    owner: int
    timeout_s: float
    memory_mb: int
    file: str

    def call(self, function: Callable, *arguments: object) -> object:
        """What `function`, which runs code of the user's, returns."""
        _write(self.beat, messages.BEGUN)
        faulthandler.dump_traceback_later(self.timeout_s, file=self.trace)
        try:
            return function(*arguments)
        finally:
            # A copy of this process that the user's code made must not go on as if it were it.
            if os.getpid() != self.owner:
                _really_exit(1)
            faulthandler.cancel_dump_traceback_later()
            _write(self.beat, messages.ENDED)

    def answer(self, header: dict, pieces: tuple[np.ndarray, ...] = ()) -> None:
        messages.send(_write, self.answers, header, pieces)

    def fail(self, what: str, line: int | None, *, final: bool = False) -> None:
        self.answer({"error": {"what": what, "line": line}, "final": final})


class _Refused(Exception):
    """The file, or what its functions returned, is not what was agreed."""

    def __init__(self, what: str, line: int | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.line = line


def run(request: int, answers: int, trace: int, beat: int, *, confine: Callable[[], None]) -> None:
    """Do what is asked on descriptor `request`; `confine` sets the limits once it was read."""
    header, body = messages.receive(request)
    os.close(request)
    file, rows = header["file"], header["rows"]
    wire = _Wire(answers, trace, beat, os.getpid(), header["timeout_s"], header["memory_mb"], file)
    source, columns = body[: header["source"]], body[header["source"] :]
    # Beside the code, so that compilers and tracebacks find it.
    Path(file).write_bytes(source)
    _prepare(wire)
    confine()
    try:
        loaded = _called(wire, _load, header["name"], file, source)
        if header["task"] == "describe":
            described = _called(wire, _description, loaded, file)
            wire.answer({"strategy": described})
            return
    except _Refused as refused:
        wire.fail(refused.what, refused.line, final=True)
        return
    work = {"signals": _signals, "lines": _lines}[header["task"]]
    function = getattr(loaded.strategy, header["task"])
    for params, count in header["calls"]:
        try:
            arrays = _called(wire, work, function, _bars(columns, rows, count), params)
            wire.answer({"arrays": list(arrays)}, tuple(arrays.values()))
        except _Refused as refused:
            line = refused.line or _called(wire, _line_of, function, file) or loaded.line
            wire.fail(refused.what, line)


def _prepare(wire: _Wire) -> None:
    """Tell the line where this process ends without a word; let it signal nobody."""
    faulthandler.enable(file=wire.trace)

    def leave(code: int) -> None:
        if os.getpid() == wire.owner:
            faulthandler.dump_traceback(file=wire.trace)
        _really_exit(code)

    os._exit = leave

    def watch(event: str, _arguments: tuple) -> None:
        if event in ("os.kill", "os.killpg", "signal.pthread_kill"):
            raise PermissionError("a strategy must not send signals")

    sys.addaudithook(watch)


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A strategy and the line that binds it."""

    strategy: Strategy
    line: int | None


def _load(name: str, file: str, source: bytes) -> _Loaded:
    """Execute the file and take what it binds."""
    tree = compile(source, file, "exec", ast.PyCF_ONLY_AST, dont_inherit=True)
    line = _line_of_binding(tree)
    code = compile(tree, file, "exec", dont_inherit=True)
    module = types.ModuleType(f"user_strategy_{name}")
    module.__file__ = file
    sys.modules[module.__name__] = module
    exec(code, module.__dict__)
    strategy = module.__dict__.get("STRATEGY")
    if strategy is None:
        raise _Refused("does not bind STRATEGY")
    if type(strategy) is not Strategy:
        kind = _name_of(type(strategy))
        raise _Refused(f"STRATEGY must be a Strategy itself, not a {kind}", line)
    return _Loaded(strategy, line)


def _description(loaded: _Loaded, file: str) -> dict:
    """What the strategy declares, as JSON; judged by who asked."""
    strategy, bound = loaded.strategy, loaded.line
    if strategy.parse is not None or strategy.params is not None:
        raise _Refused(
            "declares params or parse; a strategy of the user's declares parameters and rules",
            bound,
        )
    for function in ("signals", "lines"):
        declared = getattr(strategy, function)
        if not callable(declared) and not (function == "lines" and declared is None):
            raise _Refused(f"{function} must be a function", bound)
    try:
        described = {
            "name": strategy.name,
            "version": strategy.version,
            "title": strategy.title,
            "description": strategy.description,
            "parameters": [dataclasses.asdict(one) for one in strategy.parameters],
            "rules": [dataclasses.asdict(rule) for rule in strategy.rules],
            "sets_levels": strategy.sets_levels,
            "has_lines": strategy.lines is not None,
            "line": _line_of(strategy.signals, file) or bound,
        }
        json.dumps(described, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise _Refused(f"STRATEGY holds what cannot be told: {_text_of(error)}", bound) from None
    return described


def _bars(columns: bytes, total: int, rows: int) -> Bars:
    """The oldest `rows` bars, in arrays of their own that cannot be written to.

    A view of all bars would let a strategy look past its end.
    """
    parts = []
    for number, name in enumerate(Bars._fields):
        start = number * total * 8
        kind = np.int64 if name == "open_time" else np.float64
        parts.append(np.frombuffer(columns[start : start + rows * 8], dtype=kind))
    return Bars(*parts)


def _signals(function: Callable, bars: Bars, params: dict) -> dict[str, np.ndarray]:
    """The arrays of the signals that are not None, copied and checked."""
    returned = function(bars, params)
    if not isinstance(returned, Signals):
        raise _Refused(f"returned {_name_of(type(returned))} where Signals are due")
    values = {}
    for field in dataclasses.fields(Signals):
        value = getattr(returned, field.name)
        if value is not None:
            values[field.name] = _plain(f"signals.{field.name}", value)
    try:
        checked(Signals(**values), len(bars.close))
    except InvalidRequest as error:
        raise _Refused(f"returned what cannot be traded: {error}{_not_numbers(values)}") from None
    return values


def _lines(function: Callable, bars: Bars, params: dict) -> dict[str, np.ndarray]:
    """The lines by name, copied and checked."""
    returned = function(bars, params)
    if not isinstance(returned, dict):
        raise _Refused(f"returned {_name_of(type(returned))} where lines by name are due")
    arrays = {}
    for name, value in returned.items():
        where = _bounded(f"lines.{name}")
        value = _plain(where, value)
        if not isinstance(value, np.ndarray) or value.dtype != np.float64:
            raise _Refused(f"returned {where}, which is no array of float64")
        if value.shape != (len(bars.close),):
            raise _Refused(
                f"returned {where} of the shape {value.shape} for {len(bars.close)} bars"
            )
        arrays[str(name)] = value
    return arrays


def _plain(where: str, value: object) -> object:
    """A copy that nobody else holds; what is no plain array is left to the check."""
    if isinstance(value, np.ndarray) and type(value) is not np.ndarray:
        raise _Refused(f"returned {where} as {_name_of(type(value))}, not as a plain array")
    if isinstance(value, np.ndarray) and value.dtype == np.float64:
        return np.array(value, order="C")
    if isinstance(value, np.ndarray) and value.dtype == np.bool_:
        # One made with tricks may hold more than 0 and 1.
        return np.array(value, order="C").view(np.uint8) != 0
    return value


def _not_numbers(values: dict) -> str:
    """NaN is what most often makes a column of wishes one of floats: say so."""
    for name, value in values.items():
        if name not in VALUES and isinstance(value, np.ndarray) and value.dtype.kind == "f":
            count = int(np.isnan(value).sum())
            if count:
                return f"; signals.{name} holds NaN in {count} of {value.size} values"
    return ""


def _called(wire: _Wire, function: Callable, *arguments: object) -> object:
    """What code of the user's returns; whatever it raises becomes a refusal with its line."""
    try:
        return wire.call(function, *arguments)
    except _Refused:
        raise
    except MemoryError as error:
        what = f"used more than {wire.memory_mb} MB of memory"
        raise _Refused(what, _line_in(error, wire.file)) from None
    except SyntaxError as error:
        own = error.filename == wire.file
        line = error.lineno if own else _line_in(error, wire.file)
        what = f"is no Python: {_bounded(str(error.msg))}" if own else _told(error)
        raise _Refused(what, line) from None
    # SystemExit and its like end a process that was made for the purpose, not this answer.
    except BaseException as error:
        raise _Refused(_told(error), _line_in(error, wire.file)) from None


def _told(error: BaseException) -> str:
    text = _text_of(error)
    return f"raised {_name_of(type(error))}" + (f": {text}" if text else "")


def _text_of(error: BaseException) -> str:
    try:
        return _bounded(str(error))
    except BaseException:
        return "an error that cannot say what it is"


def _name_of(kind: type) -> str:
    return _bounded(type.__dict__["__name__"].__get__(kind))


def _bounded(text: str) -> str:
    return text if len(text) <= _TEXT else text[: _TEXT - 1] + "…"


def _line_in(error: BaseException, file: str) -> int | None:
    """The innermost line of the user's file."""
    line = None
    for frame, number in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_filename == file:
            line = number
    return line


def _line_of(function: object, file: str) -> int | None:
    """The line where a function of the user's file begins, wrappers taken off."""
    for _ in range(100):
        code = getattr(function, "__code__", None)
        if isinstance(code, types.CodeType) and code.co_filename == file:
            return code.co_firstlineno
        inner = getattr(function, "__wrapped__", None) or getattr(function, "py_func", None)
        inner = inner or getattr(function, "func", None) or getattr(function, "__func__", None)
        if inner is None:
            break
        function = inner
    # An object that can be called, such as an instance of a class of the file.
    code = getattr(type(function).__dict__.get("__call__"), "__code__", None)
    own = isinstance(code, types.CodeType) and code.co_filename == file
    return code.co_firstlineno if own else None


def _line_of_binding(tree: ast.Module) -> int | None:
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == "STRATEGY" for target in targets):
            return node.lineno
    return None
