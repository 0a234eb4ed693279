"""SQL tests look at exactly their window: not one candle less, none beyond it."""

from __future__ import annotations

import pytest

from candlevault.quality.sql_tests import project_tests, run
from candlevault.timeframe import from_ms
from tests.sql.planted import coarse
from tests.support.candles import ms, window

TESTS = {test.name: test for test in project_tests()}


def without(market, *times: str) -> None:
    """Delete candles of the 1h series."""
    for time in times:
        market.plant(
            f"DELETE FROM market.candles_1h WHERE series_id = %(h1)s AND open_time = '{time}'"
        )


def outcome_of(market, name: str, start: str, end: str, venue_time: str = "2024-02-03T00:01"):
    """What one test says of a window of the 1h series."""
    with market.connect() as connection:
        [outcome] = run(
            connection,
            (TESTS[name],),
            market.series["1h"].series_id,
            window(start, end),
            from_ms(ms(venue_time)),
        )
    return outcome


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
    market, start, end, venue_time, missing
):
    without(market, "2024-02-02 10:00Z")
    outcome = outcome_of(market, "assert_no_missing_open_times", start, end, venue_time)
    assert outcome.count == missing


@pytest.mark.parametrize(
    ("start", "end", "months"),
    [
        ("2024-01-31", "2024-02-01T05:00", 1),
        ("2024-01-31", "2024-02-01", 0),
        ("2024-02-02", "2024-02-03", 1),
    ],
)
def test_month_is_counted_whole_if_the_window_touches_it(market, start, end, months):
    without(market, "2024-02-01 10:00Z")
    assert outcome_of(market, "assert_months_match_candles", start, end).count == months


def test_all_violations_are_counted_and_only_the_first_are_kept(market):
    market.plant(
        "DELETE FROM market.candles_1h WHERE series_id = %(h1)s AND open_time >= '2024-02-01Z'"
    )
    outcome = outcome_of(market, "assert_no_missing_open_times", "2024-01-30", "2024-02-03")
    assert (outcome.count, len(outcome.samples)) == (48, 20)
    assert outcome.samples[0]["open_time"] == "2024-02-01 00:00:00+00:00"


def test_other_series_are_not_looked_at(market):
    market.plant("UPDATE market.candles_1h SET fetch_id = 999999")
    assert {code for code, outcome in market.outcomes() if not outcome.passed} == {"1h"}


def test_overlap_that_was_withdrawn_again_is_none(market):
    market.plant(
        "INSERT INTO market.known_absences (series_id, window_start, window_end, reason,"
        " evidence, revision, withdrawn_revision, withdrawn_reason)"
        " SELECT series_id, window_start, window_end, reason, evidence, revision, 9, 'twice'"
        " FROM market.known_absences WHERE withdrawn_revision IS NULL"
    )
    assert [outcome for _, outcome in market.outcomes() if not outcome.passed] == []


@pytest.mark.parametrize(
    ("start", "end", "compared"),
    [
        ("2024-02-02T10:00", "2024-02-02T11:00", True),
        ("2024-02-02T09:30", "2024-02-02T11:30", True),
        ("2024-02-02T10:00:00.001", "2024-02-02T12:00", False),
        ("2024-02-02T09:00", "2024-02-02T10:59:59.999", False),
    ],
)
def test_candle_is_compared_with_its_finer_ones_if_wholly_inside_the_window(
    market, start, end, compared
):
    market.plant(coarse.MORE_VOLUME)
    outcome = outcome_of(market, "assert_coarse_equals_children", start, end)
    assert bool(outcome.count) is compared


def test_candle_is_not_compared_while_one_of_its_finer_ones_is_lost(market):
    market.plant(
        f"""{coarse.MORE_VOLUME};
            DELETE FROM market.candles_15m
            WHERE series_id = %(m15)s AND open_time = '2024-02-02 10:15Z'"""
    )
    outcome = outcome_of(
        market, "assert_coarse_equals_children", "2024-02-02T10:00", "2024-02-02T11:00"
    )
    assert outcome.count == 0


def test_columns_that_a_source_lacks_are_not_compared(market):
    market.plant(
        """UPDATE market.candles_1h
           SET quote_volume = 0, taker_buy_base_volume = 0, taker_buy_quote_volume = 0,
               trades_count = 0
           WHERE series_id = %(h1)s AND open_time = '2024-02-02 10:00Z'"""
    )
    assert [outcome for _, outcome in market.outcomes() if not outcome.passed] == []


def test_mismatch_that_is_explained_with_its_values_is_no_violation(market):
    market.plant(f"{coarse.MORE_VOLUME}; {coarse.held('explained', explanation=repr('restated'))}")
    told = {code for code, outcome in market.outcomes() if not outcome.passed}
    # The day has not been compared with the hour that changed.
    assert told == {"1d"}


@pytest.mark.parametrize(
    ("code", "start", "end", "told"),
    [
        ("1h", "2024-02-02T10:30", "2024-02-02T10:45", 1),
        ("15m", "2024-02-02T10:30", "2024-02-02T10:45", 1),
        ("1h", "2024-02-02T11:00", "2024-02-03", 0),
        ("1h", "2024-02-02", "2024-02-02T10:00", 0),
        ("1d", "2024-02-02", "2024-02-03", 0),
    ],
)
def test_open_discrepancy_is_told_where_the_window_touches_its_candle(
    market, code, start, end, told
):
    market.plant(coarse.held("open"))
    with market.connect() as connection:
        [outcome] = run(
            connection,
            (TESTS["assert_no_open_discrepancies"],),
            market.series[code].series_id,
            window(start, end),
            from_ms(market.venue_time_ms),
        )
    assert outcome.count == told


def test_candle_that_was_taken_out_and_came_back_leaves_a_hole_in_its_versions(market):
    market.plant(
        """UPDATE market.candle_revisions SET removed = true
           WHERE series_id = %(h1)s AND open_time = '2024-02-01 08:00Z';
           INSERT INTO market.series_revisions (series_id, revision, reason)
           VALUES (%(h1)s, 5, 'load');
           UPDATE market.series SET revision = 5 WHERE series_id = %(h1)s;
           UPDATE market.candles_1h SET revision = 5
           WHERE series_id = %(h1)s AND open_time = '2024-02-01 08:00Z'"""
    )
    assert [outcome for _, outcome in market.outcomes() if not outcome.passed] == []
