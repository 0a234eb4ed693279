"""The clean market is clean, and holds what the tests must not take for a defect."""

from __future__ import annotations


def test_clean_market_passes_every_sql_test(market):
    with market.connect() as connection:
        told = {
            (code, outcome.test.name): outcome.samples
            for code, outcome in market.outcomes(connection)
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
        "candles": "SELECT count(*) FROM market.candles",
    }
    with market.connect() as connection:
        found = {name: connection.execute(text).fetchone()[0] for name, text in queries.items()}
    assert found == {
        "cut close_time": 4,
        "no trades": 6,
        "old version": 3,
        "listing": 2,
        "outage": 2,
        "withdrawn": 2,
        "refused": 6,
        "months": 6,
        "current months": 6,
        "candles": (4 * 96 - 24 - 10) + (4 * 24 - 6 - 2) + 4,
    }
