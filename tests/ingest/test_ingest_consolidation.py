"""Monthly consolidation: filled, checked, certified once, and again only for what changed."""

from __future__ import annotations

from datetime import date

import pytest

from candlevault.errors import InvalidRequest
from candlevault.ingest import consolidation
from candlevault.ingest.load import load
from tests.support.candles import series
from tests.support.market import (
    DAY,
    HOUR,
    ReplayFiles,
    SimulatedVenue,
    Store,
    market_at,
    ms,
    simulated,
    span,
)

NOW = ms("2024-04-20T00:20")
FEBRUARY, MARCH, APRIL = date(2024, 2, 1), date(2024, 3, 1), date(2024, 4, 1)
SYMBOL = "MONTHUSDT"


@pytest.fixture(scope="module")
def replay(tmp_path_factory):
    files = ReplayFiles(tmp_path_factory.mktemp("replay"))
    files.write(SYMBOL, range(ms("2024-02-10T06:00"), NOW, HOUR))
    files.write("OTHERUSDT", range(ms("2024-01-01"), NOW, DAY), "1d")
    with simulated(files.root, NOW) as venue:
        yield venue


@pytest.fixture
def venue(replay: SimulatedVenue) -> SimulatedVenue:
    replay.heal()
    replay.exchange.restatements.clear()
    replay.forget()
    return replay


@pytest.fixture
def market(market_db, venue):
    market = market_at(market_db, venue.base_url)
    load(market, series("1h", SYMBOL), span("2024-01-15", "2024-03-20"), purpose="backfill")
    venue.forget()
    return market


@pytest.fixture
def store(market, market_db) -> Store:
    return Store(market_db, SYMBOL)


def ledger(store: Store, month: date) -> tuple:
    [row] = store.rows(
        "SELECT verdict, certified_revision, certified_at IS NOT NULL, findings"
        " FROM market.series_months WHERE series_id = %(id)s AND month = %(month)s",
        month=month,
    )
    return row


def test_a_whole_month_is_certified_with_its_revision(market, store):
    verdict = consolidation.consolidate(market, store.stored, FEBRUARY)
    life = 29 * 24 - 9 * 24 - 6
    assert (verdict.outcome, verdict.expected, verdict.stored) == ("certified", life, life)
    assert ledger(store, FEBRUARY) == ("complete", store.revision, True, [])


def test_what_is_lost_of_the_month_is_filled_first(market, store, venue):
    verdict = consolidation.consolidate(market, store.stored, MARCH)
    assert (verdict.outcome, verdict.filled, verdict.lost) == ("certified", 12 * 24, 0)
    assert verdict.stored == 31 * 24


def test_a_certified_month_is_left_alone_until_it_changes(market, store, venue):
    consolidation.consolidate(market, store.stored, FEBRUARY)
    consolidation.consolidate(market, store.stored, MARCH)
    venue.forget()
    assert consolidation.consolidate(market, store.stored, FEBRUARY).outcome == "unchanged"
    assert venue.asked_for_candles() == 0
    # Another month's change does not touch it, although the series has a new revision.
    row = store.read(span("2024-03-05", "2024-03-06"))[3]
    store.publish_made(
        span("2024-03-05", "2024-03-06"), changes={row["open_time"]: {"volume": 99_999}}
    )
    assert consolidation.consolidate(market, store.stored, FEBRUARY).outcome == "unchanged"
    changed = consolidation.consolidate(market, store.stored, MARCH)
    assert changed.outcome == "certified"
    assert ledger(store, MARCH)[1] == store.revision


def test_it_is_done_again_when_asked_for(market, store):
    consolidation.consolidate(market, store.stored, FEBRUARY)
    again = consolidation.consolidate(market, store.stored, FEBRUARY, again=True)
    assert again.outcome == "certified"


def test_a_month_that_cannot_be_filled_is_refused_and_loses_its_certificate(market, store, venue):
    consolidation.consolidate(market, store.stored, FEBRUARY)
    with store.connect() as connection:
        connection.execute(
            "DELETE FROM market.candles_1h WHERE series_id = %s AND open_time = %s",
            (store.stored.series_id, span("2024-02-20T05:00", "2024-02-21").start),
        )
        connection.execute("UPDATE market.series SET revision = revision + 1")
        connection.execute(
            "INSERT INTO market.series_revisions (series_id, revision, reason)"
            " SELECT series_id, revision, 'test' FROM market.series"
        )
    venue.fault("drop_rows", open_times=[ms("2024-02-20T05:00")], surfaces=["rest"])
    venue.fault("wrong_member", "2024-02", name="other.csv")
    verdict = _refused(market, store)
    assert verdict.lost == 1
    assert any("assert_no_missing_open_times" in reason for reason in verdict.reasons)
    _, revision, certified, findings = ledger(store, FEBRUARY)
    assert (revision, certified) == (None, False)
    assert any(f["check"] == "assert_no_missing_open_times" for f in findings)


def _refused(market, store) -> consolidation.Verdict:
    """A deleted row leaves no trace to find, so the month is asked for again."""
    verdict = consolidation.consolidate(market, store.stored, FEBRUARY, again=True)
    assert verdict.outcome == "refused"
    return verdict


def test_a_month_that_is_not_over_cannot_be_certified(market, store):
    with pytest.raises(InvalidRequest, match="month: is not over yet"):
        consolidation.consolidate(market, store.stored, APRIL)


def test_a_month_outside_the_life_is_nobodys(market, store):
    verdict = consolidation.consolidate(market, store.stored, date(2023, 12, 1))
    assert (verdict.outcome, verdict.expected) == ("outside its life", 0)
