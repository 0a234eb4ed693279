"""What the documentation says of rules, held against the code."""

from __future__ import annotations

import json
import re

import pytest

from candlevault import paths
from candlevault.backtest.rules.condition_reading import DEEPEST, MOST_NODES
from candlevault.backtest.rules.functions import EXCLUDED, LARGEST_PERIOD, catalogue
from candlevault.backtest.rules.params_schema import CARRIED, MOST_INDICATORS
from candlevault.backtest.rules.tree import ALL, ANY, ARITHMETIC, BETWEEN, COMPARISONS, NOT, TRENDS
from candlevault.backtest.strategies import registry

PAGE = paths.PLUGINS.parent / "docs" / "backtests.md"


@pytest.fixture(scope="module")
def section() -> str:
    _, _, rest = PAGE.read_text().partition("## Rules in JSON\n")
    text = rest.partition("\n## ")[0]
    assert "crosses_above" in text
    return text


def test_the_example_runs(section):
    (example,) = re.findall(r"```json\n(.*?)```", section, re.DOTALL)
    strategy = json.loads(example)
    registry.get(strategy["name"]).parse_params(strategy["params"])


def test_every_operator_and_order_is_explained(section):
    section = re.sub(r"```json\n.*?```", "", section, flags=re.DOTALL)
    for name in (*COMPARISONS, BETWEEN, *TRENDS, ALL, ANY, NOT, *ARITHMETIC):
        assert f'{{"{name}":' in section, name
    for name in CARRIED["properties"]:
        assert f"`{name}`" in section, name


def test_what_is_left_out_is_named_and_what_is_named_is_there(section):
    offered, _, excluded = section.partition("Left out are")
    assert set(re.findall(r"`([A-Z][A-Z0-9_]+)`", excluded)) == set(EXCLUDED)
    assert set(re.findall(r"`([A-Z][A-Z0-9_]+)`", offered)) <= set(catalogue())


def test_the_numbers_are_those_of_the_code(section):
    text = " ".join(section.split())
    assert f"{len(catalogue())} of {len(catalogue()) + len(EXCLUDED)}" in text
    assert f"{MOST_INDICATORS} indicators, {MOST_NODES} conditions and operands" in text
    assert f"and {DEEPEST} of them inside each other" in text
    assert f"Periods go up to {LARGEST_PERIOD} bars" in text
