"""A planted defect for every expectation of `stored_month`, each in a month of its own."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import pytest

from candlevault import windows
from candlevault.quality import suites
from candlevault.quality.months import Month
from candlevault.timeframe import parse as timeframe
from tests.support.candles import window

WHOLE = window("2024-01-01", "2024-02-01")
HOURS = windows.expected_open_times(WHOLE, timeframe("1h"))


def month(lost: int = 0, absent: int = 0, **figures: int) -> Month:
    """January 2024 in hours, its last ones lost, those before known absent."""
    stored = HOURS[: len(HOURS) - lost - absent]
    gap = windows.runs(HOURS[len(stored) : len(stored) + absent], timeframe("1h"))
    account = windows.account(WHOLE, timeframe("1h"), stored, gap)
    clean = Month(WHOLE, WHOLE, account, 0, 0, 0, 0, counted=len(stored), until_ms=WHOLE.end_ms)
    return dataclasses.replace(clean, **figures)


@dataclass(frozen=True)
class Planted:
    """A month that breaks `name`, and what else it cannot but break."""

    name: str
    story: str
    month: Month
    trips: frozenset[str] = frozenset()


NOT_ADDED_UP = dataclasses.replace(month().account, absent=np.array([HOURS[0]]))
DEFECTS = (
    Planted("month_at_least_99_percent", "8 of 744 lost", month(lost=8),
            frozenset({"nothing_lost"})),
    Planted("nothing_lost", "1 of 744 lost", month(lost=1)),
    Planted("account_adds_up", "a row twice", month(counted=745)),
    Planted("account_adds_up", "a row uncounted", month(counted=743)),
    Planted("account_adds_up", "stored and absent", month(account=NOT_ADDED_UP)),
    Planted("stored_on_grid", "one off the grid", month(off_grid=1, counted=745)),
    Planted("stored_prices_consistent", "high below low", month(out_of_range_prices=1)),
    Planted("stored_volumes_consistent", "takers bought more than all", month(bad_volumes=1)),
    Planted("month_mostly_traded", "373 of 744 without trades", month(zero_volume=373)),
)  # fmt: skip
CLEAN = (
    month(),
    month(lost=0, absent=700),
    month(absent=744),
    month(zero_volume=372),
)


@pytest.fixture(scope="module")
def broken() -> dict[str, suites.Broken]:
    import pandas as pd

    months = [defect.month for defect in DEFECTS] + list(CLEAN)
    frame = pd.DataFrame([one.as_row() for one in months])
    return {rule.name: rule for rule in suites.validate(frame, suites.suite("stored_month"))}


@pytest.mark.parametrize(
    "index", range(len(DEFECTS)), ids=[f"{d.name}: {d.story}" for d in DEFECTS]
)
def test_planted_month_fails_its_expectation_and_declared_neighbours_only(broken, index):
    defect = DEFECTS[index]
    assert {name for name, rule in broken.items() if index in rule.rows} == (
        {defect.name} | defect.trips
    )


def test_clean_months_fail_nothing(broken):
    first = len(DEFECTS)
    assert not {row for rule in broken.values() for row in rule.rows if row >= first}


def test_exactly_99_percent_of_the_obtainable_is_enough():
    import pandas as pd

    hundred = windows.expected_open_times(window("2024-01-01", "2024-01-05T04:00"), timeframe("1h"))
    names = []
    for stored in (99, 98):
        account = windows.account(
            window("2024-01-01", "2024-01-05T04:00"), timeframe("1h"), hundred[:stored]
        )
        made = Month(
            WHOLE, account.window, account, 0, 0, 0, 0, counted=stored, until_ms=WHOLE.end_ms
        )
        told = suites.validate(pd.DataFrame([made.as_row()]), suites.suite("stored_month"))
        names.append([rule.name for rule in told])
    assert names == [["nothing_lost"], ["month_at_least_99_percent", "nothing_lost"]]


def test_severities_tell_what_stops_from_what_warns(broken):
    warnings = {name for name, rule in broken.items() if rule.severity == suites.WARNING}
    assert warnings == {"nothing_lost", "month_mostly_traded"}
    critical = {name for name, rule in broken.items() if rule.severity == suites.CRITICAL}
    assert critical == set(suites.suite("stored_month").expectations) - warnings


def test_every_expectation_has_a_planted_defect_and_every_neighbour_is_tripped():
    tripped = {name: set() for name in suites.suite("stored_month").expectations}
    for defect in DEFECTS:
        tripped[defect.name] |= defect.trips
    declared = suites.suite("stored_month").neighbours
    assert {defect.name for defect in DEFECTS} == set(declared)
    assert tripped == {name: set(others) for name, others in declared.items()}
