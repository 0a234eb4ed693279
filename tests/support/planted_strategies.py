"""Broken strategies: asked for their answers, and watched for what they leave behind."""

from __future__ import annotations

import functools
import tempfile
import textwrap

import psutil
import pytest

from candlevault.backtest.signals import Signals
from candlevault.backtest.user_strategies import calls
from candlevault.errors import StrategyFailed
from tests.support.user_strategies import bars_of, file_of, text

BARS = bars_of()


@pytest.fixture(autouse=True)
def nothing_left(tmp_path, monkeypatch):
    """No process, file, descriptor or mode stays behind, whatever a test plants."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    folder.chmod(0o1777)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("CANDLEVAULT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CANDLEVAULT_STRATEGY_TIMEOUT_S", "20")
    monkeypatch.setenv("CANDLEVAULT_DB_URL", "postgresql://secret@nowhere/market")
    before, held = _children(), _descriptors()
    yield
    assert _children() == before
    # Fewer are none of this test's: what others left may be collected meanwhile.
    assert _descriptors() <= held
    assert list(folder.iterdir()) == []
    # The folder is everybody's: cleaning up must not close it.
    assert folder.stat().st_mode & 0o7777 == 0o1777
    assert not (tmp_path / "home").exists()


def _children() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


def _descriptors() -> int:
    return psutil.Process().num_fds()


def signals_of(source: str, **params) -> Signals:
    """What the file `source` answers to one call about all bars; raises its failure."""
    (answer,) = calls.signals(file_of(source), BARS, [(params, len(BARS.close))])
    if isinstance(answer, StrategyFailed):
        raise answer
    return answer


def failure_of(source: str) -> StrategyFailed:
    """How the file `source` fails."""
    with pytest.raises(StrategyFailed) as caught:
        signals_of(source)
    check(caught.value)
    return caught.value


def check(failed: StrategyFailed) -> None:
    """What holds for every failure."""
    assert str(failed).startswith("strategy planted (planted.py")
    assert not failed.transient
    assert str(failed).isprintable()
    assert len(str(failed)) < 600


@functools.cache
def answers_to(cases: tuple[str, ...]) -> tuple[str, list[Signals | StrategyFailed]]:
    """The answers to one call of each body, all of one process, and its file."""
    functions = "".join(
        f"\ndef case_{number}(bars, params):\n{textwrap.indent(body, '    ')}  # {number}\n"
        for number, body in enumerate(cases)
    )
    source = text("return globals()[f'case_{params[\"case\"]}'](bars, params)", top=functions)
    wanted = [({"case": number}, len(BARS.close)) for number in range(len(cases))]
    return source, list(calls.signals(file_of(source), BARS, wanted))


def told(cases: dict[str, tuple[str, str]], case: str) -> tuple[str, StrategyFailed]:
    """The file and the failure of one of many cases, each of which fails."""
    source, answers = answers_to(tuple(body for body, _ in cases.values()))
    failed = answers[list(cases).index(case)]
    assert isinstance(failed, StrategyFailed)
    check(failed)
    return source, failed
