"""SQL tests look at exactly their window: not one candle less, none beyond it."""

from __future__ import annotations

import psycopg
import pytest

from candlevault.quality.sql_tests import project_tests, run
from candlevault.timeframe import from_ms
from tests.support.candles import ms, window

TESTS = {test.name: test for test in project_tests()}


@pytest.fixture
def planted(market):
    """A connection whose changes are undone, and a way to run one test on the 1h series."""
    with market.connect() as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        stored = market.series["1h"]

        def delete(time: str) -> None:
            connection.execute(
                "DELETE FROM market.candles_1h WHERE series_id = %s AND open_time = %s",
                (stored.series_id, time),
            )

        def count(name: str, start: str, end: str, venue_time: str = "2024-02-03T00:01") -> int:
            [outcome] = run(
                connection,
                (TESTS[name],),
                stored.series_id,
                window(start, end),
                from_ms(ms(venue_time)),
            )
            return outcome.count

        yield delete, count
        connection.rollback()


@pytest.mark.parametrize(
    ("start", "end", "venue_time", "missing"),
    [
        ("2024-02-02T10:00", "2024-02-02T11:00", "2024-02-03", 1),
        ("2024-02-02T09:30", "2024-02-02T10:00:00.001", "2024-02-03", 1),
        ("2024-02-02T10:00:00.001", "2024-02-02T12:00", "2024-02-03", 0),
        ("2024-02-02T09:00", "2024-02-02T10:00", "2024-02-03", 0),
        ("2024-02-02T09:00", "2024-02-02T11:00", "2024-02-02T11:00", 1),
        ("2024-02-02T09:00", "2024-02-02T11:00", "2024-02-02T10:59:59.999", 0),
    ],
)
def test_open_time_is_missing_if_inside_the_window_and_closed(
    planted, start, end, venue_time, missing
):
    delete, count = planted
    delete("2024-02-02 10:00Z")
    assert count("assert_no_missing_open_times", start, end, venue_time) == missing


@pytest.mark.parametrize(
    ("start", "end", "months"),
    [
        ("2024-01-31", "2024-02-01T05:00", 1),
        ("2024-01-31", "2024-02-01", 0),
        ("2024-02-02", "2024-02-03", 1),
    ],
)
def test_month_is_counted_whole_if_the_window_touches_it(planted, start, end, months):
    delete, count = planted
    delete("2024-02-01 10:00Z")
    assert count("assert_months_match_candles", start, end) == months


def test_all_violations_are_counted_and_only_the_first_are_kept(market):
    with market.connect() as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        stored = market.series["1h"]
        connection.execute(
            "DELETE FROM market.candles_1h WHERE series_id = %s AND open_time >= '2024-02-01Z'",
            (stored.series_id,),
        )
        [outcome] = run(
            connection,
            (TESTS["assert_no_missing_open_times"],),
            stored.series_id,
            market.window,
            from_ms(market.venue_time_ms),
        )
        connection.rollback()
    assert (outcome.count, len(outcome.samples)) == (48, 20)
    assert outcome.samples[0]["open_time"] == "2024-02-01 00:00:00+00:00"


def test_other_series_are_not_looked_at(market):
    with market.connect() as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.execute("UPDATE market.candles_1h SET fetch_id = 999999")
        failed = {code for code, outcome in market.outcomes(connection) if not outcome.passed}
        connection.rollback()
    assert failed == {"1h"}


def test_overlap_that_was_withdrawn_again_is_none(market):
    with market.connect() as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.execute(
            "INSERT INTO market.known_absences (series_id, window_start, window_end, reason,"
            " evidence, revision, withdrawn_revision, withdrawn_reason)"
            " SELECT series_id, window_start, window_end, reason, evidence, revision, 9, 'twice'"
            " FROM market.known_absences WHERE withdrawn_revision IS NULL"
        )
        told = [outcome for _, outcome in market.outcomes(connection) if not outcome.passed]
        connection.rollback()
    assert told == []
