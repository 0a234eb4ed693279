"""What the file of a strategy says of itself, checked and made into a Strategy."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence

import numpy as np

from candlevault.backtest.data.frame import Bars
from candlevault.backtest.signals import Signals
from candlevault.backtest.strategies.contract import Ascending, Parameter, Params, Strategy
from candlevault.backtest.user_strategies import calls
from candlevault.backtest.user_strategies.folder import StrategyFile
from candlevault.errors import InvalidRequest, StrategyFailed

_MOST_TEXT = 2000
_MOST_NAME = 64
_MOST_PARTS = 64
_LARGEST = 2**53

_VALUES = {"integer": int, "number": (int, float), "boolean": bool, "choice": str}


class ConfinedSignals:
    """The `signals` of a strategy of the user's: a process does each call."""

    def __init__(self, file: StrategyFile, line: int | None) -> None:
        self.file = file
        self.line = line
        """Where the function begins."""

    def __call__(self, bars: Bars, params: Params) -> Signals:
        """The checked signals; raises StrategyFailed."""
        (answer,) = self.each(bars, [(params, len(bars.close))])
        if isinstance(answer, StrategyFailed):
            raise answer
        return answer

    def each(
        self, bars: Bars, wanted: Sequence[tuple[Params, int]]
    ) -> Generator[Signals | StrategyFailed]:
        """The answers to many calls, done by one process; see calls.signals."""
        return calls.signals(self.file, bars, [(dict(params), count) for params, count in wanted])


def strategy(file: StrategyFile, said: Mapping[str, object]) -> Strategy:
    """The strategy that `file` describes as `said`; raises StrategyFailed naming the file."""
    line = said.get("line")
    line = line if type(line) is int and 0 < line < _LARGEST else None
    try:
        if said.get("name") != file.name:
            raise _Wrong(f"name must be that of its file, {file.name}")
        made = Strategy(
            name=file.name,
            version=_text(said, "version", _MOST_NAME),
            title=_text(said, "title", _MOST_TEXT),
            description=_text(said, "description", _MOST_TEXT),
            parameters=tuple(_parameter(part) for part in _parts(said, "parameters")),
            rules=tuple(_rule(part) for part in _parts(said, "rules")),
            signals=ConfinedSignals(file, line),
            lines=None if said.get("has_lines") is False else _lines_of(file),
            source=f"sha256:{file.sha256}",
            sets_levels=said.get("sets_levels") is True,
        )
        _refuse_contradictions(made)
    except _Wrong as wrong:
        raise calls.failure(file, f"declares what cannot be: {wrong}", line) from None
    return made


class _Wrong(Exception):
    """A part of a description that breaks a rule."""


def _lines_of(file: StrategyFile):
    def lines(bars: Bars, params: Params) -> dict[str, np.ndarray]:
        return calls.lines(file, bars, dict(params))

    return lines


def _text(said: Mapping, name: str, most: int, *, empty: bool = False) -> str:
    value = said.get(name)
    if not isinstance(value, str) or len(value) > most or not (value.strip() or empty):
        raise _Wrong(f"{name} must be a text of at most {most} characters")
    if not all(letter.isprintable() or letter == "\n" for letter in value):
        raise _Wrong(f"{name} must be printable")
    return value


def _parts(said: Mapping, name: str) -> list[Mapping]:
    value = said.get(name)
    if not isinstance(value, list) or len(value) > _MOST_PARTS:
        raise _Wrong(f"{name} must be at most {_MOST_PARTS}")
    for part in value:
        if not isinstance(part, dict):
            raise _Wrong(f"{name} must be made of Parameter and Ascending")
    return value


def _parameter(said: Mapping) -> Parameter:
    name, kind = said.get("name"), said.get("kind")
    if not isinstance(name, str) or not (name.isascii() and name.isidentifier()):
        raise _Wrong("a parameter's name must be a Python name")
    if len(name) > _MOST_NAME:
        raise _Wrong(f"a parameter's name has at most {_MOST_NAME} characters")
    if kind not in _VALUES:
        raise _Wrong(f"{name}: kind must be one of {', '.join(_VALUES)}")
    options = said.get("options")
    if not isinstance(options, list) or len(options) > _MOST_PARTS:
        raise _Wrong(f"{name}: options must be at most {_MOST_PARTS}")
    texts = [_text({"option": option}, "option", _MOST_NAME) for option in options]
    if (kind == "choice") != bool(texts) or len(set(texts)) != len(texts):
        raise _Wrong(f"{name}: a choice, and nothing else, has options, each once")
    limits = {word: said.get(word) for word in ("minimum", "maximum")}
    for word, limit in limits.items():
        if limit is not None and (kind not in ("integer", "number") or not _is(limit, "number")):
            raise _Wrong(f"{name}: {word} must be a number, and is for numbers only")
    if not _is(said.get("default"), kind):
        raise _Wrong(f"{name}: default must be a value of the kind {kind}")
    return Parameter(
        name,
        kind,
        said["default"],
        limits["minimum"],
        limits["maximum"],
        _text(said, "description", _MOST_TEXT, empty=True),
        tuple(texts),
    )


def _is(value: object, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _VALUES[kind]) and not (
        isinstance(value, int | float) and not abs(value) <= _LARGEST
    )


def _rule(said: Mapping) -> Ascending:
    names = said.get("smaller"), said.get("larger")
    if not all(isinstance(name, str) for name in names):
        raise _Wrong("a rule must name two parameters")
    return Ascending(*names)


def _refuse_contradictions(made: Strategy) -> None:
    kinds = {parameter.name: parameter.kind for parameter in made.parameters}
    if len(kinds) != len(made.parameters):
        raise _Wrong("two parameters have the same name")
    for rule in made.rules:
        for name in (rule.smaller, rule.larger):
            if kinds.get(name) not in ("integer", "number"):
                raise _Wrong(f"the rule names {name[:_MOST_NAME]}, which is no number it has")
    try:
        made.parse_params({})
    except InvalidRequest as error:
        raise _Wrong(f"a default breaks a rule: {error}") from None
