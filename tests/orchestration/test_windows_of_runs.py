"""What a run's params mean, and what of them is refused by name."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from candlevault.errors import InvalidRequest
from candlevault.orchestration import forms
from candlevault.orchestration.series_tasks import window_of

NOW = datetime(2025, 10, 1, 0, 1, tzinfo=UTC)
START = datetime(2020, 1, 1, tzinfo=UTC)


def test_an_empty_form_means_the_configured_start_to_now():
    window = window_of({"start": None, "end": None, "years": None}, START, NOW)
    assert (window.start, window.end) == (START, NOW)


def test_start_and_end_are_taken_in_their_own_time_zone():
    params = {"start": "2023-01-01T01:00:00+01:00", "end": "2024-01-01T00:00:00Z"}
    window = window_of(params, START, NOW)
    assert window.start == datetime(2023, 1, 1, tzinfo=UTC)
    assert window.end == datetime(2024, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("end", "start"),
    [("2024-10-31T00:00:00Z", "2022-10-31"), ("2024-02-29T00:00:00Z", "2022-02-28")],
)
def test_years_count_back_from_the_end(end, start):
    window = window_of({"end": end, "years": 2}, START, NOW)
    assert f"{window.start:%Y-%m-%d}" == start


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"start": "2024-01-01T00:00:00Z", "end": "2023-01-01T00:00:00Z"}, "end"),
        ({"start": "2026-01-01T00:00:00Z", "end": "2027-01-01T00:00:00Z"}, "start"),
        ({"start": "2024-01-01T00:00:00"}, "start"),
        ({"start": "soon"}, "start"),
        ({"start": "0001-01-01T00:00:00+10:00"}, "start"),
    ],
)
def test_a_window_that_cannot_be_is_refused_by_field(params, field):
    with pytest.raises(InvalidRequest) as refused:
        window_of(params, START, NOW)
    assert refused.value.field == field


def test_keys_a_dag_does_not_know_are_refused():
    forms.refuse_unknown({"start": 1}, {"end": 2}, {"start", "end"})
    with pytest.raises(InvalidRequest, match=r"strat: unknown key; known: end, start"):
        forms.refuse_unknown({"strat": 1}, {}, {"start", "end"})
