"""The retention report: what lies beyond the policy, counted, and nothing deleted."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from candlevault.errors import InvalidRequest
from candlevault.ingest import retention
from tests.support.candles import series
from tests.support.market import Store, span

NOW = datetime(2024, 4, 1, 4, tzinfo=UTC)


@pytest.fixture
def store(database) -> Store:
    store = Store(database)
    store.publish_made(span("2023-12-30", "2024-02-10"))
    return store


def test_whole_months_before_the_cutoff_are_counted_and_stay(store):
    report = retention.report(store.connect, store.series, 2, NOW)
    assert (report.cutoff, report.months, report.candles) == ("2024-02-01", 2, 33 * 24)
    assert report.deleted == 0
    assert "nothing was deleted" in str(report)
    assert len(store.read(span("2023-01-01", "2025-01-01"))) == 42 * 24


def test_nothing_older_is_nothing_to_move(store):
    report = retention.report(store.connect, store.series, 12, NOW)
    assert (report.cutoff, report.months, report.candles) == ("2023-04-01", 0, 0)


@pytest.mark.parametrize(
    ("months", "expected"),
    [(1, (2024, 3)), (3, (2024, 1)), (4, (2023, 12)), (15, (2023, 1)), (16, (2022, 12)),
     (600, (1974, 4))],
)  # fmt: skip
def test_months_are_counted_across_years(months, expected):
    assert retention.months_before(NOW, months) == datetime(*expected, 1, tzinfo=UTC)


@pytest.mark.parametrize("months", [0, -1, 601])
def test_a_senseless_policy_is_refused(store, months):
    with pytest.raises(InvalidRequest, match="retention_months"):
        retention.report(store.connect, store.series, months, NOW)


def test_a_series_that_was_never_loaded_is_refused(store):
    with pytest.raises(InvalidRequest, match="ever loaded"):
        retention.report(store.connect, series("1d", "NEVERUSDT"), 2, NOW)
