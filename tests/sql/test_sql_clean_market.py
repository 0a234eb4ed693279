"""The clean market is clean, and holds what the tests must not take for a defect."""

from __future__ import annotations

from tests.sql.planted import cold


def test_clean_market_passes_every_sql_test(market):
    told = {
        (code, outcome.test.name): outcome.samples
        for code, outcome in market.outcomes()
        if not outcome.passed
    }
    assert told == {}


def test_clean_market_holds_everything_that_could_be_taken_for_a_defect(market):
    queries = {
        "cut close_time": "SELECT count(*) FROM market.candles WHERE close_time IS NOT NULL",
        "no trades": "SELECT count(*) FROM market.candles WHERE volume = 0",
        "old version": "SELECT count(*) FROM market.candle_revisions",
        "listing": "SELECT count(*) FROM market.known_absences WHERE reason = 'before_listing'",
        "outage": "SELECT count(*) FROM market.known_absences"
        " WHERE reason = 'not_published' AND withdrawn_revision IS NULL",
        "withdrawn": "SELECT count(*) FROM market.known_absences"
        " WHERE withdrawn_revision IS NOT NULL",
        "refused": "SELECT count(*) FROM market.quarantine",
        "months": "SELECT count(*) FROM market.series_months",
        "current months": "SELECT count(*) FROM market.series_months m"
        " JOIN market.series s USING (series_id, revision)",
        "hot candles": "SELECT count(*) FROM market.candles",
        "cold candles": "SELECT rows FROM market.cold_files",
        "cold months": "SELECT count(*) FROM market.series_months WHERE tier = 'cold'",
    }
    with market.connect() as connection:
        found = {name: connection.execute(text).fetchone()[0] for name, text in queries.items()}
    assert found == {
        "cut close_time": 3,
        "no trades": 6,
        "old version": 3,
        "listing": 2,
        "outage": 2,
        "withdrawn": 2,
        "refused": 6,
        "months": 6,
        "current months": 6,
        "hot candles": 2 * 96 + (4 * 24 - 6 - 2) + 4,
        "cold candles": 2 * 96 - 24 - 10,
        "cold months": 1,
    }


def test_cold_month_before_the_window_passes_every_sql_test(market):
    market.plant(cold.MOVED)
    assert [outcome for _, outcome in market.outcomes() if not outcome.passed] == []
