"""The engine against the reference: trade by trade, row by row, doubt by doubt."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from tests.support.trading_cases import differences, random_case

BATCH = 100
CASES = int(os.environ.get("CANDLEVAULT_REFERENCE_CASES", "40000"))
"""How many cases the slow comparison takes."""


def disagreements(seeds) -> dict[int, list[str]]:
    found = {}
    for seed in seeds:
        case = random_case(seed)
        if said := differences(case.simulated(), case.referred()):
            found[seed] = said[:5]
    return found


@pytest.mark.parametrize("batch", range(12))
def test_agrees_with_the_reference(batch):
    assert disagreements(range(batch * BATCH, (batch + 1) * BATCH)) == {}


@pytest.mark.slow
@pytest.mark.parametrize("part", range(20))
def test_agrees_with_the_reference_in_many_more_cases(part):
    share = CASES // 20
    assert disagreements(range(10_000 + part * share, 10_000 + (part + 1) * share)) == {}


def test_the_cases_reach_every_corner():
    """What never happens in them is not tested by them."""
    reasons, orders, refused = Counter(), set(), set()
    unresolved, branching, parts, ambiguous = 0, 0, 0, {True: 0, False: 0}
    for seed in range(600):
        got = random_case(seed).simulated()
        reasons.update(trade.exit_reason for trade in got.trades)
        orders |= {(trade.side, trade.entry_order) for trade in got.trades}
        refused |= {reason for reason, count in got.refused.items() if count}
        unresolved += got.unresolved
        branching += got.branching
        for trade in got.trades:
            ambiguous[trade.ambiguous] += 1
        keys = [(trade.symbol, trade.entry_time) for trade in got.trades]
        parts += len(keys) - len(set(keys))
    assert len(reasons) == 8
    assert min(reasons.values()) > 20
    assert len(orders) == 8
    assert len(refused) == 4
    assert min(unresolved, branching, parts, *ambiguous.values()) > 25


def test_choices_are_answered_alike():
    for seed in range(150):
        case = random_case(seed)
        for choices in ((1,), (0, 1), (1, 0, 1, 1)):
            said = differences(case.simulated(choices=choices), case.referred(choices=choices))
            assert said == [], f"seed {seed}, choices {choices}"
