"""What a strategy of one's own can return and declare is told where its author reads."""

from __future__ import annotations

import dataclasses
import re

import pytest

from candlevault import paths
from candlevault.backtest.signals import Signals
from candlevault.backtest.strategies.contract import Ascending, Parameter
from candlevault.backtest.user_strategies import description

DOCS = paths.PROJECT / "docs"
CHAPTER = (DOCS / "backtests.md").read_text(encoding="utf-8")
CHAPTER = CHAPTER.split("\n## A strategy of your own\n")[1].split("\n## ")[0]
TEMPLATE = (DOCS / "strategy_template.py").read_text(encoding="utf-8")


def test_everything_that_signals_carry_is_told():
    table = "".join(line for line in CHAPTER.splitlines() if line.startswith("|"))
    for field in dataclasses.fields(Signals):
        assert f"`{field.name}`" in table, field.name
        assert re.search(rf"\b{field.name}\b", TEMPLATE), field.name


@pytest.mark.parametrize("kind", description._VALUES)
def test_every_kind_of_parameter_is_told_with_an_example_that_works(kind):
    (line,) = (line for line in CHAPTER.splitlines() if line.startswith(f"| `{kind}` |"))
    (example,) = re.findall(r"`(Parameter\(.*?\))`", line)
    made = eval(example, {"Parameter": Parameter})
    assert made.kind == kind
    description._parameter({**dataclasses.asdict(made), "options": list(made.options)})
    assert re.search(rf"\b{kind}\b", TEMPLATE.split("STRATEGY =")[1]), kind


def test_the_order_of_a_parameter_and_the_rule_are_those_of_the_code():
    names = ", ".join(field.name for field in dataclasses.fields(Parameter))
    assert f"`({names})`" in CHAPTER
    assert 'rules=(Ascending("fast", "slow"),)' in CHAPTER
    assert Ascending("fast", "slow").words == "fast must be smaller than slow."
