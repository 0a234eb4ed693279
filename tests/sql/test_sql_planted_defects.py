"""A planted defect makes its SQL test fail, and no other test but declared neighbours."""

from __future__ import annotations

import pytest

from candlevault.quality.sql_tests import project_tests
from tests.sql.planted import DEFECTS
from tests.sql.planted.defect import Defect

NEIGHBOURS = {test.name: set(test.neighbours) for test in project_tests()}


@pytest.fixture
def found(market, defect: Defect) -> dict[str, list[tuple[str, dict[str, str]]]]:
    """What every failing test says of the market with the defect: (timeframe, violation)."""
    market.plant(defect.sql)
    told: dict[str, list[tuple[str, dict[str, str]]]] = {}
    for code, outcome in market.outcomes():
        if not outcome.passed:
            told.setdefault(outcome.test.name, []).extend((code, s) for s in outcome.samples)
    return told


@pytest.mark.parametrize("defect", DEFECTS, ids=str)
def test_planted_defect_is_named_by_its_test_and_told_by_declared_neighbours_only(
    defect, found, market
):
    assert set(found) == {defect.check, *defect.trips}
    assert set(defect.trips) <= NEIGHBOURS[defect.check]
    said = [violation for code, violation in found[defect.check] if code == defect.series]
    key = {"series_id": str(market.series[defect.series].series_id)}
    shown = defect.shows | key
    assert [v for v in said if shown.items() <= v.items()], said
    assert all(next(iter(violation)) == "series_id" for violation in said)


def test_every_sql_test_has_a_planted_defect():
    assert {defect.check for defect in DEFECTS} == set(NEIGHBOURS)


def test_every_declared_neighbour_is_tripped_by_a_planted_defect():
    tripped = {name: set() for name in NEIGHBOURS}
    for defect in DEFECTS:
        tripped[defect.check] |= set(defect.trips)
    assert tripped == NEIGHBOURS
